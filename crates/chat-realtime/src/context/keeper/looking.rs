//! Looking at what has changed.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::walk::{Found, Slice, Walk};
use super::{Closing, Keeper};

/// Entries that a slice of a walk looks at: some milliseconds.
const SLICE: usize = 256;
/// Walking takes at most this part of the time, however much changes.
const SHARE: u32 = 4;

impl Keeper {
    /// Looks at what has changed.
    pub(super) async fn walk(&mut self) -> Result<(), Closing> {
        let began = Instant::now();
        if self.ledger.overflows() {
            self.dirty.everything(began);
        }
        let starts = self.dirty.take(self.parts.roots.len());
        self.ledger.begin(starts.everything);
        if starts.everything {
            self.unwatched = None;
        }
        let first = self.scan == 0;
        if first {
            self.scan = 1;
            self.looking = true;
        }
        let mut walk = Walk::new(Arc::clone(&self.parts.roots), starts.keys.clone());
        loop {
            let Some((going, slice)) = self.slice(walk).await? else {
                // Whatever the walk had not come by is not known to be gone.
                self.watch = None;
                self.dirty.everything(Instant::now());
                break;
            };
            walk = going;
            let now = Instant::now();
            for found in slice.found {
                self.note_root(&found, now);
                self.ledger.found(found, now);
            }
            if slice.unwatched.is_some() {
                self.unwatched = slice.unwatched;
            }
            if slice.done {
                let gone = self.ledger.end(&starts.keys, now);
                if gone > 0 && self.ledger.overflows() {
                    self.dirty.everything(now);
                }
                break;
            }
            if first {
                self.news.some = true;
                self.tell(now);
            }
        }
        self.scan += u64::from(!first);
        self.looking = false;
        let now = Instant::now();
        self.walk_again = now + (now - began) * SHARE;
        let limits = self.parts.limits;
        if starts.everything {
            self.walk_all = now
                + if self.unwatched.is_some() { limits.poll.max((now - began) * 10) } else { limits.rescan };
        } else if self.unwatched.is_some() {
            self.walk_all = self.walk_all.min(now + limits.poll);
        }
        self.news.some = true;
        self.news.found = true;
        Ok(())
    }

    async fn slice(&mut self, mut walk: Walk) -> Result<Option<(Walk, Slice)>, Closing> {
        let mut watch = self.watch.take();
        let (start, teller) = (Arc::clone(&self.parts.start_watch), self.parts.teller.clone());
        let work = self.parts.lanes.io(move || {
            let mut unwatched = None;
            if watch.is_none() {
                match start(teller) {
                    Ok(started) => watch = Some(started),
                    Err(why) => unwatched = Some(why),
                }
            }
            let mut slice = walk.slice(SLICE, watch.as_deref_mut());
            slice.unwatched = slice.unwatched.or(unwatched);
            (walk, watch, slice)
        });
        let Some((walk, watch, slice)) = self.lane(work).await? else { return Ok(None) };
        self.watch = watch;
        Ok(Some((walk, slice)))
    }

    /// A folder that is another than before has left its watches behind.
    fn note_root(&mut self, found: &Found, now: Instant) {
        match found {
            Found::Root { root, stamp } => {
                let before = std::mem::replace(&mut self.standing[*root], Ok(Some(*stamp)));
                if matches!(before, Ok(Some(before)) if !before.is_same_place(stamp)) {
                    self.watch = None;
                    self.dirty.everything(now);
                }
            }
            Found::NoRoot { root, why } => {
                if self.standing[*root].is_ok() {
                    tracing::warn!(why, "a folder is not watched for now");
                    self.look_for_roots = now + self.parts.limits.poll;
                }
                self.standing[*root] = Err(why.clone());
            }
            Found::File { .. } | Found::Unreadable { .. } => {}
        }
    }
}
