//! Realtime conversations, independent of any transport.
//!
//! - [`context`]: folders that are watched, whose passages are cited in answers.
//! - [`delivery`]: what a connection is: client's messages in, server's messages out, both bounded; and why it is closed.
//! - [`session`]: one client and one model, in OpenAI's Realtime protocol.
//! - [`model`]: the two traits that models are seen through: [`Responder`] answers, [`Embedder`] makes vectors.
//! - [`room`]: what people do together: one order of events for everybody, resumed where a client left off.
//! - [`store`]: rooms' history in a SQLite file, for those that are to outlive the process.
//!
//! Each session and each room is one task that owns its state. What it decides is decided by a pure state machine, to which
//! the clock and the draws of ids are handed in.

pub mod context;
pub mod delivery;
pub mod model;
pub mod room;
pub mod session;
pub mod store;

pub use model::{Embedder, Responder};
