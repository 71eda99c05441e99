use super::pictures::PictureRun;
use super::{Scheduler, SequenceKey};
use crate::blocks::BlockCopy;
use crate::item::ContentHash;

/// What a step is to compute.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Blocks to be copied before anything is computed.
    pub(crate) copies: Vec<BlockCopy>,
    /// At most one chunk a sequence.
    pub(crate) chunks: Vec<PlannedChunk>,
    /// The picture that is to be computed on.
    pub(crate) picture: Option<WantedPicture>,
}

/// A part of one sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PlannedChunk {
    pub(crate) key: SequenceKey,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether it reaches the sequence's end, so that the next token follows from it.
    pub(crate) ends: bool,
}

/// A picture whose rows the highest-ranked sequence that lacks any cannot go on without.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WantedPicture {
    pub(crate) key: SequenceKey,
    pub(crate) content: ContentHash,
    /// Pictures whose rows sequences of higher rank are about to read.
    pub(super) reading: Vec<ContentHash>,
    /// Pictures whose rows the sequence reads in the same chunk.
    pub(super) own: Vec<ContentHash>,
}

/// The next chunk of a sequence.
#[derive(Clone, Copy, Debug)]
struct Cut {
    start: usize,
    end: usize,
    /// Whether it is one of a sequence that decodes.
    decodes: bool,
}

impl PlannedChunk {
    /// Positions it computes.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }
}

impl Scheduler {
    /// Decides what the next step computes: every sequence that decodes, and of prompts about `prefill` tokens. Rows of
    /// pictures that are not there yet are not among them.
    pub(crate) fn plan(&mut self, prefill: usize) -> Plan {
        let mut plan = Plan::default();
        let mut prefill = prefill;
        let mut reading = Vec::new();
        let order: Vec<SequenceKey> = self.sequences.keys().copied().collect();
        let mut passable = true;
        for (place, &key) in order.iter().enumerate() {
            if plan.chunks.len() == self.config.batch {
                break;
            }
            let Some(sequence) = self.sequences.get(&key) else { continue };
            if sequence.paused {
                continue;
            }
            let lower = &order[place + 1..];
            if sequence.table.is_none() {
                if prefill == 0 || !passable {
                    continue;
                }
                if !self.start(key, lower) {
                    // Whoever comes after it waits too, or it might wait forever.
                    passable = false;
                    continue;
                }
            } else {
                self.catch_up(key);
            }
            let Some(Cut { start, end, decodes }) = self.cut(key, prefill) else { continue };
            let end = self.cut_before_pictures(key, start, end, &mut reading, &mut plan.picture);
            if end == start || (prefill == 0 && !decodes) {
                continue;
            }
            let Some(end) = self.make_room(key, lower, start, end) else { continue };
            let Some(sequence) = self.sequences.get_mut(&key) else { continue };
            let Some(table) = &mut sequence.table else { continue };
            let Some(copies) = self.pool.reserve(table, start, end) else { continue };
            plan.copies.extend(copies);
            if !decodes {
                prefill = prefill.saturating_sub(end - start);
            }
            plan.chunks.push(PlannedChunk { key, start, end, ends: end == sequence.items.len() });
        }
        plan
    }

    /// Takes up a sequence that holds no blocks, if its prompt finds room. Others of lower rank give up theirs for it.
    fn start(&mut self, key: SequenceKey, lower: &[SequenceKey]) -> bool {
        let Some(sequence) = self.sequences.get(&key) else { return false };
        let length = sequence.items.len();
        let depth = self.cached_depth(key);
        let Some(sequence) = self.sequences.get(&key) else { return false };
        let table = self.pool.acquire(&sequence.keys[..depth]);
        let computed = depth * self.pool.block_tokens();
        let upto = (length + 1).min(self.capacity());
        loop {
            // Each of those that run will want another block soon.
            let running = self.sequences.values().filter(|other| other.table.is_some() && !other.paused);
            if self.pool.can_start(&table, computed, upto, running.count()) {
                break;
            }
            if !self.preempt_below(lower) {
                self.pool.release(table);
                return false;
            }
        }
        let Some(sequence) = self.sequences.get_mut(&key) else { return false };
        sequence.take_up(table, computed);
        true
    }

    /// A prompt that another sequence has computed meanwhile goes on from there.
    fn catch_up(&mut self, key: SequenceKey) {
        let depth = self.cached_depth(key);
        let computed = depth * self.pool.block_tokens();
        let Some(sequence) = self.sequences.get_mut(&key) else { return };
        if computed <= sequence.computed {
            return;
        }
        if let Some(table) = sequence.table.take() {
            self.pool.release(table);
            let table = self.pool.acquire(&sequence.keys[..depth]);
            sequence.take_up(table, computed);
        }
    }

    /// How many of a sequence's first blocks need not be computed. At least its last position must be: the next token
    /// follows from it.
    fn cached_depth(&self, key: SequenceKey) -> usize {
        let Some(sequence) = self.sequences.get(&key) else { return 0 };
        let tokens = self.pool.block_tokens();
        if sequence.pending() <= tokens && sequence.table.is_some() {
            // It decodes, or is about to.
            return 0;
        }
        let most = (sequence.items.len() - 1) / tokens;
        let depth = self.pool.hit(&sequence.keys[..most.min(sequence.keys.len())]);
        if !self.config.fixed {
            return depth;
        }
        // Chunks go on where they would have without the cache.
        let step = self.config.chunk / tokens;
        let mut depth = depth;
        while !depth.is_multiple_of(step) {
            depth = self.pool.hit(&sequence.keys[..depth / step * step]);
        }
        depth
    }

    /// The next chunk of a sequence, as far as its text goes.
    fn cut(&self, key: SequenceKey, prefill: usize) -> Option<Cut> {
        let sequence = self.sequences.get(&key)?;
        let (start, length) = (sequence.computed, sequence.items.len());
        // A grammar may have forced a few tokens after the last.
        let decodes = sequence.pending() <= self.pool.block_tokens();
        let end = if self.config.fixed {
            length.min((start / self.config.chunk + 1) * self.config.chunk)
        } else if decodes {
            length
        } else {
            length.min(start + prefill.min(self.config.chunk))
        };
        (length > start).then_some(Cut { start, end, decodes })
    }

    /// How far a chunk gets with the pictures whose rows are there. The first sequence that lacks one is noted in `wanted`;
    /// until then, what sequences are yet to read is in `reading`.
    fn cut_before_pictures(
        &self,
        key: SequenceKey,
        start: usize,
        end: usize,
        reading: &mut Vec<ContentHash>,
        wanted: &mut Option<WantedPicture>,
    ) -> usize {
        let Some(sequence) = self.sequences.get(&key) else { return start };
        // One that may compute nothing in this step can have its picture computed all the same.
        let runs = sequence.runs_in(start, end.max(start + 1));
        let missing = runs.iter().position(|run| !self.pictures.contains(run.content));
        if let (Some(at), None) = (missing, &wanted) {
            let (mut own, mut reading) = (Vec::new(), std::mem::take(reading));
            let there = |runs: &[PictureRun]| -> Vec<ContentHash> {
                let contents = runs.iter().map(|run| run.content);
                contents.filter(|content| self.pictures.contains(*content)).collect()
            };
            // A chunk that is computed whole needs all of its pictures at once; else those before this one are read now.
            match self.config.fixed {
                true => own = there(runs),
                false => reading.extend(there(&runs[..at])),
            }
            *wanted = Some(WantedPicture { key, content: runs[at].content, reading, own });
        }
        if wanted.is_none() {
            let ahead = sequence.runs_in(start, sequence.items.len()).iter().map(|run| run.content);
            reading.extend(ahead.filter(|content| self.pictures.contains(*content)));
        }
        match missing {
            None => end,
            // Such a chunk is computed whole or not yet.
            Some(_) if self.config.fixed => start,
            Some(at) => runs[at].start.max(start),
        }
    }

    /// Finds blocks for a chunk, be it that others of lower rank give up theirs, and says how far they suffice.
    fn make_room(
        &mut self,
        key: SequenceKey,
        lower: &[SequenceKey],
        start: usize,
        end: usize,
    ) -> Option<usize> {
        loop {
            let table = self.sequences.get(&key)?.table.as_ref()?;
            let fit = self.pool.fit(table, start, end);
            if fit == end || (fit > start && !self.config.fixed) {
                return Some(fit);
            }
            if !self.preempt_below(lower) {
                return None;
            }
        }
    }

    /// Takes all blocks of one sequence: of one whose reader does not read, or else of the lowest in `lower`.
    fn preempt_below(&mut self, lower: &[SequenceKey]) -> bool {
        let paused = self.sequences.iter().rev().find(|(_, other)| other.paused && other.table.is_some());
        let victim = paused.map(|(key, _)| *key).or_else(|| {
            let holds =
                |key: &&SequenceKey| self.sequences.get(key).is_some_and(|other| other.table.is_some());
            lower.iter().rev().find(holds).copied()
        });
        let Some(sequence) = victim.and_then(|key| self.sequences.get_mut(&key)) else { return false };
        let Some(table) = sequence.table.take() else { return false };
        sequence.computed = 0;
        sequence.settled = true;
        self.pool.release(table);
        self.preemptions += 1;
        true
    }
}
