use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Weights that the workers of a group share: loaded by the first, freed with the last.
#[derive(Debug)]
pub struct SharedWeights<T> {
    held: Mutex<Weak<T>>,
}

impl<T> Default for SharedWeights<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> SharedWeights<T> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { held: Mutex::new(Weak::new()) }
    }

    /// What is there, or else what `load` brings. Others that ask meanwhile wait for it. Blocks.
    ///
    /// # Errors
    /// What `load` fails with; the next one to ask tries again.
    pub fn get_or_load<E>(&self, load: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        // A load that panicked has left nothing behind, so the lock is as good as new.
        let mut held: MutexGuard<'_, Weak<T>> = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = held.upgrade() {
            return Ok(there);
        }
        let loaded = Arc::new(load()?);
        *held = Arc::downgrade(&loaded);
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_worker_takes_what_the_first_has_loaded() {
        let shared = SharedWeights::new();
        let first = shared.get_or_load(|| Ok::<_, ()>(1)).unwrap();
        let second = shared.get_or_load(|| Ok::<_, ()>(2)).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        drop((first, second));
        assert!(shared.get_or_load(|| Err::<i32, _>("gone")).is_err());
        assert_eq!(*shared.get_or_load(|| Ok::<_, ()>(3)).unwrap(), 3);
    }
}
