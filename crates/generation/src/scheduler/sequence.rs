use std::cmp::Reverse;

use pool_core::{JobId, Priority};

use super::pictures::{PictureRun, extend_runs};
use crate::blocks::{BlockKey, Table};
use crate::item::{ContentHash, Item};

/// Names a sequence and ranks it: the more urgent class first, then the older job, then the lower choice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SequenceKey {
    class: Reverse<Priority>,
    pub(crate) job: JobId,
    pub(crate) choice: u32,
}

impl SequenceKey {
    pub(crate) fn new(class: Priority, job: JobId, choice: u32) -> Self {
        Self { class: Reverse(class), job, choice }
    }

    /// Another choice of the same job.
    pub(crate) fn sibling(self, choice: u32) -> Self {
        Self { choice, ..self }
    }
}

/// What a sequence consists of, and how much of it is in the cache.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) items: Vec<Item>,
    /// Where pictures stand in it, in order.
    runs: Vec<PictureRun>,
    /// Pictures that have been computed for it.
    pub(super) computed_for: Vec<ContentHash>,
    /// The keys of its full blocks.
    pub(super) keys: Vec<BlockKey>,
    /// Its blocks; none while it waits.
    pub(super) table: Option<Table>,
    /// So many positions are in its blocks.
    pub(super) computed: usize,
    pub(super) paused: bool,
    /// How many positions others had computed for it.
    pub(super) cached: usize,
    /// Whether that is all: it has reached its end once, or given up its blocks and may find its own in the cache.
    pub(super) settled: bool,
}

impl Sequence {
    pub(super) fn new(items: Vec<Item>, root: BlockKey, block_tokens: usize) -> Self {
        let mut sequence = Self {
            items: Vec::new(),
            runs: Vec::new(),
            computed_for: Vec::new(),
            keys: Vec::new(),
            table: None,
            computed: 0,
            paused: false,
            cached: 0,
            settled: false,
        };
        sequence.append(items, root, block_tokens);
        sequence
    }

    pub(super) fn append(
        &mut self,
        items: impl IntoIterator<Item = Item>,
        root: BlockKey,
        block_tokens: usize,
    ) {
        let length = self.items.len();
        self.items.extend(items);
        extend_runs(&mut self.runs, length, &self.items[length..]);
        while (self.keys.len() + 1) * block_tokens <= self.items.len() {
            let start = self.keys.len() * block_tokens;
            let before = self.keys.last().copied().unwrap_or(root);
            self.keys.push(before.then(&self.items[start..start + block_tokens]));
        }
    }

    pub(super) fn fork(&self, table: Option<Table>) -> Self {
        Self {
            items: self.items.clone(),
            runs: self.runs.clone(),
            computed_for: self.computed_for.clone(),
            keys: self.keys.clone(),
            computed: if table.is_some() { self.computed } else { 0 },
            table,
            paused: self.paused,
            cached: self.cached,
            settled: self.settled,
        }
    }

    /// Goes on from blocks that others have computed.
    pub(super) fn take_up(&mut self, table: Table, computed: usize) {
        if !self.settled {
            self.cached += computed - self.computed;
        }
        self.table = Some(table);
        self.computed = computed;
    }

    /// Pictures that have rows at these positions, in order.
    pub(super) fn runs_in(&self, start: usize, end: usize) -> &[PictureRun] {
        let first = self.runs.partition_point(|run| run.end <= start);
        let behind = self.runs.partition_point(|run| run.start < end);
        self.runs.get(first..behind).unwrap_or_default()
    }

    /// Positions yet to be computed.
    pub(super) fn pending(&self) -> usize {
        self.items.len() - self.computed
    }
}
