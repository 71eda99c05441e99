use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::OnceLock;

/// 128 bits that stand for a request's content, keyed by secrets of this process.
///
/// Two requests with the same fingerprint are taken to be equal: coalescing joins them, and a conviction
/// of one refuses the other. The keys are random, so nobody outside can construct a collision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fingerprint(u128);

/// Gathers a request's content into a [`Fingerprint`].
#[derive(Debug)]
pub struct Fingerprinter {
    low: std::hash::DefaultHasher,
    high: std::hash::DefaultHasher,
}

static KEYS: OnceLock<(RandomState, RandomState)> = OnceLock::new();

impl Fingerprint {
    /// The fingerprint of any hashable content.
    pub fn of(content: &impl Hash) -> Self {
        let mut both = Fingerprinter::new();
        both.add(content);
        both.finish()
    }
}

impl Fingerprinter {
    /// An empty one.
    pub fn new() -> Self {
        let (low, high) = KEYS.get_or_init(|| (RandomState::new(), RandomState::new()));
        Self { low: low.build_hasher(), high: high.build_hasher() }
    }

    /// Adds a piece of content.
    pub fn add(&mut self, content: &impl Hash) {
        content.hash(&mut self.low);
        content.hash(&mut self.high);
    }

    /// The fingerprint of all that was added.
    pub fn finish(self) -> Fingerprint {
        Fingerprint(u128::from(self.high.finish()) << 64 | u128::from(self.low.finish()))
    }
}

impl Default for Fingerprinter {
    fn default() -> Self {
        Self::new()
    }
}
