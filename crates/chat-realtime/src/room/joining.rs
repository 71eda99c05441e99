//! Who joins a room, and why one may not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pool_core::{Principal, Priority};

use super::store::{Position, StoreError};
use crate::delivery;

/// A member's own name, which says whose a message is. A person may be there by several connections.
///
/// Rooms know people by this name alone: whoever may join may take one that is not there under another key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName(Arc<str>);

impl ClientName {
    /// A name.
    ///
    /// # Errors
    ///
    /// It is not 1 to 64 characters of `A-Za-z0-9._-`.
    pub fn new(name: &str) -> Result<Self, JoinError> {
        plain("client", name).map(|()| Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Who joins.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The member's own name.
    pub client: ClientName,
    /// What others are shown; at most 64 characters. Where it is empty: the client's name.
    pub name: String,
    /// What it has already, where it comes back.
    pub position: Option<Position>,
    /// On whose account answers are computed.
    pub principal: Principal,
    /// Whose messages and questions go first where some have to wait, and whose are refused first.
    pub priority: Priority,
    /// How far it may fall behind in its reading.
    pub limits: delivery::Limits,
}

/// Why one may not join.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A name cannot be one.
    #[error("{what} name {name:?} is not {expected}")]
    InvalidName {
        /// Whose name.
        what: &'static str,
        /// The name, or the beginning of it.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Somebody else is there by this name.
    #[error("client name {name:?} is in use in this room under another key: take another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The room is full.
    #[error("the room has {members} connections, as many as one may have: try again later")]
    Full {
        /// How many there are.
        members: usize,
    },
    /// There are too many rooms.
    #[error("{rooms} rooms are open, as many as may be: try again later or join one of those")]
    TooManyRooms {
        /// How many there are.
        rooms: usize,
    },
    /// This principal joins too often.
    #[error("too many joins, try again after {} ms", retry_after.as_millis())]
    TooFast {
        /// When one more may join.
        retry_after: Duration,
    },
    /// What the room has kept cannot be read.
    #[error("the room's history cannot be read: {0}")]
    Store(#[source] StoreError),
    /// The server is going.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The room's task has gone: a defect here.
    #[error("the room has failed: join again")]
    Failed,
}

/// Whether a name is 1 to 64 characters of `A-Za-z0-9._-`.
pub(super) fn plain(what: &'static str, name: &str) -> Result<(), JoinError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(invalid(what, name, "1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'"))
}

impl Joining {
    pub(super) fn check(&self) -> Result<(), JoinError> {
        if self.name.chars().count() > 64 || self.name.chars().any(char::is_control) {
            return Err(invalid("display", &self.name, "at most 64 characters without control characters"));
        }
        Ok(())
    }

    pub(super) fn shown(&self) -> &str {
        match self.name.trim() {
            "" => self.client.as_str(),
            name => name,
        }
    }
}

fn invalid(what: &'static str, name: &str, expected: &'static str) -> JoinError {
    JoinError::InvalidName { what, name: name.chars().take(64).collect(), expected }
}
