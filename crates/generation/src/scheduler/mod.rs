//! Which sequences a step advances, and by how much. Pure: it is told how many tokens a step may prefill, and never
//! looks at a clock.
//!
//! Sequences are kept in the order of their rank: the most urgent class first, within it the oldest. Every step
//! goes through them once. One that decodes is always advanced; prompts share what the step may prefill. Where blocks
//! run out, whoever ranks lowest gives up all of its own and is computed again later, as far as its prefix is no longer
//! cached. A sequence that waits for room is not passed by.

mod pace;
mod pictures;
mod plan;
mod sequence;
#[cfg(test)]
mod tests;

pub(crate) use pace::Pace;
pub(crate) use plan::{Plan, PlannedChunk, WantedPicture};
pub(crate) use sequence::SequenceKey;

use std::collections::BTreeMap;

use pictures::KeptPictures;
use sequence::Sequence;

use crate::blocks::{BlockKey, BlockPool};
use crate::decoder::{CacheShape, Chunk, LogitRows};
use crate::item::{ContentHash, Item};

/// What a scheduler is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SchedulerConfig {
    /// Sequences a step advances at most.
    pub(crate) batch: usize,
    /// Positions that one chunk computes at most.
    pub(crate) chunk: usize,
    /// Whether chunks end at multiples of `chunk` wherever a prompt is taken up, so that equal prefixes are always
    /// computed by equal chunks. `chunk` is then a multiple of the block's tokens.
    pub(crate) fixed: bool,
    /// Rows of pictures there is memory for.
    pub(crate) picture_rows: usize,
}

/// Sequences and the blocks they hold.
#[derive(Debug)]
pub(crate) struct Scheduler {
    config: SchedulerConfig,
    pool: BlockPool,
    /// What all block keys begin with.
    root: BlockKey,
    sequences: BTreeMap<SequenceKey, Sequence>,
    pictures: KeptPictures,
    preemptions: u64,
    picture_hits: u64,
}

impl Scheduler {
    pub(crate) fn new(shape: &CacheShape, root: BlockKey, config: SchedulerConfig) -> Self {
        Self {
            config,
            pool: BlockPool::new(shape),
            root,
            sequences: BTreeMap::new(),
            pictures: KeptPictures::new(config.picture_rows),
            preemptions: 0,
            picture_hits: 0,
        }
    }

    /// The most positions a sequence can have when it is alone.
    pub(crate) fn capacity(&self) -> usize {
        self.pool.capacity(if self.config.fixed { self.config.chunk } else { 1 })
    }

    /// The blocks.
    pub(crate) fn pool(&self) -> &BlockPool {
        &self.pool
    }

    /// Sequences that hold blocks, and those that wait for some.
    pub(crate) fn running_and_waiting(&self) -> (usize, usize) {
        let running = self.sequences.values().filter(|sequence| sequence.table.is_some()).count();
        (running, self.sequences.len() - running)
    }

    /// How often a sequence has given up its blocks for another.
    pub(crate) fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// How often a sequence has begun to read a picture that was not computed for it, since this was last asked.
    pub(crate) fn take_picture_hits(&mut self) -> u64 {
        std::mem::take(&mut self.picture_hits)
    }

    /// What must be given up before a picture of so many rows can be kept. `None`: it must wait for sequences of higher rank
    /// to have read theirs.
    pub(crate) fn picture_room(&self, wanted: &WantedPicture, rows: usize) -> Option<Vec<ContentHash>> {
        self.pictures.room(rows, &wanted.reading, &wanted.own)
    }

    /// Notes that a picture has been computed for a sequence, and what was given up for it.
    pub(crate) fn keep_picture(&mut self, wanted: &WantedPicture, rows: usize, given_up: &[ContentHash]) {
        for content in given_up {
            self.pictures.remove(*content);
        }
        self.pictures.insert(wanted.content, rows);
        if let Some(sequence) = self.sequences.get_mut(&wanted.key) {
            sequence.computed_for.push(wanted.content);
        }
    }

    /// Sequences that wait for nothing but their next token.
    pub(crate) fn decoding(&self) -> usize {
        self.sequences.values().filter(|sequence| !sequence.paused && sequence.pending() == 1).count()
    }

    /// Positions that all sequences have.
    pub(crate) fn tokens(&self) -> usize {
        self.sequences.values().map(|sequence| sequence.items.len()).sum()
    }

    /// Positions that sequences have which are not left out of steps.
    pub(crate) fn unpaused_tokens(&self) -> usize {
        let unpaused = self.sequences.values().filter(|sequence| !sequence.paused);
        unpaused.map(|sequence| sequence.items.len()).sum()
    }

    /// Adds a sequence; it waits for its turn. `items` is not empty, and no longer than [`Scheduler::capacity`].
    pub(crate) fn add(&mut self, key: SequenceKey, items: Vec<Item>) {
        self.sequences.insert(key, Sequence::new(items, self.root, self.pool.block_tokens()));
    }

    /// Adds a sequence that has the same items as another so far, and shares its blocks.
    pub(crate) fn fork(&mut self, from: SequenceKey, key: SequenceKey) {
        if let Some(sequence) = self.sequences.get(&from) {
            let table = sequence.table.as_ref().map(|table| self.pool.fork(table));
            let fork = sequence.fork(table);
            self.sequences.insert(key, fork);
        }
    }

    /// Lengthens a sequence.
    pub(crate) fn append(&mut self, key: SequenceKey, items: impl IntoIterator<Item = Item>) {
        if let Some(sequence) = self.sequences.get_mut(&key) {
            sequence.append(items, self.root, self.pool.block_tokens());
        }
    }

    /// Ends a sequence. Its full blocks stay cached.
    pub(crate) fn remove(&mut self, key: SequenceKey) {
        if let Some(table) = self.sequences.remove(&key).and_then(|sequence| sequence.table) {
            self.pool.release(table);
        }
    }

    /// Whether a sequence is to be left out of steps.
    pub(crate) fn pause(&mut self, key: SequenceKey, paused: bool) {
        if let Some(sequence) = self.sequences.get_mut(&key) {
            sequence.paused = paused;
        }
    }

    /// How many of a sequence's positions others had computed for it.
    pub(crate) fn cached(&self, key: SequenceKey) -> usize {
        self.sequences.get(&key).map_or(0, |sequence| sequence.cached)
    }

    /// The sequence's length.
    pub(crate) fn length(&self, key: SequenceKey) -> usize {
        self.sequences.get(&key).map_or(0, |sequence| sequence.items.len())
    }

    /// What a decoder is to be handed for a plan.
    pub(crate) fn with_chunks<T>(&self, plan: &Plan, use_chunks: impl FnOnce(&[Chunk<'_>]) -> T) -> T {
        let planned: Vec<_> = plan
            .chunks
            .iter()
            .filter_map(|chunk| {
                let sequence = self.sequences.get(&chunk.key)?;
                Some((chunk, sequence, sequence.table.as_ref()?.groups()))
            })
            .collect();
        let chunks: Vec<Chunk<'_>> = planned
            .iter()
            .map(|(chunk, sequence, tables)| Chunk {
                items: &sequence.items[chunk.start..chunk.end],
                start: chunk.start,
                tables,
                logits: if chunk.ends { LogitRows::Last } else { LogitRows::None },
            })
            .collect();
        use_chunks(&chunks)
    }

    /// Notes that a plan's chunks have been computed.
    pub(crate) fn commit(&mut self, plan: &Plan) {
        for chunk in &plan.chunks {
            let Some(sequence) = self.sequences.get_mut(&chunk.key) else { continue };
            for run in sequence.runs_in(chunk.start, chunk.end) {
                self.pictures.touch(run.content);
                // Only the first time counts: one that has given up its blocks reads it once more.
                let begins = run.start >= chunk.start && !sequence.settled;
                self.picture_hits += u64::from(begins && !sequence.computed_for.contains(&run.content));
            }
            if let Some(table) = &mut sequence.table {
                sequence.computed = chunk.end;
                sequence.settled |= chunk.ends;
                self.pool.commit(table, &sequence.keys, chunk.end);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        let tables: Vec<_> = self.sequences.values().filter_map(|sequence| sequence.table.as_ref()).collect();
        self.pool.check(&tables);
    }

    #[cfg(test)]
    fn items(&self, key: SequenceKey) -> &[Item] {
        &self.sequences[&key].items
    }

    #[cfg(test)]
    fn pending(&self, key: SequenceKey) -> usize {
        self.sequences[&key].pending()
    }

    /// What each sequence consists of, its tables, and how much of it is computed.
    #[cfg(test)]
    fn for_each_table(&self, mut each: impl FnMut(&[Item], &[&[crate::decoder::BlockId]], usize)) {
        for sequence in self.sequences.values() {
            if let Some(table) = &sequence.table {
                each(&sequence.items, &table.groups(), sequence.computed);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn pool_mut(&mut self) -> &mut BlockPool {
        &mut self.pool
    }
}
