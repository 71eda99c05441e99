//! The HTTP face: OpenAI's routes and error bodies, health, metrics and the pools' state.
//!
//! Owns the protocol: what a request may say, what its answer looks like, and how slow, hostile and departed clients
//! are dealt with. What is computed, and when, is the pools'.

mod answer;
mod asked;
mod auth;
mod body;
mod connections;
mod drawings;
mod embeddings;
mod envelope;
mod errors;
mod events;
mod health;
mod hosts;
mod inputs;
mod json;
mod linger;
mod metrics;
mod models;
mod origins;
mod page;
mod pictures;
mod pools;
mod realtime;
mod rerank;
mod router;
mod stall;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pool_core::Engine;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub(crate) use connections::{Connections, Listening};
pub(crate) use hosts::Hosts;
pub(crate) use metrics::Exporter;
pub(crate) use origins::Origins;
pub(crate) use pools::Pools;
pub(crate) use realtime::{AdmissionLimits, SocketLimits, Sockets, Talk};
pub(crate) use router::router;

use crate::config::Keys;
use crate::registry::Registry;
use crate::remote_images::RemoteImages;
use crate::shutdown::Drain;

/// What every request can see. Cheap to clone.
pub(crate) type App = Arc<AppState>;

/// The server's parts.
#[derive(Debug)]
pub(crate) struct AppState {
    pub(crate) engine: Engine,
    pub(crate) registry: Registry,
    pub(crate) keys: Keys,
    pub(crate) origins: Origins,
    /// Looked at where there are no keys.
    pub(crate) hosts: Hosts,
    pub(crate) limits: Limits,
    /// What pictures are refused by before they are decoded.
    pub(crate) image_limits: imaging::Limits,
    /// Fetches the pictures that requests name by URL, where the operator allows it.
    pub(crate) remote_images: Option<RemoteImages>,
    pub(crate) drain: Drain,
    /// WebSockets, and what owns their other ends.
    pub(crate) sockets: Sockets,
    /// Sessions and rooms; `None` where there are to be none.
    pub(crate) talk: Option<Talk>,
    pub(crate) exporter: Exporter,
    /// Reads of bodies that were refused; they end by themselves within [`linger`]'s time.
    pub(crate) lingering: TaskTracker,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
}

/// What a request may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The largest body.
    pub(crate) body: usize,
    /// The longest pause within a body.
    pub(crate) body_timeout: Duration,
    /// The deadline of requests that bring none.
    pub(crate) request_timeout: Option<Duration>,
}
