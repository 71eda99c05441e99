//! What has been read from a store: a tensor of a layer that nobody reads means another model than the one computed.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{StoredMatrix, TensorStore};
use crate::error::NnError;

/// A store, and the names of what has been read from it.
pub(crate) struct Recorder<'a> {
    store: &'a dyn TensorStore,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(store: &'a dyn TensorStore) -> Self {
        Self { store, read: RefCell::default() }
    }

    /// Refuses weights of the first layers, so many, that nobody has read.
    pub(crate) fn refuse_unread(&self, layers: usize) -> Result<(), NnError> {
        match self.store.unread(&self.read.borrow(), layers) {
            None => Ok(()),
            Some(name) => Err(NnError::unsupported(
                format!("the tensor {name:?}"),
                "this architecture, configured like this, is computed without it",
            )),
        }
    }

    /// Takes note of a tensor that is known and not wanted.
    pub(crate) fn leave(&self, name: &str) {
        self.record(name);
    }

    fn record(&self, name: &str) {
        self.read.borrow_mut().insert(name.to_owned());
    }
}

impl TensorStore for Recorder<'_> {
    fn contains(&self, name: &str) -> bool {
        self.store.contains(name)
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, NnError> {
        self.record(name);
        self.store.vector(name, length)
    }

    fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<StoredMatrix, NnError> {
        self.record(name);
        self.store.matrix(name, shape)
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, NnError> {
        self.record(name);
        self.store.tensor(name, shape)
    }

    fn unread(&self, read: &BTreeSet<String>, layers: usize) -> Option<String> {
        self.store.unread(read, layers)
    }
}
