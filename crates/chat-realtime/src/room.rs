//! Rooms: what people do together, with an assistant among them.
//!
//! A room is one task that owns its state. Whoever joins gets a [`Connection`](crate::delivery::Connection); every event of a
//! room's history comes to everybody in one order, numbered without gaps, after it was kept by the room's [`HistoryStore`].
//! Somebody who comes back with the [`Position`] they had gets exactly what they missed, or is told that history no longer
//! reaches back.

mod history;
mod hub;
mod joining;
mod limits;
mod machine;
mod memory;
mod prompt;
mod protocol;
mod record;
mod store;
mod task;

pub use hub::{Rooms, RoomsBuilder, RoomsStats};
pub use joining::{ClientName, JoinError, Joining};
pub use limits::{HistoryLimits, RoomLimits};
pub use memory::MemoryHistory;
pub use store::{HistoryStore, Kept, Position, StoreError, StoredEvent};
