//! One budget of memory for everything that is large: weights, caches, activations, inputs.
//!
//! Owns the budget and the account of who holds how much of it. It allocates nothing itself and measures nothing: whoever
//! is about to allocate reserves first, and keeps the [`Reservation`] for as long as the memory lives.
//!
//! Reservations are granted or refused at once, never awaited, so nobody waits while holding some. Only a load waits,
//! holding nothing: it asks somebody to give memory back and tries again when that has happened.
//!
//! ```
//! use pool_core::memory_governor::{Account, Governor};
//! use pool_core::types::Bytes;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let governor = Governor::new(Bytes(100));
//! let weights = governor.try_reserve(Account::Weights, Bytes(80)).unwrap();
//! let other = governor.clone();
//! let load = async move {
//!     loop {
//!         let freed = other.freed(); // from here on, nothing that is freed goes unnoticed
//!         match other.try_reserve(Account::Weights, Bytes(50)) {
//!             Ok(reservation) => break reservation,
//!             Err(_too_little) => freed.await,
//!         }
//!     }
//! };
//! let (reservation, ()) = tokio::join!(load, async { drop(weights) });
//! assert_eq!(reservation.bytes(), Bytes(50));
//! # }
//! ```

mod governor;
mod limit;
mod pressure;

pub(crate) use governor::Squeeze;
pub use governor::{Frees, Governor, MemoryStats, OutOfMemory, Reservation};
pub use limit::detect_limit;
pub use pressure::Pressure;

use std::fmt;

/// What reserved memory is used for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Account {
    /// Weights, mapped or packed.
    Weights,
    /// Key-value blocks and other state kept between steps.
    Cache,
    /// What a step needs while it runs.
    Activations,
    /// Inputs of jobs that have been accepted.
    Inputs,
}

impl Account {
    /// Every account.
    pub const ALL: [Self; 4] = [Self::Weights, Self::Cache, Self::Activations, Self::Inputs];

    /// The position in [`Account::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name as metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Cache => "cache",
            Self::Activations => "activations",
            Self::Inputs => "inputs",
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
