use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use pool_core::compute::{BlockingCompute, Compute, Lane, LanesConfig, Work};
use tokio::task::JoinSet;

use super::*;

const FILE: &str = "history.db";

fn lanes() -> Lanes {
    Lanes::new(LanesConfig::default(), Arc::new(BlockingCompute::try_current().unwrap()))
}

async fn open(path: &Path) -> SqliteHistory {
    SqliteHistory::open(lanes(), path.to_owned()).await.unwrap()
}

async fn refused(path: &Path) -> String {
    let message = SqliteHistory::open(lanes(), path.to_owned()).await.unwrap_err().message;
    assert!(!message.contains('\n') && message.contains(&*path.to_string_lossy()), "{message}");
    message
}

fn event(seq: u64, text: &str) -> StoredEvent {
    StoredEvent {
        seq,
        at_ms: 1_790_000_000_000 + seq as i64,
        json: format!("{{\"text\":\"{text}\"}}").into(),
    }
}

fn events(seqs: impl IntoIterator<Item = u64>) -> Vec<StoredEvent> {
    seqs.into_iter().map(|seq| event(seq, "ä")).collect()
}

fn kept(epoch: &str, first_seq: u64, events: Vec<StoredEvent>) -> Kept {
    Kept { epoch: epoch.to_owned(), first_seq, events, state: None }
}

/// Ends the database's own use, and changes it behind its back.
async fn changed(history: SqliteHistory, change: impl FnOnce(&Connection)) {
    history.close().await.unwrap();
    change(&Connection::open(history.path()).unwrap());
}

#[tokio::test]
async fn what_is_appended_is_found_again_after_a_restart_with_what_was_saved_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let history = open(&path).await;
    assert_eq!(history.load("lobby").await, Ok(None));
    history.save("lobby", "lost".into()).await.unwrap();
    history.append("lobby", "e1", events(1..=3)).await.unwrap();
    history.append("lobby", "e1", vec![]).await.unwrap();
    history.append("lobby", "e1", events(4..=4)).await.unwrap();
    history.append("other", "e2", events(7..=8)).await.unwrap();
    history.save("lobby", "[1]".into()).await.unwrap();
    history.save("lobby", "[2]".into()).await.unwrap();
    let lobby = Kept { state: Some("[2]".into()), ..kept("e1", 1, events(1..=4)) };
    assert_eq!(history.load("lobby").await, Ok(Some(lobby.clone())));
    history.close().await.unwrap();
    assert!(!path.with_extension("db-wal").exists(), "a file that was closed is all there is");
    let after = history.append("lobby", "e1", events(5..=5)).await.unwrap_err();
    assert!(after.message.contains("is closed"), "{after}");
    assert_eq!(history.load("lobby").await.unwrap_err(), after);
    history.close().await.unwrap();

    let history = open(&path).await;
    history.append("lobby", "e1", events(5..=5)).await.unwrap();
    drop(history);
    assert!(path.with_extension("db-wal").exists(), "nothing is flushed where a handle is dropped");
    let history = open(&path).await;
    assert_eq!(history.load("lobby").await, Ok(Some(Kept { events: events(1..=5), ..lobby })));
    assert_eq!(history.load("other").await, Ok(Some(kept("e2", 7, events(7..=8)))));
}

#[tokio::test]
async fn an_append_replaces_what_has_its_numbers_and_leaves_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder.path().join(FILE)).await;
    history.append("r", "e1", events(1..=5)).await.unwrap();
    history.append("r", "e1", vec![event(4, "again")]).await.unwrap();
    let mut expected = events(1..=3);
    expected.push(event(4, "again"));
    assert_eq!(history.load("r").await, Ok(Some(kept("e1", 1, expected.clone()))));

    let gap = history.append("r", "e1", events(6..=6)).await.unwrap_err();
    assert!(gap.message.contains("event 6 where 5 should be"), "{gap}");
    let uneven = history.append("r", "e1", events([5, 7])).await.unwrap_err();
    assert!(uneven.message.contains("not numbered one after another"), "{uneven}");
    assert_eq!(history.load("r").await, Ok(Some(kept("e1", 1, expected))), "what is refused changes nothing");

    history.save("r", "[]".into()).await.unwrap();
    history.append("r", "e2", events(9..=10)).await.unwrap();
    assert_eq!(
        history.load("r").await,
        Ok(Some(kept("e2", 9, events(9..=10)))),
        "another epoch, another history"
    );
    history.append("r", "e2", events(8..=8)).await.unwrap();
    assert_eq!(history.load("r").await, Ok(Some(kept("e2", 8, events(8..=8)))));
}

#[tokio::test]
async fn what_is_trimmed_is_gone_and_numbers_go_on_even_where_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let history = open(&path).await;
    history.trim("nobody", 5).await.unwrap();
    history.append("r", "e", events(1..=9)).await.unwrap();
    history.append("s", "e", events(1..=9)).await.unwrap();
    history.trim("r", 4).await.unwrap();
    history.trim("r", 2).await.unwrap();
    assert_eq!(history.load("r").await, Ok(Some(kept("e", 4, events(4..=9)))));
    history.trim("r", 100).await.unwrap();
    drop(history);
    let history = open(&path).await;
    assert_eq!(history.load("r").await, Ok(Some(kept("e", 10, vec![]))));
    assert!(history.append("r", "e", events(11..=11)).await.is_err());
    history.append("r", "e", events(10..=10)).await.unwrap();
    assert_eq!(history.load("r").await, Ok(Some(kept("e", 10, events(10..=10)))));
    assert_eq!(history.load("s").await, Ok(Some(kept("e", 1, events(1..=9)))), "other rooms keep theirs");
}

/// Counts what runs in the lanes.
#[derive(Debug)]
struct Counted {
    compute: BlockingCompute,
    executed: AtomicUsize,
}

impl Compute for Counted {
    fn execute(&self, lane: Lane, work: Work) {
        assert_eq!(lane, Lane::Io);
        self.executed.fetch_add(1, Ordering::SeqCst);
        self.compute.execute(lane, work);
    }
}

#[tokio::test]
async fn what_comes_while_somebody_has_the_turn_is_done_in_one_and_who_goes_takes_his_along() {
    let folder = tempfile::tempdir().unwrap();
    let compute = BlockingCompute::try_current().unwrap();
    let counted = Arc::new(Counted { compute, executed: AtomicUsize::new(0) });
    let lanes = Lanes::new(LanesConfig::default(), counted.clone());
    let history = SqliteHistory::open(lanes, folder.path().join(FILE)).await.unwrap();
    assert_eq!(counted.executed.load(Ordering::SeqCst), 1);

    let turn = Arc::clone(&history.shared.file).lock_owned().await;
    let mut asked: Vec<_> =
        (0..50).map(|room| history.append(&room.to_string(), "e", events(1..=2))).collect();
    let mut load = history.load("7");
    let context = &mut Context::from_waker(Waker::noop());
    assert!(asked.iter_mut().all(|asked| asked.as_mut().poll(context).is_pending()));
    assert!(load.as_mut().poll(context).is_pending());
    drop(asked.swap_remove(0));
    assert_eq!(history.shared.queue().waiting.len(), 50);
    drop(turn);
    let answers = futures::future::join_all(asked).await;
    assert!(answers.len() == 49 && answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(load.await, Ok(Some(kept("e", 1, events(1..=2)))), "a load sees what was appended beside it");
    assert_eq!(counted.executed.load(Ordering::SeqCst), 2, "all of it was one turn");
    assert_eq!(history.load("0").await, Ok(None), "who went took his along");
    assert!(history.shared.queue().waiting.is_empty());
}

#[tokio::test]
async fn whoever_has_the_turn_may_go_and_the_others_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder.path().join(FILE)).await;
    // All slots of the lane are taken, so that whoever has the turn waits for one.
    let slots = history.shared.lanes.stats().io.slots;
    let all = Arc::new(Barrier::new(slots + 1));
    let mut tasks = JoinSet::new();
    for _ in 0..slots {
        let all = Arc::clone(&all);
        tasks.spawn(history.shared.lanes.io(move || all.wait()));
    }
    while history.shared.lanes.stats().io.busy < slots {
        tokio::task::yield_now().await;
    }
    let context = &mut Context::from_waker(Waker::noop());
    let mut first = history.append("first", "e", events(1..=1));
    let mut second = history.append("second", "e", events(1..=1));
    assert!(first.as_mut().poll(context).is_pending() && second.as_mut().poll(context).is_pending());
    drop(first);
    all.wait();
    second.await.unwrap();
    while let Some(task) = tasks.join_next().await {
        task.unwrap().unwrap();
    }
    assert_eq!(history.load("first").await, Ok(None));
    assert_eq!(history.load("second").await, Ok(Some(kept("e", 1, events(1..=1)))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_append_at_once_keep_each_its_own_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let history = open(&path).await;
    let (rooms, rounds) = (50, 20_u64);
    let mut tasks = JoinSet::new();
    for room in 0..rooms {
        let history = history.clone();
        tasks.spawn(async move {
            let room = format!("room {room}");
            for seq in 1..=rounds {
                history.append(&room, "e", vec![event(seq, &room)]).await.unwrap();
                if seq % 7 == 0 {
                    history.trim(&room, seq - 5).await.unwrap();
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    drop(history);
    let history = open(&path).await;
    for room in 0..rooms {
        let room = format!("room {room}");
        let expected = (9..=rounds).map(|seq| event(seq, &room)).collect();
        assert_eq!(history.load(&room).await, Ok(Some(kept("e", 9, expected))));
    }
}

/// Where the child below finds the file.
const CHILD: &str = "CANDLEPOOL_TEST_HISTORY";

/// This very test in a process of its own: there it appends in five rooms at once, and says what was acknowledged, until it is
/// killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_kill() {
    if let Some(path) = std::env::var_os(CHILD) {
        return append_for_ever(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut acknowledged = [0_u64; 5];
    for round in 1..=3 {
        let mut child = child("what_was_acknowledged_outlives_a_kill").env(CHILD, &path).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut seen, mut denied) = (0, None);
        for line in lines.map_while(Result::ok) {
            // Other lines are the harness's.
            let Some((room, seq)) = line.strip_prefix("kept ").and_then(|kept| kept.split_once(' ')) else {
                continue;
            };
            acknowledged[room.parse::<usize>().unwrap()] = seq.parse().unwrap();
            seen += 1;
            if seen == 100 {
                denied = SqliteHistory::open(lanes(), path.clone()).await.err();
                // On Unix this is SIGKILL: the child is not asked.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 100, "the child ended by itself after {seen} appends");
        let denied = denied.expect("two processes have one file").message;
        assert!(denied.contains("another process uses"), "{denied}");
        let history = open(&path).await;
        for (room, acknowledged) in acknowledged.iter().enumerate() {
            let kept = history.load(&room.to_string()).await.unwrap().unwrap();
            let last = kept.first_seq + kept.events.len() as u64 - 1;
            // One more may have been kept before its acknowledgement was read.
            assert!(
                (*acknowledged..=*acknowledged + 1).contains(&last),
                "round {round}: {acknowledged}, {last}"
            );
            assert_eq!(kept.events, events(kept.first_seq..=last));
        }
        history.close().await.unwrap();
    }
}

async fn append_for_ever(path: &Path) {
    let history = open(path).await;
    let mut rooms = JoinSet::new();
    for room in 0..5 {
        let history = history.clone();
        rooms.spawn(async move {
            let kept = history.load(&room.to_string()).await.unwrap();
            for seq in kept.map_or(1, |kept| kept.first_seq + kept.events.len() as u64).. {
                history.append(&room.to_string(), "e", events(seq..=seq)).await.unwrap();
                if seq % 50 == 0 {
                    history.trim(&room.to_string(), seq - 20).await.unwrap();
                }
                // One write for a line, so that a line is whole or not there.
                std::io::stdout().write_all(format!("kept {room} {seq}\n").as_bytes()).unwrap();
            }
        });
    }
    while let Some(room) = rooms.join_next().await {
        room.unwrap();
    }
}

/// A test of this file, in a process of its own.
fn child(test: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    child.args(["--exact", &name, "--nocapture"]).stdout(Stdio::piped());
    child
}

#[tokio::test]
async fn one_file_is_of_one_history_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let history = open(&path).await;
    assert!(refused(&path).await.contains("another process uses"));
    history.append("r", "e", events(1..=1)).await.unwrap();
    drop(history);
    assert_eq!(open(&path).await.load("r").await, Ok(Some(kept("e", 1, events(1..=1)))));
}

#[tokio::test]
async fn what_is_no_history_of_this_version_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    std::fs::write(&path, "a letter to grandmother\n".repeat(500)).unwrap();
    assert!(refused(&path).await.contains("is not a SQLite database"));
    assert_eq!(std::fs::read_to_string(&path).unwrap().len(), 12_000);

    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    let before = std::fs::read(&foreign).unwrap();
    assert!(refused(&foreign).await.contains("a database of another program"));
    assert_eq!(std::fs::read(&foreign).unwrap(), before);

    let newer = folder.path().join("newer.db");
    changed(open(&newer).await, |file| file.pragma_update(None, "user_version", 9).unwrap()).await;
    assert!(refused(&newer).await.contains("version 9 of the history's format, and this program knows 1"));

    assert!(refused(folder.path()).await.contains("cannot be opened"));
    assert!(refused(&folder.path().join("nowhere").join(FILE)).await.contains("its folder must be there"));
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_a_missing_event_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let history = open(&path).await;
    history.append("r", "e", (1..=200).map(|seq| event(seq, &"x".repeat(500))).collect()).await.unwrap();
    changed(history, |file| file.execute_batch("DELETE FROM events WHERE seq = 100").unwrap()).await;
    let history = open(&path).await;
    let gap = history.load("r").await.unwrap_err();
    assert!(gap.message.contains("is damaged (room r has event 101 where 100 should be)"), "{gap}");
    changed(history, |file| file.execute_batch("UPDATE events SET json = CAST(x'ff' AS TEXT)").unwrap())
        .await;
    let history = open(&path).await;
    let text = history.load("r").await.unwrap_err();
    assert!(text.message.contains("is damaged"), "{text}");
    history.close().await.unwrap();

    let whole = std::fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[4096 * 4..4096 * 6].fill(0x5a);
    std::fs::write(&path, torn).unwrap();
    assert!(refused(&path).await.contains("is damaged"));
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(refused(&path).await.contains("is damaged"));
}

#[tokio::test]
async fn a_full_disk_refuses_what_has_no_room_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder.path().join(FILE)).await;
    history.append("small", "e", events(1..=1)).await.unwrap();
    let limit = |pages: u32| {
        let shared = Arc::clone(&history.shared);
        async move {
            let file = shared.file.lock().await;
            file.as_ref()
                .unwrap()
                .query_row(&format!("PRAGMA max_page_count = {pages}"), (), |_| Ok(()))
                .unwrap();
        }
    };
    limit(20).await;
    let turn = Arc::clone(&history.shared.file).lock_owned().await;
    let large = vec![event(1, &"x".repeat(200_000))];
    let (mut large, mut small) =
        (history.append("large", "e", large), history.append("small", "e", events(2..=2)));
    let context = &mut Context::from_waker(Waker::noop());
    assert!(large.as_mut().poll(context).is_pending() && small.as_mut().poll(context).is_pending());
    drop(turn);
    let (large, small) = tokio::join!(large, small);
    let full = large.unwrap_err().message;
    assert!(full.contains("there is no room left") && !full.contains('\n'), "{full}");
    small.unwrap();
    assert_eq!(history.load("large").await, Ok(None));
    limit(1_000_000).await;
    history.append("large", "e", events(1..=1)).await.unwrap();
    assert_eq!(history.load("small").await, Ok(Some(kept("e", 1, events(1..=2)))));
}

/// In a process of its own, of a user who may not write: root may always.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_may_not_be_written_is_refused() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;

    if let Some(path) = std::env::var_os(CHILD) {
        assert!(refused(Path::new(&path)).await.contains("may not be written"));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    open(&path).await.close().await.unwrap();
    set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let mut child = child("a_file_that_may_not_be_written_is_refused");
    // A change of user is refused to all but root, whom nothing else would be refused.
    let may_change = std::fs::OpenOptions::new().append(true).open(&path).is_ok();
    if may_change {
        let copy = folder.path().join("test");
        std::fs::copy(child.get_program(), &copy).unwrap();
        let arguments: Vec<_> = child.get_args().map(ToOwned::to_owned).collect();
        child = Command::new(copy);
        child.args(arguments).uid(65_534).gid(65_534).current_dir("/");
    }
    let output = child.env(CHILD, &path).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
