use std::hash::Hash;

use pool_core::{Fingerprint, Fingerprinter};

use crate::item::Item;

/// Stands for a block's content and all that came before it: it chains the items of every block from the first, and
/// the model's revision. Keyed by secrets of this process, so nobody can construct two prefixes with equal keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BlockKey(Fingerprint);

impl BlockKey {
    /// What the keys of a model's prefixes begin with.
    pub(crate) fn root(revision: &impl Hash) -> Self {
        Self(Fingerprint::of(revision))
    }

    /// The key of the block that follows, filled with these items.
    pub(crate) fn then(self, items: &[Item]) -> Self {
        let mut both = Fingerprinter::new();
        both.add(&self.0);
        both.add(&items);
        Self(both.finish())
    }
}
