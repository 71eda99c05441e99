//! What is common to all requests: id, span, key, deadline, priority, drain, and the measure of it all.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use pool_core::{Deadline, Priority};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument as _;

use super::auth::Caller;
use super::errors::ApiError;
use super::linger::LingeringBody;
use super::metrics::Observed;
use super::origins::Page;
use super::{App, AppState, page, realtime};
use crate::failure::shortened;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
const PRIORITY: HeaderName = HeaderName::from_static("x-priority");

/// Answered to anybody: what probes and scrapers ask, who have no keys.
const OPEN: [&str; 3] = ["/health", "/ready", "/metrics"];
/// Answered during a shutdown too.
const DURING_DRAIN: [&str; 4] = ["/health", "/ready", "/metrics", "/pools"];
/// So much of a path goes into the log.
const LONGEST_PATH: usize = 200;
/// A day; a client that waits longer has forgotten.
const LONGEST_TIMEOUT: f64 = 86_400.0;
/// Jobs answer at their deadline by themselves. What is still on its way then (a body that does not end, an answer being
/// written) is cut off so much later.
const GRACE: Duration = Duration::from_millis(250);

/// On what terms a request runs.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) caller: Caller,
    pub(crate) deadline: Deadline,
    pub(crate) priority: Priority,
    /// Keeps a drain waiting, for answers that are still being made when their head has been sent.
    pub(crate) held: Option<TaskTrackerToken>,
}

/// Wraps every request.
pub(super) async fn envelope(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let mut observed = Observed::begin(request.method(), route);
    let path = shortened(request.uri().path(), LONGEST_PATH);
    let span = tracing::info_span!("request", id = %id, method = %request.method(), %path);
    let page = app.origins.page(request.headers());
    let mut response = answer(&app, &page, request, next).instrument(span.clone()).await;
    page.tell(&mut response);
    let status = response.status();
    observed.answered(status.as_u16());
    span.in_scope(|| {
        let elapsed = observed.elapsed();
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), ?elapsed, "answered");
        } else {
            tracing::debug!(status = status.as_u16(), ?elapsed, "answered");
        }
    });
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if app.drain.has_begun() {
        // So that clients find another instance for their next request.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn answer(app: &App, page: &Page, request: Request, next: Next) -> Response {
    let request = with_lingering_body(app, request);
    let path = request.uri().path();
    // Nobody who holds a key gives it to a page that a browser takes for the server's own.
    if app.keys.is_empty()
        && let Err(error) = app.hosts.check(request.uri(), request.headers())
    {
        return error.into_response();
    }
    // Before the keys: a browser's question carries no key, and an answer that it may not read tells nobody anything.
    if let Some(answered) = page.preflight(request.method(), request.headers()) {
        return answered.unwrap_or_else(ApiError::into_response);
    }
    let checked = if realtime::is_socket(path) { page.check_socket() } else { page.check(request.method()) };
    if let Err(error) = checked {
        return error.into_response();
    }
    // A drain waits for whoever holds this, and for nobody it has refused.
    let held = app.drain.hold();
    if held.is_none() && !DURING_DRAIN.contains(&path) {
        return ApiError::shutting_down().into_response();
    }
    let terms = match terms(app, request.uri(), request.headers()) {
        Ok(terms) => terms,
        Err(error) => return error.into_response(),
    };
    tracing::trace!(caller = terms.caller.name(), priority = %terms.priority, "asked");
    let end = terms.deadline.instant().map(|at| at + GRACE);
    let mut request = request;
    request.extensions_mut().insert(Terms { held: held.clone(), ..terms });
    let answered = next.run(request);
    match end {
        None => answered.await,
        Some(end) => tokio::time::timeout_at(end, answered).await.unwrap_or_else(|_| {
            ApiError::timeout("the deadline passed before the answer was there; allow more time or send less")
                .into_response()
        }),
    }
}

fn terms(app: &AppState, uri: &Uri, headers: &HeaderMap) -> Result<Terms, ApiError> {
    let now = Instant::now();
    let caller = match uri.path() {
        path if OPEN.contains(&path) || page::is_part(path) => Caller::anyone(),
        path if realtime::is_socket(path) => Caller::of_socket(&app.keys, uri, headers)?,
        _ => Caller::of(&app.keys, headers)?,
    };
    let timeout = match headers.get(&REQUEST_TIMEOUT) {
        Some(given) => Some(seconds(given)?),
        None => app.limits.request_timeout,
    };
    let deadline = timeout.and_then(|timeout| now.checked_add(timeout)).map_or(Deadline::NONE, Deadline::at);
    let asked = match headers.get(&PRIORITY) {
        Some(given) => priority(given)?,
        None => Priority::default(),
    };
    let priority = caller.cap(asked);
    Ok(Terms { caller, deadline, priority, held: None })
}

fn seconds(given: &HeaderValue) -> Result<Duration, ApiError> {
    let text = given.to_str().unwrap_or("unreadable");
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds =
        text.parse::<f64>().ok().filter(|seconds| plain && *seconds > 0.0 && *seconds <= LONGEST_TIMEOUT);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| {
        let message = format!(
            "X-Request-Timeout is {text:?}; send seconds, more than 0 and at most 86400, such as 2.5"
        );
        ApiError::invalid("invalid_header", message).param("X-Request-Timeout")
    })
}

fn priority(given: &HeaderValue) -> Result<Priority, ApiError> {
    let parsed = given.to_str().unwrap_or("unreadable").parse::<Priority>();
    parsed.map_err(|error| {
        ApiError::invalid("invalid_header", format!("X-Priority: {error}")).param("X-Priority")
    })
}

/// A body that is refused is read on for a while, unless the client waits to be asked for it.
fn with_lingering_body(app: &AppState, request: Request) -> Request {
    if request.headers().contains_key(EXPECT) {
        return request;
    }
    let tracker = app.lingering.clone();
    request.map(|body| Body::new(LingeringBody::new(body, tracker)))
}

/// The client's id, if it is one that may go into logs and headers; a new one otherwise.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
    let given = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    match given.filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(plain)) {
        Some(id) => id.to_owned(),
        None => format!("req-{}", unique()),
    }
}

/// Unlike any other of this process, and of others as far as chance goes.
pub(super) fn unique() -> String {
    static PROCESS: OnceLock<RandomState> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(RandomState::new);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}{:016x}", process.hash_one(0_u8), process.hash_one(count))
}
