//! The account of all files: which there are, which are waiting to be read, what each says. Pure: the clock is handed in.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use pool_core::Fingerprint;
use tokio::time::Instant;

use super::ContextLimits;
use super::citations::Skipped;
use super::content::{Content, Draft, Reason};
use super::files::Stamp;
use super::index::Index;
use super::walk::{Found, Key};

#[cfg(test)]
mod tests;

/// All that is known of the files.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: ContextLimits,
    files: BTreeMap<Arc<Key>, Entry>,
    /// To be read, in this order; those that are so no more are passed over.
    waiting: VecDeque<Arc<Key>>,
    pub(super) index: Index,
    /// The walk that is on, or was last.
    walk: u64,
    /// Files beyond the limit, in the last walk over everything.
    too_many: u64,
    /// What paths and entries take in memory.
    bytes: usize,
    /// How much was held when a file last found no room.
    full_at: Option<usize>,
}

#[derive(Debug)]
struct Entry {
    stamp: Option<Stamp>,
    read_at: Option<SystemTime>,
    /// The last walk that came by it.
    seen: u64,
    status: Status,
    /// What it says in the index; of a changed file, what it said.
    says: Option<Fingerprint>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Waiting,
    Reading,
    Done,
    Left(Reason),
}

/// How many files there are, and what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) done: u64,
    pub(super) skipped: Skipped,
}

/// A file that is to be read.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) key: Arc<Key>,
    /// What it said before.
    pub(super) earlier: Option<Arc<Content>>,
}

impl Ledger {
    pub(super) fn new(limits: ContextLimits) -> Self {
        let (files, waiting, index) = (BTreeMap::new(), VecDeque::new(), Index::default());
        Self { limits, files, waiting, index, walk: 0, too_many: 0, bytes: 0, full_at: None }
    }

    /// A walk begins; over everything, or some of it.
    pub(super) fn begin(&mut self, everything: bool) {
        self.walk += 1;
        if everything {
            self.too_many = 0;
        }
    }

    /// Whether some files are known by number only, so that nothing less than a walk over everything can tell of changes.
    pub(super) fn overflows(&self) -> bool {
        self.too_many > 0
    }

    /// The walk came by this.
    pub(super) fn found(&mut self, found: Found, now: Instant) {
        let (key, stamp, named) = match found {
            Found::File { key, stamp, named } => (key, Some(stamp), named),
            Found::Unreadable { key } => (key, None, false),
            Found::Root { .. } | Found::NoRoot { .. } => return,
        };
        let status = match stamp {
            None => Status::Left(Reason::Unreadable),
            Some(stamp) if stamp.bytes > u64::from(self.limits.file_bytes) => Status::Left(Reason::TooLarge),
            Some(_) => Status::Waiting,
        };
        if let Some((key, entry)) = self.files.get_key_value(&key) {
            let key = Arc::clone(key);
            let tells = stamp.zip(entry.read_at).is_none_or(|(stamp, read_at)| stamp.tells_since(read_at));
            let same = entry.stamp == stamp && !named && (tells || entry.status == Status::Waiting);
            if let Some(entry) = self.files.get_mut(&key) {
                entry.seen = self.walk;
            }
            if !same {
                self.turn(&key, status, stamp, now);
            }
            return;
        }
        if self.files.len() >= self.limits.files {
            self.too_many += 1;
            return;
        }
        let key = Arc::new(key);
        self.bytes += bytes_of(&key);
        let entry = Entry { stamp, read_at: None, seen: self.walk, status, says: None };
        self.files.insert(Arc::clone(&key), entry);
        if status == Status::Waiting {
            self.waiting.push_back(key);
        }
    }

    /// A file is another than before.
    fn turn(&mut self, key: &Arc<Key>, status: Status, stamp: Option<Stamp>, now: Instant) {
        let Some(entry) = self.files.get_mut(key) else { return };
        let was = std::mem::replace(&mut entry.status, status);
        entry.stamp = stamp;
        if status != Status::Waiting {
            if let Some(fingerprint) = entry.says.take() {
                self.index.release(fingerprint, key, now);
            }
        } else if was != Status::Waiting {
            self.waiting.push_back(Arc::clone(key));
        }
    }

    /// The walk has been over all of these: what it did not come by is gone. Says how many files that were.
    pub(super) fn end(&mut self, starts: &[Key], now: Instant) -> usize {
        let mut gone = Vec::new();
        for start in starts {
            let below = self.files.range::<Key, _>(start..);
            let below =
                below.take_while(|(key, _)| key.root == start.root && key.path.starts_with(&start.path));
            gone.extend(below.filter(|(_, entry)| entry.seen != self.walk).map(|(key, _)| Arc::clone(key)));
        }
        for key in &gone {
            if let Some(entry) = self.files.remove(key) {
                self.bytes -= bytes_of(key);
                if let Some(fingerprint) = entry.says {
                    self.index.release(fingerprint, key, now);
                }
            }
        }
        self.retry_where_there_is_room();
        gone.len()
    }

    fn retry_where_there_is_room(&mut self) {
        if self.full_at.is_none_or(|full_at| self.held() >= full_at) {
            return;
        }
        self.full_at = None;
        for (key, entry) in &mut self.files {
            if entry.status == Status::Left(Reason::NoRoom) {
                entry.status = Status::Waiting;
                self.waiting.push_back(Arc::clone(key));
            }
        }
    }

    /// Whether any file is waiting to be read.
    pub(super) fn is_waiting(&mut self) -> bool {
        while let Some(key) = self.waiting.front() {
            if self.files.get(key).is_some_and(|entry| entry.status == Status::Waiting) {
                return true;
            }
            self.waiting.pop_front();
        }
        false
    }

    /// The files to read next: at most so many, of about so many bytes together.
    pub(super) fn take(&mut self, files: usize, bytes: u64) -> Vec<Errand> {
        let mut errands = Vec::new();
        let mut left = bytes;
        while errands.len() < files && left > 0 && self.is_waiting() {
            let Some(key) = self.waiting.pop_front() else { break };
            let Some(entry) = self.files.get_mut(&key) else { continue };
            entry.status = Status::Reading;
            left = left.saturating_sub(entry.stamp.map_or(0, |stamp| stamp.bytes).max(1));
            let earlier = entry.says.and_then(|fingerprint| self.index.get(fingerprint)).cloned();
            errands.push(Errand { key, earlier });
        }
        errands
    }

    /// These were not read after all.
    pub(super) fn give_back(&mut self, errands: Vec<Errand>) {
        for Errand { key, .. } in errands.into_iter().rev() {
            if let Some(entry) = self.files.get_mut(&key)
                && entry.status == Status::Reading
            {
                entry.status = Status::Waiting;
                self.waiting.push_front(key);
            }
        }
    }

    /// Whether what a file says is known, from another or from itself under another name; it is then done.
    pub(super) fn settle_known(&mut self, draft: &Draft, now: Instant) -> bool {
        if draft.left.is_some() || !self.is_reading(&draft.key) {
            return false;
        }
        if !self.index.join(draft.fingerprint, &draft.key) {
            return false;
        }
        self.release_earlier(draft, now);
        self.done(draft);
        true
    }

    /// Whether there is room for a draft, as far as is known.
    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        if self.held().saturating_add(bytes) > self.limits.index_bytes {
            self.index.forget_all();
        }
        self.held().saturating_add(bytes) <= self.limits.index_bytes
    }

    /// A draft is complete: its vectors are there, or it is left out.
    pub(super) fn settle(&mut self, mut draft: Draft, dimensions: usize, now: Instant) {
        if !self.is_reading(&draft.key) {
            return; // It changed or went meanwhile, which the ledger has been told.
        }
        self.release_earlier(&draft, now);
        if draft.left.is_none() && !self.has_room(draft.bytes(dimensions)) {
            draft.left = Some(Reason::NoRoom);
        }
        if let Some(reason) = draft.left {
            if let Some(entry) = self.files.get_mut(&draft.key) {
                // What could not be opened is tried again when it looks different.
                entry.stamp = draft.stamp.or(entry.stamp);
                entry.read_at = draft.stamp.map(|_| draft.read_at);
                entry.status = Status::Left(reason);
            }
            if reason == Reason::NoRoom {
                self.full_at = Some(self.held());
            }
            return;
        }
        self.done(&draft);
        let (fingerprint, key) = (draft.fingerprint, Arc::clone(&draft.key));
        self.index.insert(fingerprint, &key, Arc::new(draft.into_content()));
    }

    /// What a file said before is not what it says.
    fn release_earlier(&mut self, draft: &Draft, now: Instant) {
        let says = (draft.left.is_none()).then_some(draft.fingerprint);
        let Some(entry) = self.files.get_mut(&draft.key) else { return };
        if let Some(said) = entry.says.take_if(|said| Some(*said) != says) {
            self.index.release(said, &draft.key, now);
        }
    }

    fn done(&mut self, draft: &Draft) {
        let Some(entry) = self.files.get_mut(&draft.key) else { return };
        entry.status = Status::Done;
        entry.stamp = draft.stamp;
        entry.read_at = Some(draft.read_at);
        entry.says = Some(draft.fingerprint);
    }

    fn is_reading(&self, key: &Key) -> bool {
        self.files.get(key).is_some_and(|entry| entry.status == Status::Reading)
    }

    /// What all of it takes in memory.
    pub(super) fn held(&self) -> usize {
        self.bytes + self.index.bytes()
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.files.values() {
            let skipped = &mut counts.skipped;
            match entry.status {
                Status::Waiting | Status::Reading => continue,
                Status::Done => {}
                Status::Left(Reason::TooLarge) => skipped.too_large += 1,
                Status::Left(Reason::Binary) => skipped.binary += 1,
                Status::Left(Reason::Unreadable) => skipped.unreadable += 1,
                Status::Left(Reason::NoRoom) => skipped.no_room += 1,
                Status::Left(Reason::Refused) => skipped.refused += 1,
            }
            counts.done += 1;
        }
        counts.skipped.too_many = self.too_many;
        counts.files = self.files.len() as u64 + self.too_many;
        counts.done += self.too_many;
        counts
    }
}

/// What it takes to know of a file.
fn bytes_of(key: &Key) -> usize {
    size_of::<Entry>() + size_of::<Key>() + 2 * size_of::<PathBuf>() + key.path.as_os_str().len()
}
