//! What may become of a worker and of a model group: two pure tables.
//!
//! Owns the states, the events and which leads where. It does nothing: whoever keeps a state asks for the next one and
//! acts on it.

mod group;
mod worker;

pub use group::{GroupEvent, GroupState};
pub use worker::{WorkerEvent, WorkerState};

/// An event that cannot happen in that state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a {what} that is {state} cannot have: {event}")]
pub struct IllegalTransition {
    what: &'static str,
    state: &'static str,
    event: &'static str,
}
