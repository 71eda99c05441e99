//! Live context: folders are watched, and passages of their files can be cited in answers.
//!
//! [`Context::open`] gives a handle and the task that owns everything: which files there are, what they say, the vectors of
//! their passages. The task never takes the system's word for what has changed: a note that something has makes it look, and
//! where notes may be missing, it looks at everything. Files are read in the `io` lane, cut and searched in the `prepare` lane,
//! and their passages go to the [`Embedder`] a batch at a time, so that one that is busy slows the reading and nothing else.
//!
//! What is read: UTF-8 text up to a limit. What is not: what `.gitignore` and `.ignore` files in the folders name, names that
//! begin with a dot, links, and what is no file.

mod batch;
mod citations;
mod content;
mod dirty;
mod files;
mod index;
mod keeper;
mod ledger;
mod limits;
mod passages;
mod rules;
mod walk;
mod watch;

#[cfg(test)]
mod tests;

pub use citations::{Citations, Passage, Progress, ProgressState, Skipped};
pub use limits::ContextLimits;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use pool_core::compute::{ComputeError, Lanes};
use tokio::sync::watch as news;
use tokio_util::sync::CancellationToken;

use crate::model::{Embedder, FailureKind, ModelFailure};
use index::{Best, Snapshot};
use keeper::{Keeper, Parts, StartWatch, account};
use walk::Root;
use watch::{SystemWatch, Watch};

/// More passages than this nobody reads.
const MOST: usize = 1000;
/// A slice of the search goes through so many bytes of the index: some milliseconds.
const SLICE: usize = 32 << 20;

/// Folders that are watched. Clones share them; with the last, the watching ends.
#[derive(Clone, Debug)]
pub struct Context {
    embedder: Arc<dyn Embedder>,
    lanes: Lanes,
    progress: news::Receiver<Progress>,
    snapshot: news::Receiver<Arc<Snapshot>>,
    closing: CancellationToken,
}

/// Why folders cannot be watched.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A folder is not there, is no folder, or may not be read.
    #[error("{0}")]
    Folder(String),
    /// None was named.
    #[error("no folder is named to take context from: name at least one")]
    NoFolder,
    /// The lane for files did not answer.
    #[error("the folders for context cannot be looked at: {0}")]
    Lane(#[from] ComputeError),
}

impl Context {
    /// Begins to watch folders. The task, for the caller to spawn and join, does all the work; it ends when the context is
    /// closed or its last handle dropped.
    ///
    /// # Errors
    ///
    /// A folder cannot be read as it is now. One that goes later, or is made anew, is watched for.
    pub async fn open(
        folders: Vec<PathBuf>,
        embedder: Arc<dyn Embedder>,
        lanes: Lanes,
        limits: ContextLimits,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), ContextError> {
        let start: StartWatch =
            Arc::new(|teller| SystemWatch::start(teller).map(|watch| Box::new(watch) as Box<dyn Watch>));
        Self::open_with(folders, embedder, lanes, limits, start).await
    }

    async fn open_with(
        folders: Vec<PathBuf>,
        embedder: Arc<dyn Embedder>,
        lanes: Lanes,
        limits: ContextLimits,
        start_watch: StartWatch,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), ContextError> {
        let limits = limits.at_least_workable();
        let roots = lanes.io(move || roots(&folders)).await??;
        let (teller, changes) = watch::changes(limits.events);
        let (progress, progress_seen) = news::channel(Progress::default());
        let (snapshot, snapshot_seen) = news::channel(Arc::new(index::Index::default().snapshot(&roots)));
        let closing = CancellationToken::new();
        let context = Self {
            embedder: Arc::clone(&embedder),
            lanes: lanes.clone(),
            progress: progress_seen,
            snapshot: snapshot_seen,
            closing: closing.clone(),
        };
        let parts = Parts {
            roots,
            embedder,
            lanes,
            limits,
            start_watch,
            teller,
            changes,
            closing,
            progress,
            snapshot,
        };
        Ok((context, Keeper::new(parts).run()))
    }

    /// Ends the watching: the task ends soon, and nothing is found any more.
    pub fn close(&self) {
        self.closing.cancel();
    }
}

impl Citations for Context {
    fn find(&self, question: String, most: usize) -> BoxFuture<'static, Result<Vec<Passage>, ModelFailure>> {
        let Self { embedder, lanes, snapshot, .. } = self.clone();
        async move {
            if snapshot.has_changed().is_err() {
                let message = "the folders for context are watched no more: the server is shutting down".to_owned();
                return Err(ModelFailure { kind: FailureKind::ShuttingDown, message });
            }
            let now = Arc::clone(&snapshot.borrow());
            let most = most.min(MOST);
            let Some(dimensions) = now.dimensions().filter(|_| most > 0 && !question.trim().is_empty()) else {
                return Ok(Vec::new());
            };
            let query = embedder.embed(vec![question]).await?.pop().unwrap_or_default();
            if query.len() != dimensions || query.iter().any(|number| !number.is_finite()) {
                return Err(failure(format!(
                    "the embedding model gave a vector of {} numbers for a question, not {dimensions} that are numbers",
                    query.len()
                )));
            }
            // What has been read since the question was asked can be found, too.
            let now = Arc::clone(&snapshot.borrow());
            search(&lanes, now, query, most).await.map_err(|error| failure(format!("the search failed: {error}")))
        }
        .boxed()
    }

    fn updates(&self) -> news::Receiver<Progress> {
        self.progress.clone()
    }
}

async fn search(
    lanes: &Lanes,
    snapshot: Arc<Snapshot>,
    query: Vec<f32>,
    most: usize,
) -> Result<Vec<Passage>, ComputeError> {
    let claim = account();
    let query: Arc<[f32]> = query.into();
    let mut best = Best::new(most);
    let mut from = 0;
    while from < snapshot.contents() {
        let slice = snapshot.slice(from, SLICE);
        from = slice.end;
        let (looking, query) = (Arc::clone(&snapshot), Arc::clone(&query));
        best = lanes
            .prepare(&claim, move || {
                looking.search(slice, &query, &mut best);
                best
            })
            .await?;
    }
    Ok(snapshot.passages(best))
}

const fn failure(message: String) -> ModelFailure {
    ModelFailure { kind: FailureKind::Failed, message }
}

/// The folders by their real paths, each once.
fn roots(folders: &[PathBuf]) -> Result<Arc<[Root]>, ContextError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let path = fs::canonicalize(folder)
            .map_err(|error| walk::why_not(folder, &error))
            .and_then(|path| walk::look_at_root(&path).map(|_| path))
            .map_err(ContextError::Folder)?;
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ContextError::NoFolder);
    }
    let names: Vec<String> = paths.iter().map(|path| name(path)).collect();
    let unique = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let named = paths.iter().zip(&names).map(|(path, name)| {
        // Two folders of one name are told apart by where they are.
        let name = if unique(name) { name.clone() } else { path.to_string_lossy().into_owned() };
        Root { path: path.clone(), name }
    });
    Ok(named.collect())
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
