//! What has changed and has not been looked at yet. Pure: the clock is handed in.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::rules::{is_hidden, is_ignore_file};
use super::walk::{Key, Root};

#[cfg(test)]
mod tests;

/// With more paths than this, everything is looked at.
const PATHS: usize = 4096;

/// After the first change one waits so many times the debounce at most.
const LONGEST: u32 = 10;

/// Paths where something has changed.
#[derive(Debug)]
pub(super) struct Dirty {
    debounce: Duration,
    paths: BTreeSet<Key>,
    everything: bool,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// What is to be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Starts {
    pub(super) keys: Vec<Key>,
    pub(super) everything: bool,
}

impl Dirty {
    pub(super) const fn new(debounce: Duration) -> Self {
        Self { debounce, paths: BTreeSet::new(), everything: false, first: None, last: None }
    }

    /// Something has changed somewhere.
    pub(super) fn everything(&mut self, now: Instant) {
        self.everything = true;
        self.paths.clear();
        self.touch(now);
    }

    /// Something has changed here.
    pub(super) fn at(&mut self, path: &Path, roots: &[Root], now: Instant) {
        for (root, folder) in roots.iter().enumerate() {
            if let Ok(inside) = path.strip_prefix(&folder.path)
                && let Some(path) = start(inside)
            {
                self.note(Key { root, path: path.to_owned() }, now);
            }
        }
    }

    /// This is to be looked at.
    pub(super) fn note(&mut self, key: Key, now: Instant) {
        self.touch(now);
        if !self.everything {
            self.paths.insert(key);
            if self.paths.len() > PATHS {
                self.everything(now);
            }
        }
    }

    fn touch(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// When it is time to look: a change seldom comes alone.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.first.zip(self.last)?;
        Some((last + self.debounce).min(first + self.debounce * LONGEST))
    }

    /// What is to be looked at; afterwards it is nothing.
    pub(super) fn take(&mut self, roots: usize) -> Starts {
        let everything = self.everything;
        let noted = std::mem::take(&mut self.paths);
        *self = Self::new(self.debounce);
        if everything {
            let keys = (0..roots).map(|root| Key { root, path: Default::default() }).collect();
            return Starts { keys, everything };
        }
        let mut keys: Vec<Key> = Vec::new();
        // In their order, a folder comes before all that is in it.
        for key in noted {
            if !keys.last().is_some_and(|last| last.root == key.root && key.path.starts_with(&last.path)) {
                keys.push(key);
            }
        }
        Starts { keys, everything }
    }
}

/// Where to begin to look for what has changed here; `None` where nothing is read anyway.
fn start(inside: &Path) -> Option<&Path> {
    let hidden = inside.components().any(|part| is_hidden(part.as_os_str()));
    if !hidden {
        return Some(inside);
    }
    let folder = inside.parent()?;
    let says = inside.file_name().is_some_and(is_ignore_file);
    (says && !folder.components().any(|part| is_hidden(part.as_os_str()))).then_some(folder)
}
