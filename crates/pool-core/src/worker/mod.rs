//! The one generic run loop: lease jobs, admit them, `model.step().await`, send events, drain.
//!
//! Owns one model and the jobs it holds; knows no modality, decides nothing about the queue's order and never computes
//! on a runtime thread.

mod active;
mod resident;
mod run;

pub(crate) use resident::{LoadFailure, WorkerMemory};
pub(crate) use run::{Exit, Order, Worker, WorkerConfig, WorkerStatus};
