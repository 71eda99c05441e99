//! What is read, what is not, and what is said of it.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passages_are_cited_with_folder_file_and_lines() {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    write(&notes, "sub/birds.md", "# Birds\n\nThe heron waits.\n\n# Fish\n\nThe pike does too.\n");
    write(&notes, "stones.txt", "granite and basalt\n");
    let watched = Watched::over(&[&notes], limits()).await;
    let progress = watched.current().await;
    assert_eq!(
        (progress.files, progress.files_done, progress.chunks, progress.skipped.total()),
        (2, 2, 2, 0)
    );
    let passages = watched.context.find("heron".to_owned(), 1).await.unwrap();
    assert_eq!(passages.len(), 1);
    assert_eq!((passages[0].path.as_str(), passages[0].lines), ("notes/sub/birds.md", (1, 7)));
    assert!(passages[0].text.starts_with("# Birds\n\nThe heron") && passages[0].score > 0.2, "{passages:?}");
    assert!(watched.context.find("heron".to_owned(), 0).await.unwrap().is_empty());
    assert!(watched.context.find("  ".to_owned(), 5).await.unwrap().is_empty());
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignored_hidden_binary_large_and_linked_files_are_left_out() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path();
    write(outside.path(), "secret.txt", "zebra outside");
    write(path, ".gitignore", "/target/\n*.log\n!keep.log\n");
    for file in
        ["a.txt", "target/b.txt", "c.log", "keep.log", ".hidden", ".git/config", "sub/d.txt", "sub/no.txt"]
    {
        write(path, file, "zebra");
    }
    write(path, "sub/.ignore", "no.txt\n");
    write(path, "sub/target/e.txt", "zebra too");
    write(path, "large.txt", &"zebra ".repeat(200));
    fs::write(path.join("nul.bin"), b"zebra\0").unwrap();
    fs::write(path.join("latin.txt"), b"zebra \xe9").unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outside.path(), path.join("way-out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret.txt"), path.join("link.txt")).unwrap();
        std::os::unix::fs::symlink(path, path.join("sub/round")).unwrap();
    }
    let watched = Watched::over(&[path], ContextLimits { file_bytes: 1000, ..limits() }).await;
    let progress = watched.current().await;
    assert_eq!(watched.words.texts(), 2, "what three files say gets its vector once");
    // And is cited once.
    watched.finds("zebra", &["a.txt", "sub/target/e.txt"]).await;
    let expected = Skipped { too_large: 1, binary: 2, ..Skipped::default() };
    assert_eq!((progress.files, progress.files_done, progress.skipped), (7, 7, expected));
    assert_eq!(
        watched.words.texts() - 1,
        2,
        "what three files say gets its vector once, and then a question"
    );
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_that_cannot_be_read_are_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "file.txt", "no folder");
    let open = async |path: Option<PathBuf>| {
        let folders = path.into_iter().collect();
        let opened = Context::open(folders, Arc::new(Words::default()), lanes(), limits()).await;
        opened.map(|_| ()).unwrap_err().to_string()
    };
    let (missing, file) = (folder.path().join("missing"), folder.path().join("file.txt"));
    assert_eq!(open(None).await, "no folder is named to take context from: name at least one");
    let expected = format!("there is no folder {}: make it, or name another", missing.display());
    assert_eq!(open(Some(missing)).await, expected);
    let expected =
        format!("{} is not a folder: name the folder it is in", fs::canonicalize(&file).unwrap().display());
    assert_eq!(open(Some(file)).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_files_are_held_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..10_000 {
        write(
            folder.path(),
            &format!("{:02}/{number}.txt", number % 100),
            &format!("number{number} of many\n"),
        );
    }
    let watched = Watched::over(&[folder.path()], limits()).await;
    timeout(PATIENCE, only_rises(watched.context.updates())).await.expect("it comes to an end");
    let progress = watched.current().await;
    assert_eq!((progress.files, progress.files_done, progress.chunks), (10_000, 10_000, 10_000));
    assert_eq!(watched.words.texts(), 10_000);
    assert_eq!(watched.words.longest.load(std::sync::atomic::Ordering::SeqCst), 32);
    // 64 numbers and some 20 bytes of text a file, and what it takes to know of it.
    assert!((3_000_000..8_000_000).contains(&progress.bytes), "{progress:?}");
    watched.finds("number4711", &["11/4711.txt"]).await;
    fs::remove_dir_all(folder.path().join("11")).unwrap();
    watched.finds("number4711", &[]).await;
    let progress = watched.current().await;
    assert_eq!((progress.files, progress.chunks), (9_900, 9_900));
    assert!(watched.words.texts() < 10_100, "only questions have been embedded since");
    watched.end().await;
}

/// Within a scan, neither what is found nor what is done falls, until all is.
async fn only_rises(mut updates: news::Receiver<Progress>) {
    let mut last = updates.borrow_and_update().clone();
    let mut seen = 0;
    while last.state != ProgressState::Current {
        updates.changed().await.unwrap();
        let next = updates.borrow_and_update().clone();
        assert!(next.files_done <= next.files, "{next:?}");
        let rises = next.files >= last.files && next.files_done >= last.files_done;
        assert!(next.scan != last.scan || rises, "{last:?}, then {next:?}");
        last = next;
        seen += 1;
    }
    assert!(seen > 1, "there is word before the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_beyond_all_measure_and_a_tree_beyond_all_depth_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.txt", "apple");
    write(folder.path(), &format!("{}b.txt", "d/".repeat(80)), "banana");
    let limits = ContextLimits {
        files: usize::MAX,
        file_bytes: u32::MAX,
        passage_bytes: usize::MAX,
        index_bytes: usize::MAX,
        batch: 0,
        debounce: Duration::ZERO,
        rescan: Duration::MAX,
        poll: Duration::MAX,
        events: 0,
    };
    let watched = Watched::over(&[folder.path()], limits).await;
    let progress = watched.current().await;
    let expected = Skipped { unreadable: 1, ..Skipped::default() };
    assert_eq!((progress.chunks, progress.skipped), (1, expected), "the folder that is too deep is told of");
    write(folder.path(), "a.txt", "apricot");
    watched.finds("apricot", &["a.txt"]).await;
    watched.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_there_is_no_room_for_is_counted_and_read_when_there_is() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..20 {
        write(folder.path(), &format!("{number}.txt"), &format!("number{number}"));
    }
    let watched = Watched::over(&[folder.path()], ContextLimits { index_bytes: 8000, ..limits() }).await;
    let progress = watched.current().await;
    let no_room = progress.skipped.no_room;
    assert!(no_room > 0 && progress.chunks > 5 && progress.bytes <= 8000, "{progress:?}");
    assert_eq!((progress.files_done, progress.chunks + no_room), (20, 20));
    for number in 0..15 {
        fs::remove_file(folder.path().join(format!("{number}.txt"))).unwrap();
    }
    let all = |progress: &Progress| progress.chunks == 5 && progress.skipped.total() == 0;
    watched.until("the rest to have found room", all).await;
    watched.end().await;

    let watched = Watched::over(&[folder.path()], ContextLimits { files: 3, ..limits() }).await;
    let progress = watched.current().await;
    assert_eq!(
        (progress.files, progress.files_done, progress.chunks, progress.skipped.too_many),
        (5, 5, 3, 2)
    );
    for number in 15..18 {
        fs::remove_file(folder.path().join(format!("{number}.txt"))).unwrap();
    }
    watched.until("the last two", |progress| progress.chunks == 2 && progress.files == 2).await;
    watched.end().await;
}
