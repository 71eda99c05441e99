use super::*;

fn roots() -> Vec<Root> {
    ["/srv/one", "/srv/two"].map(|path| Root { path: path.into(), name: path.to_owned() }).to_vec()
}

fn key(root: usize, path: &str) -> Key {
    Key { root, path: path.into() }
}

fn at(dirty: &mut Dirty, path: &str) {
    dirty.at(Path::new(path), &roots(), Instant::now());
}

#[tokio::test(start_paused = true)]
async fn one_waits_for_quiet_but_not_for_ever() {
    let debounce = Duration::from_millis(100);
    let mut dirty = Dirty::new(debounce);
    assert_eq!(dirty.due(), None);
    let first = Instant::now();
    for _ in 0..30 {
        at(&mut dirty, "/srv/one/a");
        assert_eq!(dirty.due(), Some((Instant::now() + debounce).min(first + debounce * 10)));
        tokio::time::advance(debounce / 2).await;
    }
    dirty.take(2);
    assert_eq!(dirty.due(), None, "what was taken is dirty no more");
}

#[tokio::test]
async fn paths_are_taken_once_with_all_that_is_in_them_and_ignore_files_as_their_folders() {
    let mut dirty = Dirty::new(Duration::ZERO);
    for path in
        ["one/a/b", "one/a", "one/a-b", "two/c/.gitignore", "two/.hidden", "two/.git/.gitignore", "three/d"]
    {
        at(&mut dirty, &format!("/srv/{path}"));
    }
    let keys = vec![key(0, "a"), key(0, "a-b"), key(1, "c")];
    assert_eq!(dirty.take(2), Starts { keys, everything: false });
    at(&mut dirty, "/srv/one");
    at(&mut dirty, "/srv/one/a");
    assert_eq!(dirty.take(2), Starts { keys: vec![key(0, "")], everything: false });
}

#[tokio::test]
async fn too_many_paths_are_everything() {
    let mut dirty = Dirty::new(Duration::ZERO);
    for number in 0..=PATHS {
        at(&mut dirty, &format!("/srv/one/{number}"));
    }
    assert!(dirty.everything && dirty.paths.is_empty());
    at(&mut dirty, "/srv/one/more");
    assert_eq!(dirty.take(2), Starts { keys: vec![key(0, ""), key(1, "")], everything: true });
}
