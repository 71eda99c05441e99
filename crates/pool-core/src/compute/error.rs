use std::any::Any;
use std::time::Duration;

use crate::types::ModelId;

/// Why a closure gave no result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComputeError {
    /// It panicked. What it owned has been dropped.
    #[error("the computation panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// It has not returned in time and may never do. What it owns stays with it until it does.
    #[error("the computation has not returned for {after:?}: its thread is given up")]
    Unresponsive {
        /// How long it had been running when it was given up.
        after: Duration,
    },
    /// The model has lost a thread and then the replacement: it gets no more until one comes back.
    #[error(
        "model {model} gets no more compute threads: two of its computations never returned; restart the process"
    )]
    Refused {
        /// The model.
        model: ModelId,
    },
    /// It never ran: the runtime is shutting down.
    #[error("the computation was dropped before it ran: the runtime is shutting down")]
    Gone,
}

impl ComputeError {
    /// What a caught panic says, for the payloads that `panic!` makes.
    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        Self::Panicked { message: panic_message(payload) }
    }
}

/// What a caught panic said, in one line.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&'static str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => one_line(text),
        (None, Some(text)) => one_line(text),
        (None, None) => "a value that is no text".to_owned(),
    }
}

/// Panic messages of assertions span lines; errors are one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
