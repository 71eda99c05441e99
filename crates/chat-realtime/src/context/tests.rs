//! The task with real folders and the system's watcher, and a scripted model.

mod embedder;
mod failures;
mod folders;
mod watching;

use std::fs;
use std::path::Path;
use std::time::Duration;

use pool_core::compute::{BlockingCompute, LanesConfig};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use embedder::Words;

/// Longer than anything here takes on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

fn limits() -> ContextLimits {
    ContextLimits {
        debounce: Duration::from_millis(30),
        poll: Duration::from_millis(200),
        ..ContextLimits::default()
    }
}

/// Folders that are watched, with the task.
struct Watched {
    context: Context,
    words: Arc<Words>,
    task: JoinHandle<()>,
}

impl Watched {
    async fn over(folders: &[&Path], limits: ContextLimits) -> Self {
        Self::with(folders, limits, Arc::new(Words::default())).await
    }

    async fn with(folders: &[&Path], limits: ContextLimits, words: Arc<Words>) -> Self {
        let folders = folders.iter().map(|folder| folder.to_path_buf()).collect();
        let (context, task) = Context::open(folders, words.clone(), lanes(), limits).await.unwrap();
        Self { context, words, task: tokio::spawn(task) }
    }

    async fn with_watch(folders: &[&Path], limits: ContextLimits, start: StartWatch) -> Self {
        let words = Arc::new(Words::default());
        let folders = folders.iter().map(|folder| folder.to_path_buf()).collect();
        let (context, task) =
            Context::open_with(folders, words.clone(), lanes(), limits, start).await.unwrap();
        Self { context, words, task: tokio::spawn(task) }
    }

    /// Waits until it says something.
    async fn until(&self, what: &str, is: impl Fn(&Progress) -> bool) -> Progress {
        let mut updates = self.context.updates();
        let said = timeout(PATIENCE, updates.wait_for(|progress| is(progress))).await;
        match said {
            Ok(said) => said.unwrap().clone(),
            Err(_) => panic!("waited for {what}; it says {:?}", *self.context.updates().borrow()),
        }
    }

    async fn current(&self) -> Progress {
        self.until("everything to be read", |progress| progress.state == ProgressState::Current).await
    }

    /// Waits until a question finds exactly these files, in any order.
    async fn finds(&self, question: &str, files: &[&str]) {
        let mut files: Vec<&str> = files.to_vec();
        files.sort_unstable();
        let found = async {
            let mut updates = self.context.updates();
            loop {
                updates.mark_unchanged();
                let mut found = self.found(question).await;
                found.sort_unstable();
                if found == files {
                    return;
                }
                // Whatever changes is told.
                let _ = timeout(Duration::from_secs(1), updates.changed()).await;
            }
        };
        if timeout(PATIENCE, found).await.is_err() {
            let said = self.context.updates().borrow().clone();
            panic!(
                "{question:?} should find {files:?}, finds {:?}; it says {said:?}",
                self.found(question).await
            );
        }
    }

    /// Files that have the question's word in them.
    async fn found(&self, question: &str) -> Vec<String> {
        let passages = self.context.find(question.to_owned(), 50).await.unwrap();
        let with = passages.into_iter().filter(|passage| passage.text.contains(question));
        with.map(|passage| passage.path.split_once('/').unwrap().1.to_owned()).collect()
    }

    /// Ends it, which must not take long.
    async fn end(self) {
        self.context.close();
        timeout(PATIENCE, self.task).await.expect("the task ends when it is told").unwrap();
        let gone = self.context.find("anything".to_owned(), 1).await.unwrap_err();
        assert_eq!(gone.kind, FailureKind::ShuttingDown);
    }
}

fn lanes() -> Lanes {
    Lanes::new(LanesConfig::default(), Arc::new(BlockingCompute::try_current().unwrap()))
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
