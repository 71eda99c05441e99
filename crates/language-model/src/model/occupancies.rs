use std::sync::{Arc, Mutex, PoisonError, Weak};

use generation::Occupancy;

/// How full the workers of a group are; those that are gone drop out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Occupancies(Arc<Mutex<Vec<Weak<Occupancy>>>>);

impl Occupancies {
    pub(super) fn add(&self, occupancy: &Arc<Occupancy>) {
        let mut workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|worker| worker.strong_count() > 0);
        workers.push(Arc::downgrade(occupancy));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Occupancy>> {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().filter_map(Weak::upgrade).collect()
    }
}
