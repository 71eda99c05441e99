//! What changes in folders that are watched.

use super::*;

async fn one_file() -> (tempfile::TempDir, Watched) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.txt", "apple");
    let watched = Watched::over(&[folder.path()], limits()).await;
    watched.finds("apple", &["a.txt"]).await;
    watched.current().await;
    (folder, watched)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_come_change_and_go_are_seen() {
    let (folder, watched) = one_file().await;
    let path = folder.path();
    write(path, "b.txt", "banana");
    watched.finds("banana", &["b.txt"]).await;
    write(path, "a.txt", "apricot");
    watched.finds("apricot", &["a.txt"]).await;
    watched.finds("apple", &[]).await;
    write(path, "deep/er/c.txt", "cherry");
    watched.finds("cherry", &["deep/er/c.txt"]).await;
    write(path, "deep/er/d.txt", "date");
    watched.finds("date", &["deep/er/d.txt"]).await;
    fs::remove_file(path.join("b.txt")).unwrap();
    watched.finds("banana", &[]).await;
    fs::remove_dir_all(path.join("deep")).unwrap();
    watched.finds("cherry", &[]).await;
    let progress = watched.until("one file", |progress| progress.files == 1).await;
    assert_eq!((progress.files_done, progress.chunks), (1, 1));
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_or_folder_that_is_renamed_keeps_its_vectors() {
    let (folder, watched) = one_file().await;
    let path = folder.path();
    write(path, "old/b.txt", "banana");
    watched.finds("banana", &["old/b.txt"]).await;
    let refuse_all = Some(("", FailureKind::Invalid));
    let texts = watched.words.texts();
    fs::rename(path.join("a.txt"), path.join("z.txt")).unwrap();
    fs::rename(path.join("old"), path.join("new")).unwrap();
    let renamed = |progress: &Progress| progress.files_done == 2 && progress.state == ProgressState::Current;
    *watched.words.refuses.lock().unwrap() = refuse_all;
    tokio::time::sleep(limits().debounce * 2).await;
    watched.until("both to be settled", renamed).await;
    *watched.words.refuses.lock().unwrap() = None;
    watched.finds("apple", &["z.txt"]).await;
    watched.finds("banana", &["new/b.txt"]).await;
    let progress = watched.current().await;
    assert_eq!(progress.skipped.total(), 0, "no vector was asked for: it would have been refused");
    assert!(watched.words.texts() > texts, "the questions were");
    // What is in the folder under its new name is watched.
    write(path, "new/b.txt", "blackberry");
    watched.finds("blackberry", &["new/b.txt"]).await;
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_asks_for_vectors_of_the_passages_that_differ() {
    let (folder, watched) = one_file().await;
    let part = |number: usize| format!("# Part {number}\n\n{}\n\n", format!("word{number} ").repeat(100));
    let whole: String = (0..10).map(part).collect();
    write(folder.path(), "long.md", &whole);
    watched.finds("word9", &["long.md"]).await;
    let (before, chunks) = (watched.words.texts(), watched.current().await.chunks);
    write(folder.path(), "long.md", &format!("{whole}{}", part(10)));
    let more = |progress: &Progress| progress.chunks > chunks && progress.state == ProgressState::Current;
    watched.until("the new part", more).await;
    assert!(watched.words.texts() - before <= 2, "{} of {chunks}", watched.words.texts() - before);
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_replaced_as_editors_do_is_read_again() {
    let (folder, watched) = one_file().await;
    let path = folder.path();
    for word in ["banana", "cherry"] {
        write(path, ".a.txt.swp", word);
        fs::rename(path.join(".a.txt.swp"), path.join("a.txt")).unwrap();
        watched.finds(word, &["a.txt"]).await;
    }
    // The other way: the old one is moved away first.
    fs::rename(path.join("a.txt"), path.join("a.txt~")).unwrap();
    write(path, "a.txt", "date");
    fs::remove_file(path.join("a.txt~")).unwrap();
    watched.finds("date", &["a.txt"]).await;
    watched.finds("cherry", &[]).await;
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ignore_file_counts_from_when_it_changes() {
    let (folder, watched) = one_file().await;
    let path = folder.path();
    write(path, "sub/b.txt", "apple and banana");
    watched.finds("apple", &["a.txt", "sub/b.txt"]).await;
    write(path, ".gitignore", "sub/\n");
    watched.finds("apple", &["a.txt"]).await;
    write(path, ".gitignore", "a.txt\n");
    watched.finds("apple", &["sub/b.txt"]).await;
    fs::remove_file(path.join(".gitignore")).unwrap();
    watched.finds("apple", &["a.txt", "sub/b.txt"]).await;
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_goes_and_comes_again_is_watched_again() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("folder");
    write(&path, "a.txt", "apple");
    let watched = Watched::over(&[&path], limits()).await;
    watched.finds("apple", &["a.txt"]).await;
    fs::remove_dir_all(&path).unwrap();
    let failed = |progress: &Progress| matches!(progress.state, ProgressState::Failed { .. });
    let progress = watched.until("it to be missed", failed).await;
    let shown = fs::canonicalize(outer.path()).unwrap().join("folder");
    let message = format!("there is no folder {}: make it, or name another", shown.display()).into();
    assert_eq!((progress.files, progress.state), (0, ProgressState::Failed { message }));
    write(&path, "sub/b.txt", "banana");
    watched.finds("banana", &["sub/b.txt"]).await;
    watched.current().await;
    write(&path, "sub/c.txt", "cherry");
    watched.finds("cherry", &["sub/c.txt"]).await;
    // Another takes its place at once.
    write(&outer.path().join("other"), "d.txt", "date");
    fs::rename(&path, outer.path().join("away")).unwrap();
    fs::rename(outer.path().join("other"), &path).unwrap();
    watched.finds("date", &["d.txt"]).await;
    watched.finds("banana", &[]).await;
    write(&path, "e.txt", "elder");
    watched.finds("elder", &["e.txt"]).await;
    watched.end().await;
}

#[tokio::test]
async fn more_changes_than_can_wait_make_everything_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.txt", "apple");
    // What the system tells is lost but for the first; and nothing is looked at without being told.
    let few = ContextLimits { events: 1, ..limits() };
    let watched = Watched::over(&[folder.path()], few).await;
    watched.finds("apple", &["a.txt"]).await;
    watched.current().await;
    // The only thread is busy here, so the task takes none of them.
    for number in 0..300 {
        write(folder.path(), &format!("{}/{number}.txt", number % 7), &format!("number{number}"));
    }
    watched.until("all of them", |progress| progress.files_done == 301 && progress.chunks == 301).await;
    watched.finds("number299", &["5/299.txt"]).await;
    watched.end().await;
}
