//! JSON out: written off the runtime's threads where it is long.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde::Serialize;

use super::AppState;
use super::errors::ApiError;
use super::json::{HEAVY, claim};

/// An answer of about so many bytes.
///
/// # Errors
///
/// 500 where it cannot be written, which is a defect; 503 at shutdown.
pub(super) async fn json<T: Serialize + Send + 'static>(
    app: &AppState,
    value: T,
    bytes: usize,
) -> Result<Response, ApiError> {
    json_of(app, move || value, bytes).await
}

/// An answer of about so many bytes that is still to be made, which takes time too.
///
/// # Errors
///
/// As [`json`].
pub(super) async fn json_of<T: Serialize>(
    app: &AppState,
    make: impl FnOnce() -> T + Send + 'static,
    bytes: usize,
) -> Result<Response, ApiError> {
    let write = move || serde_json::to_vec(&make());
    let written = if bytes <= HEAVY { write() } else { app.engine.lanes().prepare(&claim(), write).await? };
    let written =
        written.map_err(|error| ApiError::internal(format!("the answer cannot be written: {error}")))?;
    Ok(of_bytes(written))
}

/// A short answer.
pub(super) fn short<T: Serialize>(value: &T) -> Result<Response, ApiError> {
    let written = serde_json::to_vec(value);
    written
        .map(of_bytes)
        .map_err(|error| ApiError::internal(format!("the answer cannot be written: {error}")))
}

fn of_bytes(bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
