//! The words every module speaks: ids, priorities, deadlines, costs, tickets.
//!
//! Owns plain values only; never a task, a lock or a model.

mod cost;
mod deadline;
mod fingerprint;
mod id;
mod priority;
mod ticket;

pub use cost::{Bytes, Cost, Tokens};
pub use deadline::Deadline;
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use id::{JobId, ModelId, Principal, WorkerId};
pub use priority::Priority;
pub use ticket::Ticket;
pub(crate) use ticket::{Desk, Reply};
