//! The scheduler every modality of Candlepool runs on.
//!
//! A [`Model`] advances its active jobs one *step* at a time; a [`Loader`] knows how to bring the model into memory and
//! how to prepare a request for it. An [`Engine`] owns everything else: the queue in front of each model, its workers,
//! the compute lanes that keep heavy work off the runtime's threads, one memory budget, and the orderly end of it all.
//!
//! ```
//! use pool_core::{Cost, Engine, GroupConfig, JobOptions, LoadError, Loader, Model, ModelError, Prepared, Room, Step, StepError};
//!
//! /// A model that counts the letters of a text.
//! struct Letters;
//!
//! impl Model for Letters {
//!     type Request = String;
//!     type Prepared = ();
//!     type Output = usize;
//!     type Event = ();
//!
//!     fn estimate(request: &String) -> Cost {
//!         Cost::new(request.len() as u64, request.len() as u64)
//!     }
//!     fn room(&self) -> Room {
//!         Room::jobs(32)
//!     }
//!     fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
//!         for job in step.take_joined() {
//!             let letters = job.request().chars().filter(|c| c.is_alphabetic()).count();
//!             step.finish(job.id(), Ok(letters));
//!         }
//!         Ok(())
//!     }
//! }
//!
//! struct LettersLoader;
//!
//! impl Loader for LettersLoader {
//!     type Model = Letters;
//!     fn load(&self) -> Result<Letters, LoadError> {
//!         Ok(Letters)
//!     }
//!     fn prepare(&self, request: &String) -> Result<Prepared<()>, ModelError> {
//!         Ok(Prepared { value: (), cost: Letters::estimate(request) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), pool_core::Error> {
//! let engine = Engine::builder().build()?;
//! let letters = engine.add(GroupConfig::new("letters"), LettersLoader).await?;
//! let count = letters.try_submit("Straße 12".to_owned(), JobOptions::default())?.await?;
//! assert_eq!(count, 6);
//! let report = engine.drain(std::time::Duration::from_secs(5)).await;
//! assert_eq!(report.total.completed, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What never happens here
//!
//! No tensor library, no HTTP, no wire format. No channel but tokio's, each with a bound. Heavy work runs nowhere but in
//! [`compute`].

// One alias lets a schedule explorer stand in for tokio.
#[cfg(feature = "shuttle")]
extern crate shuttle_tokio as tokio;

pub mod compute;
mod error;
pub mod memory_governor;
pub mod metrics;
mod model;
mod orchestrator;
mod request_queue;
mod sync;
pub mod types;
mod worker;
pub mod worker_state;

pub use error::{Error, Excess, Overload};
pub use model::{
    Footprint, JobView, LoadError, Loader, Model, ModelError, Preparation, Prepared, Room, Step, StepError,
};
pub use orchestrator::{
    BreakerState, DrainReport, Engine, EngineBuilder, EngineStats, Group, GroupConfig, GroupStats,
    ModelReport, Streaming, WorkerStats, Workers,
};
pub use request_queue::{Counts, JobOptions, QueueLimits, QueueStats};
pub use types::{
    Bytes, Cost, Deadline, Fingerprint, Fingerprinter, JobId, ModelId, Principal, Priority, Ticket, Tokens,
    WorkerId,
};
