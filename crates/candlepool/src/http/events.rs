//! Answers that come in pieces: server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderName;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{Stream, StreamExt as _};

use super::errors::ApiError;

/// Nothing is answered before the first piece is there, so that a refusal has its own status; but no longer than this,
/// as a client may take silence for a server that is gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// While nothing is written, for a queue or a long prompt, so often something is sent that says nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

const PROXY_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The event of a failure, the last one.
pub(super) fn failure(error: &ApiError) -> Event {
    Event::default().data(error.body())
}

/// An answer of these events.
pub(super) fn respond(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let stream = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Proxies keep answers back by default until there is more of them.
    ([(PROXY_BUFFERING, "no")], stream).into_response()
}
