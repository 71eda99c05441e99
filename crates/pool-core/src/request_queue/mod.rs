//! Admission, order, leases, coalescing and the batch cut: every job from the door to its end.
//!
//! Owns each accepted job's input and reply until it has ended. Computes nothing: what decides ([`core`], [`order`],
//! [`cut`], [`admission`], [`conviction`]) is pure, with the clock handed in; [`queue`] puts it behind one short lock and
//! wakes whoever waits.

mod admission;
mod conviction;
mod core;
mod counts;
mod cut;
mod job;
mod lease;
mod order;
mod queue;
#[cfg(test)]
mod tests;

pub use admission::QueueLimits;
pub(crate) use counts::Outcome;
pub use counts::{Counts, QueueStats};
pub(crate) use job::Job;
pub use job::JobOptions;
pub(crate) use lease::{Lease, Leased};
pub(crate) use queue::{Accepted, Queue, QueueConfig};
