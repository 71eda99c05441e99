use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::OnceLock;

/// One position of a sequence: what a decoder reads there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Item {
    /// A token of the vocabulary.
    Token(u32),
    /// A row of a picture's embedding. Whoever owns the decoder knows the picture by its content.
    Embedding {
        /// Which picture.
        content: ContentHash,
        /// Which of its rows.
        row: u32,
    },
}

impl Item {
    /// The token, if it is one.
    pub const fn token(self) -> Option<u32> {
        match self {
            Self::Token(token) => Some(token),
            Self::Embedding { .. } => None,
        }
    }
}

/// Stands for a picture's content: 128 bits keyed by secrets of this process, so that nobody outside can make two
/// pictures that share cache blocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContentHash([u64; 2]);

static KEYS: OnceLock<[RandomState; 2]> = OnceLock::new();

impl ContentHash {
    /// The hash of any content.
    pub fn of(content: &(impl Hash + ?Sized)) -> Self {
        let keys = KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]);
        Self([keys[0].hash_one(content), keys[1].hash_one(content)])
    }
}
