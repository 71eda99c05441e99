use std::fmt::Display;

/// The most characters of a client's text that a message repeats.
const QUOTED: usize = 64;

/// Why a client's event is refused, as its `error` event says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) code: &'static str,
    /// One line: what, why, and what to do.
    pub(crate) message: String,
    /// The parameter at fault, as a path into the event.
    pub(crate) param: Option<String>,
}

/// Whose fault an error is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub(crate) enum ErrorKind {
    #[serde(rename = "invalid_request_error")]
    InvalidRequest,
    #[serde(rename = "rate_limit_error")]
    RateLimit,
    #[serde(rename = "server_error")]
    Server,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidRequest, code, message: message.into(), param: None }
    }

    /// What failed here, and is not the client's fault.
    pub(crate) fn server(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Server, ..Self::new(code, message) }
    }

    pub(crate) fn of(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn missing(param: &str) -> Self {
        Self::new("missing_required_parameter", format!("missing required parameter: '{param}'")).of(param)
    }

    pub(crate) fn unknown(param: &str) -> Self {
        let param = shortened(param);
        Self::new("unknown_parameter", format!("unknown parameter: '{param}'; remove it")).of(param)
    }

    pub(crate) fn unsupported(param: &str, instead: impl Display) -> Self {
        Self::new("unsupported_parameter", format!("'{param}' is not supported here: {instead}")).of(param)
    }

    /// A value of the right type that is none of those accepted.
    pub(crate) fn value(param: &str, found: impl Display, accepted: impl Display) -> Self {
        let found = shortened(&found.to_string());
        Self::new("invalid_value", format!("invalid value '{found}' of '{param}': it must be {accepted}"))
            .of(param)
    }

    /// A value of another type.
    pub(crate) fn mistyped(param: &str, accepted: impl Display) -> Self {
        Self::new("invalid_type", format!("'{param}' is of the wrong type: it must be {accepted}")).of(param)
    }
}

/// A client's text on one line, and not longer than a line is read.
pub(crate) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(QUOTED).is_some() {
        short.push('…');
    }
    short
}
