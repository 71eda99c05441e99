/// Why there is no schedule. Every message is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SchedulerError {
    /// The configuration asks for something that is not computed here.
    #[error("{what} is not supported: {supported}")]
    Unsupported {
        /// The field and its value.
        what: String,
        /// What would be accepted.
        supported: String,
    },
    /// The configuration contradicts itself, or cannot be read.
    #[error("{0}")]
    Invalid(String),
    /// What a request asks for cannot be had from this scheduler.
    #[error("{0}")]
    Steps(String),
}

impl SchedulerError {
    pub(super) fn unsupported(what: impl Into<String>, supported: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), supported: supported.into() }
    }
}
