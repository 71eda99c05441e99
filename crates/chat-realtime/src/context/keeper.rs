//! The task that owns all: it looks at what has changed, reads, has vectors made, and says how far it is.

mod looking;
mod reading;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use pool_core::ModelId;
use pool_core::compute::{Claim, ComputeError, Lanes};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ContextLimits;
use super::batch::Batch;
use super::citations::Progress;
use super::dirty::Dirty;
use super::files;
use super::index::Snapshot;
use super::ledger::Ledger;
use super::walk::{Key, Root};
use super::watch::{Change, Changes, Teller, Watch};
use crate::model::Embedder;

/// A model that fails is tried again after so long, then twice as long, up to the longest.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// How the system's watcher is started.
pub(super) type StartWatch = Arc<dyn Fn(Teller) -> Result<Box<dyn Watch>, String> + Send + Sync>;

/// What the task is made of.
pub(super) struct Parts {
    pub(super) roots: Arc<[Root]>,
    pub(super) embedder: Arc<dyn Embedder>,
    pub(super) lanes: Lanes,
    pub(super) limits: ContextLimits,
    pub(super) start_watch: StartWatch,
    pub(super) teller: Teller,
    pub(super) changes: Changes,
    pub(super) closing: CancellationToken,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) snapshot: watch::Sender<Arc<Snapshot>>,
}

pub(super) struct Keeper {
    parts: Parts,
    claim: Claim,
    ledger: Ledger,
    dirty: Dirty,
    watch: Option<Box<dyn Watch>>,
    /// Why not all folders are watched.
    unwatched: Option<String>,
    /// What was there under each folder's name, or why there was nothing.
    standing: Vec<Result<Option<files::Stamp>, String>>,
    scan: u64,
    /// The very first walk is on.
    looking: bool,
    batch: Option<Batch>,
    dimensions: Option<usize>,
    trouble: Option<Trouble>,
    walk_again: Instant,
    walk_all: Instant,
    look_for_roots: Instant,
    news: News,
}

/// Something does not work.
struct Trouble {
    of: Of,
    /// So many times.
    times: u32,
    /// What to say of it; nothing where it is only busy.
    message: Option<Arc<str>>,
    until: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Model,
    Lanes,
}

#[derive(Default)]
struct News {
    some: bool,
    found: bool,
    told: Option<Instant>,
}

/// The task is to end.
struct Closing;

impl Keeper {
    pub(super) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        let limits = parts.limits;
        Self {
            claim: account(),
            ledger: Ledger::new(limits),
            dirty: Dirty::new(limits.debounce),
            watch: None,
            unwatched: None,
            standing: parts.roots.iter().map(|_| Ok(None)).collect(),
            scan: 0,
            looking: false,
            batch: None,
            dimensions: None,
            trouble: None,
            walk_again: now,
            walk_all: now,
            look_for_roots: now,
            news: News::default(),
            parts,
        }
    }

    /// Until it is told to end, or nobody is left to be told anything.
    pub(super) async fn run(mut self) {
        while let Ok(()) = self.turn().await {}
    }

    async fn turn(&mut self) -> Result<(), Closing> {
        let now = Instant::now();
        self.note_what_is_due(now);
        if self.dirty.due().is_some_and(|due| due.max(self.walk_again) <= now) || self.scan == 0 {
            self.walk().await?;
        } else if self.trouble.as_ref().is_none_or(|trouble| trouble.until <= now) && self.has_work() {
            match self.batch.take() {
                Some(batch) => self.embed(batch).await?,
                None => self.read().await?,
            }
        } else {
            self.tell(now);
            let until = self.next(now);
            self.rest(until).await?;
        }
        self.tell(Instant::now());
        Ok(())
    }

    fn has_work(&mut self) -> bool {
        self.batch.is_some() || self.ledger.is_waiting()
    }

    /// What is looked at though nobody has told of a change.
    fn note_what_is_due(&mut self, now: Instant) {
        if self.walk_all <= now {
            self.walk_all = now + self.parts.limits.rescan;
            self.dirty.everything(now);
        }
        if self.look_for_roots <= now {
            self.look_for_roots = now + self.parts.limits.poll;
            for (root, standing) in self.standing.iter().enumerate() {
                if standing.is_err() {
                    self.dirty.note(Key { root, path: Default::default() }, now);
                }
            }
        }
        if self.ledger.index.forget(now) {
            self.news.some = true;
        }
    }

    /// When there is something to do, if nothing changes.
    fn next(&mut self, now: Instant) -> Instant {
        let mut next = self.walk_all;
        let working = self.has_work();
        let trouble = self.trouble.as_ref().map(|trouble| trouble.until).filter(|_| working);
        let dirty = self.dirty.due().map(|due| due.max(self.walk_again));
        let roots = self.standing.iter().any(Result::is_err).then_some(self.look_for_roots);
        let news = self.news.told.filter(|_| self.news.some).map(|told| told + telling::NEWS);
        for at in [trouble, dirty, roots, news, self.ledger.index.next_forgotten()].into_iter().flatten() {
            next = next.min(at);
        }
        next.max(now)
    }

    /// Waits for something, and notes what changes meanwhile.
    async fn noting<F: Future>(&mut self, work: F) -> Result<F::Output, Closing> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.parts.closing.cancelled() => return Err(Closing),
                () = self.parts.snapshot.closed() => return Err(Closing),
                output = &mut work => return Ok(output),
                change = self.parts.changes.next() => self.note(change),
            }
        }
    }

    /// Waits until something changes, at most so long.
    async fn rest(&mut self, until: Instant) -> Result<(), Closing> {
        tokio::select! {
            biased;
            () = self.parts.closing.cancelled() => return Err(Closing),
            () = self.parts.snapshot.closed() => return Err(Closing),
            change = self.parts.changes.next() => self.note(change),
            () = tokio::time::sleep_until(until) => {}
        }
        Ok(())
    }

    fn note(&mut self, change: Change) {
        match change {
            Change::At(path) => self.dirty.at(&path, &self.parts.roots, Instant::now()),
            Change::Somewhere => self.dirty.everything(Instant::now()),
        }
    }

    /// Waits for a lane. What panicked there is told and tried again; a runtime that goes ends the task.
    async fn lane<T>(
        &mut self,
        work: impl Future<Output = Result<T, ComputeError>>,
    ) -> Result<Option<T>, Closing> {
        match self.noting(work).await? {
            Ok(value) => {
                self.trouble.take_if(|trouble| trouble.of == Of::Lanes);
                Ok(Some(value))
            }
            Err(ComputeError::Gone) => Err(Closing),
            Err(error) => {
                self.failed(Of::Lanes, format!("the folders' files are not read: {error}"));
                Ok(None)
            }
        }
    }

    /// Something does not work: it is told of, and tried again later.
    fn failed(&mut self, of: Of, message: String) {
        let times = self.trouble.as_ref().map_or(0, |trouble| trouble.times) + 1;
        if times == 1 {
            tracing::warn!(message, "the folders' index waits");
        }
        let wait = SHORTEST.saturating_mul(1 << (times - 1).min(10)).min(LONGEST);
        self.trouble =
            Some(Trouble { of, times, message: Some(message.into()), until: Instant::now() + wait });
        self.news.some = true;
    }
}

/// On whose account the lanes are used here.
pub(super) fn account() -> Claim {
    Claim::new(ModelId::new("context"))
}
