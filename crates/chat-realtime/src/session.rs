//! Sessions: one client and one model, in OpenAI's Realtime protocol as it is generally available, for text.
//!
//! - `protocol`: client's events as they are read, server's events as they are written, and what is refused, by name.
//! - `machine`: the pure state machine. Events, the model's pieces, the time and the draws of ids go in; what to send and what
//!   to ask of the model comes out.
//! - `task`: the task that is the session. It moves messages between a [`Connection`](crate::delivery::Connection), the machine
//!   and a [`Responder`](crate::model::Responder).
//!
//! What always holds, and is held against random walks:
//!
//! - There is at most one response in progress.
//! - Each `response.created` is followed by exactly one `response.done`, and nothing of the response comes after it.
//! - Each `added` has its `done`, for items and for parts, also where a response is cancelled or fails.
//! - A session that closes first ends its response.
//!
//! Audio is refused by an `error` event, as is every event and parameter that is not supported; the session lives on.

#[cfg(test)]
mod checked;
mod limits;
mod machine;
mod protocol;
mod task;

pub use limits::SessionLimits;
pub use task::session;

use std::sync::Arc;

use pool_core::compute::Lanes;
use pool_core::{Principal, Priority};
use tokio_util::sync::CancellationToken;

use crate::context::Citations;

/// What a session is opened with.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The model as the client has asked for it, and as it is told.
    pub model: String,
    /// What the model is to be and do, until the client says otherwise.
    pub instructions: Option<String>,
    /// On whose account answers are computed.
    pub principal: Principal,
    /// How urgent they are.
    pub priority: Priority,
    /// How much a client may keep here, and how fast it may go on.
    pub limits: SessionLimits,
    /// Files that answers may cite.
    pub context: Option<Arc<dyn Citations>>,
    /// Where long messages are parsed.
    pub lanes: Lanes,
    /// Cancelled when the server shuts down: the session then ends with
    /// [`ShuttingDown`](crate::delivery::CloseCode::ShuttingDown).
    pub closing: CancellationToken,
}
