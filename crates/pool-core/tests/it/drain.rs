//! The orderly end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_core::compute::{Lane, Scripted as Script, ScriptedCompute};
use pool_core::memory_governor::Account;
use pool_core::worker_state::GroupState;
use pool_core::{Bytes, Counts, Error, GroupConfig, JobOptions, Workers};
use tokio::time::Instant;

use crate::scripted::{Ask, Fault, Log, ScriptedLoader, World, ask, engine};

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_was_accepted_and_refuses_the_rest() {
    let world = World::new().await;
    let tickets: Vec<_> = (0..30).map(|id| world.submit(ask(id))).collect();
    let cancelled = world.submit(ask(100));
    drop(cancelled);
    let mut fails = ask(101);
    fails.fault = Fault::Fails;
    let failed = world.submit(fails);
    let engine = world.engine.clone();
    let drain = tokio::spawn(async move { engine.drain(Duration::from_secs(60)).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(world.refused(ask(200)), Error::ShuttingDown));
    for (id, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.await.unwrap(), id as u32);
    }
    failed.await.unwrap_err();
    let report = drain.await.unwrap();
    let expected = Counts { accepted: 32, completed: 30, cancelled: 1, failed: 1, refused: 1, expired: 0 };
    assert_eq!(report.total, expected);
    assert!(!report.deadline_passed);
    assert_eq!(world.group.stats().state, GroupState::Closed);
    assert_eq!(world.log.freed.load(Ordering::SeqCst), 1, "the model is freed");
    let again = world.engine.drain(Duration::from_secs(1)).await;
    assert_eq!(again.total, report.total, "draining again tells the same");
}

#[tokio::test(start_paused = true)]
async fn what_the_deadline_leaves_over_hears_of_it() {
    let world = World::new().await;
    let mut long = ask(1);
    long.steps = 10_000;
    let running = world.submit(long);
    let mut waiting = ask(2);
    waiting.tokens = 5_000;
    let waiting = world.submit(waiting);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    let report = world.engine.drain(Duration::from_secs(3)).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(matches!(running.await.unwrap_err(), Error::ShuttingDown));
    assert!(matches!(waiting.await.unwrap_err(), Error::ShuttingDown));
    assert_eq!((report.total.accepted, report.total.failed), (2, 2));
    assert!(report.deadline_passed);
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_a_thread_that_hangs() {
    let compute = ScriptedCompute::new(|lane, _| match lane {
        Lane::Step => Script::Hang,
        _ => Script::NOW,
    });
    let world = World::with(compute, |_| {}, |_| {}).await;
    let stuck = world.submit(ask(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let report = world.engine.drain(Duration::from_secs(2)).await;
    assert!(matches!(stuck.await.unwrap_err(), Error::ShuttingDown));
    assert_eq!(report.total.failed, 1);
    assert_eq!((report.deadline_passed, report.lost_threads), (true, 1), "the thread is still out");
    assert_eq!(world.compute.abandon(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_in_mid_load_waits_for_it() {
    let world = World::new().await;
    let ticket = world.submit(ask(1));
    let report = world.engine.drain(Duration::from_secs(10)).await;
    assert_eq!(ticket.await.unwrap(), 1);
    assert_eq!(report.total.completed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_without_memory_is_told_so_while_others_drain() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(2_000));
    let log = Arc::new(Log::default());
    let config = GroupConfig { workers: Workers { min: 1, max: 1 }, ..GroupConfig::new("stays") };
    let stays = engine.add(config, ScriptedLoader::new(&log)).await.unwrap();
    let comes = engine.add(GroupConfig::new("comes"), ScriptedLoader::new(&log)).await.unwrap();
    let long = stays.try_submit(Ask { steps: 600, ..ask(1) }, JobOptions::default()).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waits = comes.try_submit(ask(2), JobOptions::default()).unwrap();
    let drain = tokio::spawn(async move { engine.drain(Duration::from_secs(300)).await });
    let start = Instant::now();
    assert!(matches!(waits.await.unwrap_err(), Error::LoadFailed { .. }));
    assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    assert_eq!(long.await.unwrap(), 1);
    assert_eq!(drain.await.unwrap().total.completed, 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_drains_too() {
    let world = World::new().await;
    let tickets: Vec<_> = (0..5).map(|id| world.submit(ask(id))).collect();
    let World { engine, group, log, .. } = world;
    drop((engine, group));
    for (id, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.await.unwrap(), id as u32);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(log.freed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_or_for_a_load_hears_of_the_shutdown() {
    let world = World::with(
        ScriptedCompute::new(|lane, _| if lane == Lane::Io { Script::Hang } else { Script::NOW }),
        |config| config.limits.jobs = 1,
        |_| {},
    )
    .await;
    let held = world.submit(ask(1));
    let group = world.group.clone();
    let room = tokio::spawn(async move { group.submit(ask(2), JobOptions::default()).await });
    let group = world.group.clone();
    let warm = tokio::spawn(async move { group.warm().await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    let report = world.engine.drain(Duration::from_secs(1)).await;
    assert!(matches!(held.await.unwrap_err(), Error::ShuttingDown));
    assert!(matches!(room.await.unwrap().unwrap_err(), Error::ShuttingDown));
    assert!(matches!(warm.await.unwrap().unwrap_err(), Error::ShuttingDown));
    assert_eq!((report.total.accepted, report.total.failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_memory_hears_of_the_shutdown_and_of_a_removal() {
    for removed in [false, true] {
        let world = World::new().await;
        let governor = world.engine.governor();
        let _held = governor.try_reserve(Account::Inputs, governor.limit()).unwrap();
        let group = world.group.clone();
        let waits = tokio::spawn(async move { group.submit(ask(1), JobOptions::default()).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!waits.is_finished(), "there is no room for its input");
        if removed {
            world.engine.remove(world.group.model(), Duration::from_secs(1)).await.unwrap();
        } else {
            world.engine.drain(Duration::from_secs(1)).await;
        }
        let end = tokio::time::timeout(Duration::from_secs(1), waits).await.expect("it hears of it");
        let error = end.unwrap().unwrap_err();
        assert_eq!(matches!(error, Error::Removed { .. }), removed, "{error}");
        assert_eq!(matches!(error, Error::ShuttingDown), !removed, "{error}");
    }
}
