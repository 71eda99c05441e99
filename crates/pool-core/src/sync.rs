//! The one kind of lock used here: short, never held across an await, indifferent to poisoning. And the atomics, so that
//! a schedule explorer sees every one of their operations.
//!
//! What it guards is kept consistent at every statement, so a panic elsewhere while it is held leaves nothing half done.

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
use std::sync::PoisonError;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

/// Locks, whether or not another holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
