use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt as _};
use pool_core::compute::{ComputeError, Lanes};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::failure::Failure;
use super::file;
use super::records::{self, Change};
use crate::room::{HistoryStore, Kept, StoreError, StoredEvent};

#[cfg(test)]
mod tests;

/// Rooms' history in one SQLite file. Clones share it.
///
/// Whoever asks for something puts it in the queue, then waits for its answer or for its turn at the file, whichever is first.
/// Whoever gets the turn does all that is in the queue, for everybody, in one transaction. So there is no task that could end,
/// and nobody waits for somebody who has gone.
///
/// # Cancel safety
///
/// A future that is dropped while its work waits takes it along; one whose work has begun does not stop it.
#[derive(Clone, Debug)]
pub struct SqliteHistory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lanes: Lanes,
    path: PathBuf,
    /// What waits. As each call waits for its answer and takes its work along when it goes, there is no more than there are
    /// calls: one a room.
    queue: Mutex<Queue>,
    /// The file; `None` once it is closed. Whoever holds it has the turn.
    file: Arc<tokio::sync::Mutex<Option<Connection>>>,
}

#[derive(Default, Debug)]
struct Queue {
    next: u64,
    /// By number, so in the order of arrival.
    waiting: BTreeMap<u64, Asked>,
}

/// Something to do, and where to answer.
#[derive(Debug)]
enum Asked {
    Load { room: String, answer: oneshot::Sender<Result<Option<Kept>, StoreError>> },
    Change { room: String, change: Change, answer: oneshot::Sender<Result<(), StoreError>> },
}

impl SqliteHistory {
    /// Opens the file, or makes it where there is none; its folder must be there. The file is read once, to see that it is
    /// whole.
    ///
    /// # Errors
    ///
    /// The file is no database, or one of another program or of another version of this one; it is damaged, in use, or cannot
    /// be written.
    pub async fn open(lanes: Lanes, path: PathBuf) -> Result<Self, StoreError> {
        let opened = lanes.io({
            let path = path.clone();
            move || file::open(&path).map_err(|failure| failure.told("open the history", &path))
        });
        let connection = opened.await.map_err(|error| never_ran(&error, &path))??;
        let file = Arc::new(tokio::sync::Mutex::new(Some(connection)));
        Ok(Self { shared: Arc::new(Shared { lanes, path, queue: Mutex::default(), file }) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Does what waits, puts all of the log into the file, and closes it. What is asked for afterwards is refused. Nothing is
    /// lost where this is not called: the log is read when the file is opened again.
    ///
    /// # Errors
    ///
    /// The log could not be put into the file; it stays beside it, with all that it has.
    pub async fn close(&self) -> Result<(), StoreError> {
        let turn = Arc::clone(&self.shared.file).lock_owned().await;
        let shared = Arc::clone(&self.shared);
        let closing = self.shared.lanes.io(move || shared.close(turn));
        closing.await.map_err(|error| never_ran(&error, &self.shared.path))?
    }

    async fn change(self, room: String, change: Change) -> Result<(), StoreError> {
        self.ask(|answer| Asked::Change { room, change, answer }).await
    }

    async fn ask<T>(
        self,
        asked: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Asked,
    ) -> Result<T, StoreError> {
        let (answer, mut answered) = oneshot::channel();
        let _place = Place::take(&self.shared, asked(answer));
        let turn = tokio::select! {
            biased;
            answer = &mut answered => return answer.unwrap_or_else(|_| Err(lost(&self.shared.path))),
            turn = Arc::clone(&self.shared.file).lock_owned() => turn,
        };
        // Somebody else's turn may have ended with this answer.
        if let Ok(answer) = answered.try_recv() {
            return answer;
        }
        let shared = Arc::clone(&self.shared);
        let done = self.shared.lanes.io(move || shared.work(turn)).await;
        done.map_err(|error| never_ran(&error, &self.shared.path))?;
        answered.await.unwrap_or_else(|_| Err(lost(&self.shared.path)))
    }
}

impl HistoryStore for SqliteHistory {
    fn load(&self, room: &str) -> BoxFuture<'static, Result<Option<Kept>, StoreError>> {
        let (this, room) = (self.clone(), room.to_owned());
        async move { this.ask(|answer| Asked::Load { room, answer }).await }.boxed()
    }

    fn append(
        &self,
        room: &str,
        epoch: &str,
        events: Vec<StoredEvent>,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.clone().change(room.to_owned(), Change::Append { epoch: epoch.to_owned(), events }).boxed()
    }

    fn trim(&self, room: &str, before_seq: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.clone().change(room.to_owned(), Change::Trim { before_seq }).boxed()
    }

    fn save(&self, room: &str, state: Arc<str>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.clone().change(room.to_owned(), Change::Save { state }).boxed()
    }
}

/// A place in the queue; dropped, what has not begun is taken along.
struct Place<'a> {
    shared: &'a Shared,
    number: u64,
}

impl<'a> Place<'a> {
    fn take(shared: &'a Shared, asked: Asked) -> Self {
        let mut queue = shared.queue();
        let number = queue.next;
        queue.next += 1;
        queue.waiting.insert(number, asked);
        Self { shared, number }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let taken_along = self.shared.queue().waiting.remove(&self.number);
        drop(taken_along);
    }
}

/// A change, and what came of it.
struct Made {
    room: String,
    change: Change,
    answer: oneshot::Sender<Result<(), StoreError>>,
    outcome: Result<(), StoreError>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics under it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does all that waits, and answers. The turn ends when everybody has been answered.
    fn work(&self, mut turn: OwnedMutexGuard<Option<Connection>>) {
        let waiting = std::mem::take(&mut self.queue().waiting);
        let (mut changes, mut loads) = (Vec::new(), Vec::new());
        for asked in waiting.into_values() {
            match asked {
                Asked::Change { room, change, answer } => {
                    changes.push(Made { room, change, answer, outcome: Ok(()) });
                }
                Asked::Load { room, answer } => loads.push((room, answer)),
            }
        }
        let Some(connection) = turn.as_mut() else {
            for made in changes {
                answered(made.answer.send(Err(closed(&self.path))));
            }
            for (_, answer) in loads {
                answered(answer.send(Err(closed(&self.path))));
            }
            return;
        };
        self.commit(connection, &mut changes);
        for Made { answer, outcome, .. } in changes {
            answered(answer.send(outcome));
        }
        // After the commit, so that nobody is shown what is not kept.
        for (room, answer) in loads {
            let kept = records::load(connection, &room);
            answered(answer.send(kept.map_err(|failure| failure.told("read a room's history", &self.path))));
        }
    }

    /// All changes in one transaction; where that fails, each in one of its own, so that nobody fails for somebody else.
    fn commit(&self, connection: &mut Connection, changes: &mut [Made]) {
        if changes.is_empty() {
            return;
        }
        if let Err(failure) = self.transact(connection, changes) {
            if let [made] = changes {
                made.outcome = Err(failure.told(made.change.doing(), &self.path));
                return;
            }
            tracing::warn!(%failure, changes = changes.len(), "a commit of many changes failed: each is tried alone");
            for made in changes {
                self.commit(connection, std::slice::from_mut(made));
            }
        }
    }

    fn transact(&self, connection: &mut Connection, changes: &mut [Made]) -> Result<(), Failure> {
        // Dropped uncommitted, it is rolled back.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for Made { room, change, outcome, .. } in changes {
            *outcome = match change.make(&transaction, room) {
                Err(failure @ Failure::Refused(_)) => Err(failure.told(change.doing(), &self.path)),
                made => Ok(made?),
            };
        }
        Ok(transaction.commit()?)
    }

    fn close(&self, mut turn: OwnedMutexGuard<Option<Connection>>) -> Result<(), StoreError> {
        let Some(connection) = turn.take() else { return Ok(()) };
        let told = |failure: Failure| failure.told("close the history", &self.path);
        // Closing then takes the log away as well.
        let emptied = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
            .and_then(|()| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false));
        let closed = connection.close().map_err(|(_, error)| error);
        emptied.map(drop).and(closed).map_err(|error| told(error.into()))
    }
}

/// Whoever has gone needs no answer.
fn answered<T>(sent: Result<(), T>) {
    drop(sent);
}

fn closed(path: &Path) -> StoreError {
    StoreError::new(format!("the history in {} is closed: the server is shutting down", path.display()))
}

fn lost(path: &Path) -> StoreError {
    StoreError::new(format!(
        "the history in {} gave no answer: its work panicked; see the log",
        path.display()
    ))
}

fn never_ran(error: &ComputeError, path: &Path) -> StoreError {
    StoreError::new(format!("the history in {} could not be used: {error}", path.display()))
}
