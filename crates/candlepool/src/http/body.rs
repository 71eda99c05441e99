//! Reading a request's body: within its limit, its time and the memory budget.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use pool_core::Bytes as Size;
use pool_core::memory_governor::{Account, Reservation};

use super::AppState;
use super::errors::ApiError;

/// A whole body, and the part of the memory budget that it takes for as long as it lives.
#[derive(Debug)]
pub(crate) struct WholeBody {
    pub(crate) bytes: Vec<u8>,
    _reservation: Reservation,
}

/// Memory is reserved in pieces of so many bytes.
const PIECE: usize = 1 << 20;
/// When there may be memory again.
const RETRY: Duration = Duration::from_secs(1);

impl WholeBody {
    /// Reads a body of JSON.
    ///
    /// # Errors
    ///
    /// 400 for another type, 413 as soon as it is known to be too large, 408 where the client pauses too long, 429 where
    /// the budget has no room.
    pub(crate) async fn read(app: &AppState, headers: &HeaderMap, mut body: Body) -> Result<Self, ApiError> {
        check_type(headers)?;
        let limit = app.limits.body;
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|announced| announced > limit) {
            return Err(too_large(limit));
        }
        let no_memory = |_| {
            ApiError::overloaded("the memory budget has no room for the request; send it again later", RETRY)
        };
        let governor = app.engine.governor();
        // For what has come, never for what was announced: announcing costs a client nothing.
        let mut reservation = governor.try_reserve(Account::Inputs, Size(0)).map_err(no_memory)?;
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(PIECE));
        loop {
            let frame = tokio::time::timeout(app.limits.body_timeout, body.frame()).await;
            let frame = frame.map_err(|_| {
                let paused = app.limits.body_timeout.as_secs_f64();
                ApiError::timeout(format!("nothing of the body came for {paused} s; send it without pauses"))
            })?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| {
                ApiError::invalid("incomplete_body", format!("the body ended before it was whole: {error}"))
            })?;
            let Some(data) = frame.data_ref() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            let reserved = usize::try_from(reservation.bytes().get()).unwrap_or(usize::MAX);
            if bytes.len() + data.len() > reserved {
                let more = (bytes.len() + data.len() - reserved).max(PIECE);
                reservation.try_grow(Size(more as u64)).map_err(no_memory)?;
            }
            if bytes.len() + data.len() > bytes.capacity() {
                // A first piece has come, so the rest is meant. Growing step by step would copy megabytes at once.
                bytes.reserve_exact(announced.unwrap_or(0).saturating_sub(bytes.len()));
            }
            bytes.extend_from_slice(data);
        }
        Ok(Self { bytes, _reservation: reservation })
    }
}

/// JSON and nothing else. A type that a web page may send anywhere without asking (a form, plain text) is refused, so
/// that pages cannot use a server on the reader's own machine.
fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && encoding.as_bytes() != b"identity"
    {
        let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
        let message = format!("content-encoding {encoding} is not supported; send the body as it is");
        return Err(ApiError::invalid("unsupported_encoding", message));
    }
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let given = given.to_str().unwrap_or("unreadable");
    let kind = given.split(';').next().unwrap_or(given).trim().to_ascii_lowercase();
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    let message = format!("the body's content-type is {given}; send application/json");
    Err(ApiError::invalid("unsupported_content_type", message))
}

fn too_large(limit: usize) -> ApiError {
    let limit = crate::config::Size(limit as u64);
    ApiError::too_large(format!("the body is larger than {limit}, this server's limit; send less at once"))
}
