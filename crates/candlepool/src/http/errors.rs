//! Refusals and failures as OpenAI's clients know them: `{"error": {"message", "type", "param", "code"}}`.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use image_embedding::Error as ImageError;
use language_model::Error as TextError;
use pool_core::compute::ComputeError;
use pool_core::{Error as PoolError, Excess};
use serde::Serialize;
use text_embedding::Error as EmbeddingError;
use text_to_image::Error as DrawingError;

use crate::failure::{shortened, told};
use crate::registry::NotServed;

/// Whether official clients send the request again by themselves.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Names of parameters that a client makes up may be as long as a body.
const LONGEST_PARAM: usize = 200;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<String>,
    retry_after: Option<Duration>,
    /// Official clients retry 408 and 500 by themselves; where that cannot help, they are told so.
    is_final: bool,
}

impl ApiError {
    /// The one place where messages are made one line of a bearable length. Long ones arise where long bodies are read,
    /// in a lane, and so are cut there.
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = told(message.into());
        Self { status, code, message, param: None, retry_after: None, is_final: false }
    }

    /// The request makes no sense: 400.
    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// No key, or not one of ours: 401.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    /// Not from this web page, or not by this name: 403.
    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// Nothing is there: 404.
    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// The route is there, but not for this method: 405.
    pub(crate) fn method(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// The route speaks another protocol: 426.
    pub(crate) fn upgrade_required(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
    }

    /// The deadline passed: 408.
    pub(crate) fn timeout(message: impl Into<String>) -> Self {
        Self { is_final: true, ..Self::new(StatusCode::REQUEST_TIMEOUT, "deadline_exceeded", message) }
    }

    /// The request is larger than is ever taken: 413.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    }

    /// No room now: 429.
    pub(crate) fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// Something of ours broke: 500.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "model_failure", message)
    }

    /// Not ready yet, or not any more: 503.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>, retry_after: Duration) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// The server is going down: 503.
    pub(crate) fn shutting_down() -> Self {
        let message =
            "the server is shutting down; send the request to another instance, or again after the restart";
        Self::unavailable("shutting_down", message, Duration::from_secs(5))
    }

    /// A model that is for something else: 400.
    pub(crate) fn wrong_model(model: &str, why: &str) -> Self {
        Self::invalid("wrong_model", format!("model {model} {why}")).param("model")
    }

    /// Names the parameter at fault.
    pub(crate) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(shortened(&param.into(), LONGEST_PARAM).into_owned());
        self
    }

    /// Names the part of the request that is at fault, in the message as well.
    pub(crate) fn at(self, place: &str) -> Self {
        let message = format!("{place}: {}", self.message);
        Self { message, ..self }.param(place)
    }

    /// Names the item of a list, where a pool's error does.
    fn item(self, list: &str, index: usize) -> Self {
        self.at(&format!("{list}[{index}]"))
    }

    /// What a pool said, of a request whose list is called `list`.
    pub(crate) fn of_pool(error: &EmbeddingError, list: &str) -> Self {
        match error {
            EmbeddingError::Item { index, error: inner } => Self::from(inner).item(list, *index),
            EmbeddingError::Pool(inner) => Self::from(inner),
            other => Self::internal(other.to_string()),
        }
    }

    /// What a pool of pictures said, of a request whose list is called `list`.
    pub(crate) fn of_images(error: &ImageError, list: &str) -> Self {
        match error {
            ImageError::Item { index, error: inner } => Self::from(inner).item(list, *index),
            ImageError::Pool(inner) => Self::from(inner),
            other => Self::internal(other.to_string()),
        }
    }

    /// What a pool said of a request for text, whose prompts are called `list` if they can be several. What it says of a
    /// parameter begins with the parameter's name, which is one of these.
    pub(crate) fn of_text(error: &TextError, list: &str, params: &[&str]) -> Self {
        let (inner, index) = match error {
            TextError::Pool(inner) => (inner, None),
            TextError::Item { index, error } => (error, Some(*index)),
            other => return Self::internal(other.to_string()),
        };
        let told = Self::from(inner);
        let first = told.message.split([' ', ':']).next().unwrap_or_default();
        if ["the prompt has ", "the prompt's pictures "].iter().any(|long| told.message.starts_with(long)) {
            // What OpenAI calls it; programs that shorten conversations look for it.
            let long = Self { code: "context_length_exceeded", ..told };
            return match index {
                Some(index) => long.item(list, index),
                None => long.param(list),
            };
        }
        match (params.iter().find(|param| **param == first), index) {
            (Some(param), _) if matches!(inner, PoolError::Invalid { .. }) => told.param(*param),
            (_, Some(index)) => told.item(list, index),
            (_, None) => told,
        }
    }

    /// What a pool of pictures to draw said. What it says of a parameter names it in its first words.
    pub(crate) fn of_drawing(error: &DrawingError) -> Self {
        /// As the pool calls them, and as requests do.
        const PARAMS: [(&str, &str); 12] = [
            ("prompt", "prompt"),
            ("negative", "negative_prompt"),
            ("steps", "steps"),
            ("guidance", "guidance"),
            ("seed", "seed"),
            ("size", "size"),
            ("pictures", "n"),
            ("scheduler", "scheduler"),
            ("strength", "strength"),
            ("image", "image"),
            ("mask", "mask"),
            ("format", "output_format"),
        ];
        let inner = match error {
            DrawingError::Pool(inner) => inner,
            DrawingError::Image(inner) => {
                return Self::invalid("invalid_value", inner.to_string()).param("image");
            }
            other => return Self::internal(other.to_string()),
        };
        let told = Self::from(inner);
        // "steps is ...", "image: ...", "1001 steps are ...".
        let mut first = told.message.split([' ', ':']).take(3);
        let param = first.find_map(|word| PARAMS.iter().find(|(name, _)| *name == word));
        match param {
            Some((_, param)) if matches!(inner, PoolError::Invalid { .. }) => told.param(*param),
            _ => told,
        }
    }

    /// The body: one line of JSON.
    pub(crate) fn body(&self) -> String {
        let error = ErrorObject {
            message: &self.message,
            r#type: self.kind(),
            param: self.param.as_deref(),
            code: self.code,
        };
        serde_json::to_string(&ErrorBody { error }).unwrap_or_default()
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::REQUEST_TIMEOUT => "timeout_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "service_unavailable_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }
}

impl From<&PoolError> for ApiError {
    fn from(error: &PoolError) -> Self {
        let message = error.to_string();
        let retry_after = error.retry_after().unwrap_or(Duration::from_secs(1));
        match error {
            PoolError::Overloaded { .. } => Self::overloaded(message, retry_after),
            // More time would do.
            PoolError::TooLarge { why: Excess::Deadline { .. }, .. } => Self::timeout(message),
            PoolError::TooLarge { .. } => Self::too_large(message),
            PoolError::Invalid { .. } => Self::invalid("invalid_value", message),
            PoolError::Convicted { .. } => Self::invalid("convicted_input", message),
            PoolError::DeadlineExceeded { .. } => Self::timeout(message),
            PoolError::LoadFailed { .. } => Self::unavailable("model_not_loaded", message, retry_after),
            PoolError::Unavailable { .. } => Self::unavailable("model_unavailable", message, retry_after),
            PoolError::Removed { .. } => Self::not_found("model_not_found", message).param("model"),
            PoolError::ShuttingDown | PoolError::Cancelled => Self::shutting_down(),
            // Sent again it would be refused, as what made the model crash.
            PoolError::Crashed { .. } => Self { is_final: true, ..Self::internal(message) },
            _ => Self::internal(message),
        }
    }
}

impl From<NotServed> for ApiError {
    fn from(error: NotServed) -> Self {
        match error {
            NotServed::Unknown { name, known } => {
                let message = format!("there is no model {name:?}; there are {}", known.join(", "));
                Self::not_found("model_not_found", message).param("model")
            }
            NotServed::NotYet { name, why, retry_after } => {
                Self::unavailable("model_not_ready", format!("model {name} is not ready: {why}"), retry_after)
            }
            NotServed::TooLate { name } => Self::timeout(format!(
                "deadline passed before the files of model {name} were there; allow more time"
            )),
        }
    }
}

impl From<ComputeError> for ApiError {
    fn from(error: ComputeError) -> Self {
        match error {
            ComputeError::Gone => Self::shutting_down(),
            error => Self::internal(error.to_string()),
        }
    }
}

/// The body, as OpenAI's clients read it.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(retry_after) = self.retry_after {
            // Whole seconds, and never "at once".
            let seconds = (retry_after.as_secs_f64().ceil() as u64).max(1);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.is_final {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(axum::http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_more_time_would_help_has_missed_its_deadline() {
        let (expected, allowed) = (Duration::from_secs(2), Duration::from_secs(1));
        let refused = |why| ApiError::from(&PoolError::TooLarge { model: "m".into(), why });
        let late = refused(Excess::Deadline { expected, allowed });
        assert_eq!((late.status, late.code), (StatusCode::REQUEST_TIMEOUT, "deadline_exceeded"));
        assert!(late.is_final, "official clients would send it again");
        let long = refused(Excess::Time { expected, allowed });
        assert_eq!((long.status, long.code), (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"));
    }
}
