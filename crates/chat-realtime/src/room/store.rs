//! What a room keeps, and where it is kept: the face that a store has to rooms.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// How far a client has read a room's history: it has every event of this epoch up to this one.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Position {
    /// Which history: a room that has lost its own begins another.
    pub epoch: String,
    /// The last event it has; 0 before the first.
    pub seq: u64,
}

/// An event as it was sent to everybody, and will be sent again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Its place in the epoch, counted from 1, without gaps.
    pub seq: u64,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: i64,
    /// The whole event, a JSON document.
    pub json: Arc<str>,
}

/// What a store has of a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The history's name, as it was at the last append.
    pub epoch: String,
    /// The seq of the oldest event that is kept; one more than the last seq where none is.
    pub first_seq: u64,
    /// The events, in order, without gaps.
    pub events: Vec<StoredEvent>,
    /// What was last saved beside them.
    pub state: Option<Arc<str>>,
}

/// Keeps what happened in rooms, so that they outlive the process, or at least their last member. It is called by rooms' tasks,
/// never under a lock. Of one room, at most one call is in flight at a time; of many rooms, many.
///
/// A future that is dropped before it resolves may or may not have done its work, as after a kill.
pub trait HistoryStore: Send + Sync + fmt::Debug + 'static {
    /// What is kept of a room; `None` where nothing is.
    fn load(&self, room: &str) -> BoxFuture<'static, Result<Option<Kept>, StoreError>>;

    /// Keeps these events, in order and without gaps: they are durable when this resolves.
    ///
    /// The first one follows what was kept, or *replaces* it: whatever this room has with that seq or a greater one, and
    /// everything of another epoch, is forgotten in the same transaction. So an append whose failure was only apparent does no
    /// harm: its events were told to nobody, and the next append takes their place.
    fn append(
        &self,
        room: &str,
        epoch: &str,
        events: Vec<StoredEvent>,
    ) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Forgets events below this seq. It may be done later, or be lost at a kill: the room asks again.
    fn trim(&self, room: &str, before_seq: u64) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Keeps one small JSON document beside the events (how far each member has read), in place of the one before. A room
    /// that has no events may be saved too; that need not be kept. It is saved every few seconds at most, and the last one may
    /// be lost at a kill.
    fn save(&self, room: &str, state: Arc<str>) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// A store did not do what it was asked. One line: what, why, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// The line.
    pub message: String,
}

impl StoreError {
    /// An error with this line.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}
