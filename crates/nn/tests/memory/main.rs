//! What a pass takes is what its configuration says it takes. A binary of its own: it counts what the whole process
//! allocates.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../../imaging/tests/memory/peak.rs"]
mod peak;
mod unet;
mod vae;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A test that runs alone: what another one allocates meanwhile would be counted.
struct Alone {
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Alone {
    /// Waits for its turn.
    fn wait() -> Self {
        Self { _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Bytes that work holds at its peak, besides what there was.
    fn taken<R>(&self, work: impl FnOnce() -> R) -> usize {
        let before = peak::start();
        work();
        peak::highest() - before
    }
}
