//! A model that is busy or fails, and a system that does not watch.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::watch::Watched as Answer;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_model_is_asked_again_and_a_failing_one_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.txt", "apple");
    let words = Arc::new(Words::default());
    let busy = FailureKind::Overloaded { retry_after: Duration::from_millis(20) };
    words.failures.lock().unwrap().extend([busy, busy, FailureKind::Failed]);
    let watched = Watched::with(&[folder.path()], limits(), words).await;
    let message = Arc::from("as the script says");
    let failed = ProgressState::Failed { message };
    watched.until("the failure to be told", |progress| progress.state == failed).await;
    let progress = watched.current().await;
    assert_eq!((progress.files_done, progress.chunks), (1, 1));
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_the_model_refuses_costs_its_file_and_no_other() {
    for kind in [FailureKind::Invalid, FailureKind::Failed] {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..10 {
            write(folder.path(), &format!("{number}.txt"), &format!("number{number}"));
        }
        let words = Arc::new(Words::default());
        *words.refuses.lock().unwrap() = Some(("number7", kind));
        let watched = Watched::with(&[folder.path()], limits(), words).await;
        let progress = watched.current().await;
        let expected = Skipped { refused: 1, ..Skipped::default() };
        assert_eq!((progress.files_done, progress.chunks, progress.skipped), (10, 9, expected), "{kind:?}");
        watched.end().await;
    }
}

/// A system whose watches are all taken, until some are free.
struct Taken {
    free: Arc<AtomicBool>,
}

impl Watch for Taken {
    fn watch(&mut self, _folder: &Path) -> Answer {
        if self.free.load(Ordering::SeqCst) { Answer::Yes } else { Answer::No("all are taken".to_owned()) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_that_cannot_be_watched_are_looked_through_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.txt", "apple");
    let free = Arc::new(AtomicBool::new(false));
    let taken = Arc::clone(&free);
    let start: StartWatch = Arc::new(move |_| Ok(Box::new(Taken { free: Arc::clone(&taken) })));
    let watched = Watched::with_watch(&[folder.path()], limits(), start).await;
    let progress = watched.current().await;
    let warning = "not all folders are watched, so they are looked through every 200ms: all are taken";
    assert_eq!(progress.warning.as_deref(), Some(warning));
    write(folder.path(), "b.txt", "banana");
    watched.finds("banana", &["b.txt"]).await;
    write(folder.path(), "b.txt", "blackberry");
    watched.finds("blackberry", &["b.txt"]).await;
    free.store(true, Ordering::SeqCst);
    watched.until("the warning to end", |progress| progress.warning.is_none()).await;
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_without_a_watcher_is_looked_through_too() {
    let folder = tempfile::tempdir().unwrap();
    let start: StartWatch = Arc::new(|_| Err("no more watchers".to_owned()));
    let watched = Watched::with_watch(&[folder.path()], limits(), start).await;
    let progress = watched.current().await;
    assert!(progress.warning.is_some_and(|warning| warning.ends_with(": no more watchers")));
    write(folder.path(), "b.txt", "banana");
    watched.finds("banana", &["b.txt"]).await;
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_ends_with_the_last_handle() {
    let folder = tempfile::tempdir().unwrap();
    let watched = Watched::over(&[folder.path()], limits()).await;
    watched.current().await;
    let Watched { context, task, .. } = watched;
    let other = context.clone();
    drop(context);
    tokio::task::yield_now().await;
    assert!(!task.is_finished());
    drop(other);
    timeout(PATIENCE, task).await.expect("nobody is left").unwrap();
}
