//! What sessions and rooms see of live context: passages for a question, and how far the reading has come.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use tokio::sync::watch;

use crate::model::ModelFailure;

/// Passages for a question, from wherever they are kept.
pub trait Citations: Send + Sync + fmt::Debug + 'static {
    /// The passages nearest in meaning to the question, best first, at most so many. None where there is nothing to cite, which
    /// is no failure.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the search.
    fn find(&self, question: String, most: usize) -> BoxFuture<'static, Result<Vec<Passage>, ModelFailure>>;

    /// How far the reading has come: the newest value, replaced a few times a second at most. Its end means that nothing is
    /// watched any more.
    fn updates(&self) -> watch::Receiver<Progress>;
}

/// A passage of a file.
#[derive(Clone, PartialEq, Debug)]
pub struct Passage {
    /// The file as a reader would name it: the folder's own name, then the way inside it, with forward slashes.
    pub path: String,
    /// The first and the last line, counted from 1.
    pub lines: (u32, u32),
    /// What it says, verbatim.
    pub text: Arc<str>,
    /// The cosine of the angle between question and passage: at most 1, more is nearer.
    pub score: f32,
}

/// How far the reading of the folders has come. Within one scan, `files` and `files_done` never fall.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Progress {
    /// The scan that this is about, counted from 1; 0 before the first.
    pub scan: u64,
    /// Files found so far, those that are left out included.
    pub files: u64,
    /// Of those, the ones whose passages can be found by now, and the ones that are left out.
    pub files_done: u64,
    /// Passages that can be found.
    pub chunks: u64,
    /// What the index takes in memory, in bytes.
    pub bytes: u64,
    /// Files that are left out, by reason.
    pub skipped: Skipped,
    /// Whether the folders are still being read.
    pub state: ProgressState,
    /// One line on what does not work as it should, and what to do about it, though the reading goes on.
    pub warning: Option<Arc<str>>,
}

/// Whether the folders are still being read.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgressState {
    /// Files are being looked for, read or embedded.
    #[default]
    Scanning,
    /// The index says what the folders hold.
    Current,
    /// The reading cannot go on for now; it is tried again.
    Failed {
        /// One line: what, why, and what to do.
        message: Arc<str>,
    },
}

/// How many files are left out, by reason. Files that ignore files name are not counted: nobody expects them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Skipped {
    /// They are longer than a file may be.
    pub too_large: u64,
    /// They hold NUL bytes or are no UTF-8.
    pub binary: u64,
    /// They cannot be read.
    pub unreadable: u64,
    /// There are more files than may be read.
    pub too_many: u64,
    /// The index has no room for them.
    pub no_room: u64,
    /// The model refused them.
    pub refused: u64,
}

impl Skipped {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.too_large + self.binary + self.unreadable + self.too_many + self.no_room + self.refused
    }
}
