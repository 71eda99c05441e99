//! The system's notes of changes, from the watcher's own thread to the task: it never waits, and what it cannot hand over is
//! not lost but makes everything be looked at again.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};

#[cfg(test)]
mod tests;

/// Where each folder is watched by itself, only those are that are read, and each before it is: nothing that changes in
/// between is missed. Elsewhere the system watches whole trees.
const EACH_FOLDER: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// What the system can be asked to watch.
pub(super) trait Watch: Send {
    /// Watches a folder from now on.
    fn watch(&mut self, folder: &Path) -> Watched;
}

/// What became of asking for a folder to be watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Watched {
    /// It is.
    Yes,
    /// It is not there.
    Gone,
    /// It is not, for a reason that fits in one line.
    No(String),
}

/// What the task is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Something is different at this path.
    At(PathBuf),
    /// Something is different, nobody knows where.
    Somewhere,
}

/// The task's end.
#[derive(Debug)]
pub(super) struct Changes {
    paths: mpsc::Receiver<PathBuf>,
    missed: Arc<Missed>,
}

/// The end of the watcher's thread.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    paths: mpsc::Sender<PathBuf>,
    missed: Arc<Missed>,
}

#[derive(Default, Debug)]
struct Missed {
    some: AtomicBool,
    told: Notify,
}

/// Both ends, with room for so many changes.
pub(super) fn changes(room: usize) -> (Teller, Changes) {
    let missed = Arc::new(Missed::default());
    let (sender, paths) = mpsc::channel(room);
    (Teller { paths: sender, missed: Arc::clone(&missed) }, Changes { paths, missed })
}

impl Teller {
    /// Tells of a change, at once, in any thread.
    pub(super) fn tell(&self, change: Change) {
        if let Change::At(path) = change
            && self.paths.try_send(path).is_ok()
        {
            return;
        }
        self.missed.some.store(true, Ordering::Release);
        self.missed.told.notify_one();
    }

    fn event(&self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.tell(Change::Somewhere),
            // That somebody reads is no change; this task does so itself.
            Ok(event) if is_only_looked_at(event.kind) => {}
            Ok(event) => event.paths.into_iter().for_each(|path| self.tell(Change::At(path))),
            Err(error) => {
                tracing::warn!(%error, "the system's notes of changes have a gap: all folders are looked at again");
                self.tell(Change::Somewhere);
            }
        }
    }
}

fn is_only_looked_at(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

impl Changes {
    /// The next change.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub(super) async fn next(&mut self) -> Change {
        loop {
            if self.missed.some.swap(false, Ordering::AcqRel) {
                return Change::Somewhere;
            }
            tokio::select! {
                biased;
                () = self.missed.told.notified() => {}
                Some(path) = self.paths.recv() => return Change::At(path),
            }
        }
    }
}

/// The system's watcher. Its thread calls [`Teller`] and nothing else.
pub(super) struct SystemWatch {
    /// `None` once its thread is known to be dead.
    watcher: Option<RecommendedWatcher>,
}

impl SystemWatch {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// One line: the system has no more of what it takes.
    pub(super) fn start(teller: Teller) -> Result<Self, String> {
        let config = notify::Config::default().with_follow_symlinks(false);
        match RecommendedWatcher::new(move |event| teller.event(event), config) {
            Ok(watcher) => Ok(Self { watcher: Some(watcher) }),
            Err(error) => Err(reason(&error)),
        }
    }

    /// `notify` panics where its thread has died, and again where it is then dropped.
    fn ask<T>(&mut self, what: impl FnOnce(&mut RecommendedWatcher) -> T) -> Option<T> {
        let watcher = self.watcher.as_mut()?;
        let answer = catch_unwind(AssertUnwindSafe(|| what(watcher))).ok();
        if answer.is_none() {
            std::mem::forget(self.watcher.take());
        }
        answer
    }
}

impl Watch for SystemWatch {
    fn watch(&mut self, folder: &Path) -> Watched {
        let mode = if EACH_FOLDER { RecursiveMode::NonRecursive } else { RecursiveMode::Recursive };
        match self.ask(|watcher| watcher.watch(folder, mode)) {
            Some(Ok(())) => Watched::Yes,
            Some(Err(error)) if is_gone(&error) => Watched::Gone,
            Some(Err(error)) => Watched::No(reason(&error)),
            None => Watched::No("the watcher's thread has ended".to_owned()),
        }
    }
}

impl Drop for SystemWatch {
    fn drop(&mut self) {
        let watcher = self.watcher.take();
        if catch_unwind(AssertUnwindSafe(|| drop(watcher))).is_err() {
            tracing::warn!("the watcher's thread had ended before it was told to");
        }
    }
}

impl fmt::Debug for SystemWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemWatch").finish_non_exhaustive()
    }
}

/// Whether the folders below one that is watched must be watched, too.
pub(super) const fn each_folder() -> bool {
    EACH_FOLDER
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        }
        _ => false,
    }
}

fn reason(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "the system watches no more folders for this user: raise fs.inotify.max_user_watches".to_owned()
        }
        ErrorKind::Io(error) if error.raw_os_error() == Some(24) => {
            "the system has no more watchers for this user: raise fs.inotify.max_user_instances".to_owned()
        }
        ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    }
}
