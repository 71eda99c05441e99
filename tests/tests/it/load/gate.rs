//! Pauses between sends, in which the two sides' counts can be compared.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch};

/// Everybody sends with the gate open. While it is shut nothing is being sent, so that the number of requests sent stands
/// still and the server's counts catch up with it.
#[derive(Debug)]
pub(super) struct Gate {
    open: RwLock<()>,
    /// How often the counts were found equal.
    proofs: watch::Sender<u64>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { open: RwLock::new(()), proofs: watch::Sender::new(0) }
    }
}

impl Gate {
    /// Waits for the gate to be open; it stays so until this is dropped.
    pub(super) async fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.open.read().await
    }

    /// Shuts the gate until this is dropped.
    pub(super) async fn shut(&self) -> RwLockWriteGuard<'_, ()> {
        self.open.write().await
    }

    /// The counts were found equal behind the shut gate: everything sent so far was counted.
    pub(super) fn proven(&self, shut: RwLockWriteGuard<'_, ()>) {
        self.proofs.send_modify(|proofs| *proofs += 1);
        drop(shut);
    }

    /// To be taken with the gate open, just before sending.
    pub(super) fn proofs(&self) -> u64 {
        *self.proofs.borrow()
    }

    /// Waits until what was sent after so many proofs was counted.
    pub(super) async fn counted(&self, proofs: u64) {
        let mut watched = self.proofs.subscribe();
        // The sender lives as long as this.
        let _ = watched.wait_for(|now| *now > proofs).await;
    }
}
