//! Models that are taken out of an engine, and those that never came to have an owner.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pool_core::compute::ScriptedCompute;
use pool_core::worker_state::GroupState;
use pool_core::{Bytes, Error, GroupConfig, JobOptions, ModelId, Workers};
use tokio::time::Instant;

use crate::defect::with_defect;
use crate::scripted::{Ask, Log, ScriptedLoader, World, ask, engine, settle};

#[tokio::test(start_paused = true)]
async fn a_model_that_is_removed_finishes_its_work_and_gives_everything_back() {
    let world = World::new().await;
    let tickets: Vec<_> = (0..30).map(|id| world.submit(ask(id))).collect();
    let engine = world.engine.clone();
    let name = world.group.model().clone();
    let removed = {
        let (engine, name) = (engine.clone(), name.clone());
        tokio::spawn(async move { engine.remove(&name, Duration::from_secs(60)).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(world.refused(ask(100)), Error::Removed { .. }));
    for (id, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.await.unwrap(), id as u32);
    }
    let report = removed.await.unwrap().unwrap().expect("it was there");
    assert_eq!((report.counts.accepted, report.counts.completed, report.counts.refused), (30, 30, 1));
    assert_eq!(world.log.freed.load(Ordering::SeqCst), 1);
    assert_eq!(world.group.stats().state, GroupState::Closed);
    assert!(matches!(world.group.warm().await.unwrap_err(), Error::Removed { .. }));
    let stats = engine.stats().await.unwrap();
    assert!(stats.models.is_empty() && stats.memory.used == Bytes::ZERO, "{stats:?}");
    assert_eq!(engine.lanes().computed(&name), Duration::ZERO, "its account is closed");
    // The name is free, and nothing is left to remove.
    let log = Arc::new(Log::default());
    let again = engine.add(GroupConfig::new("scripted"), ScriptedLoader::new(&log)).await.unwrap();
    assert_eq!(again.try_submit(ask(7), JobOptions::default()).unwrap().await.unwrap(), 7);
    assert_eq!(engine.remove(&ModelId::new("nobody"), Duration::ZERO).await.unwrap(), None);
    let total = engine.drain(Duration::from_secs(5)).await.total;
    assert_eq!((total.accepted, total.completed, total.refused), (31, 31, 1), "the removed one counts");
}

#[tokio::test(start_paused = true)]
async fn what_a_removal_leaves_over_hears_of_it() {
    let world = World::new().await;
    let long = world.submit(Ask { steps: 10_000, ..ask(1) });
    let waiting = world.submit(Ask { tokens: 5_000, ..ask(2) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    let name = world.group.model().clone();
    let report = world.engine.remove(&name, Duration::from_secs(3)).await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(matches!(long.await.unwrap_err(), Error::Removed { .. }));
    assert!(matches!(waiting.await.unwrap_err(), Error::Removed { .. }));
    assert_eq!((report.counts.accepted, report.counts.failed), (2, 2));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.engine.stats().await.unwrap().memory.used, Bytes::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_drain_in_mid_removal_keeps_to_the_earlier_deadline() {
    let world = World::new().await;
    let long = world.submit(Ask { steps: 10_000, ..ask(1) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (engine, name) = (world.engine.clone(), world.group.model().clone());
    let removed = tokio::spawn(async move { engine.remove(&name, Duration::from_secs(500)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    let report = world.engine.drain(Duration::from_secs(2)).await;
    assert!(start.elapsed() < Duration::from_millis(2_500), "{:?}", start.elapsed());
    assert!(matches!(long.await.unwrap_err(), Error::Removed { .. }));
    assert_eq!((report.total.accepted, report.total.failed), (1, 1));
    let removed = removed.await.unwrap().unwrap().expect("it was there");
    assert_eq!(removed.counts.failed, 1);
}

#[tokio::test(start_paused = true)]
async fn an_add_that_is_dropped_half_way_leaves_no_group() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(1 << 20));
    let log = Arc::new(Log::default());
    let config = || GroupConfig { workers: Workers { min: 1, max: 1 }, ..GroupConfig::new("m") };
    // Dropped while the answer is on its way, and while it lies there unread.
    for wait in [false, true] {
        {
            let mut add = pin!(engine.add(config(), ScriptedLoader::new(&log)));
            let polled = add.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Pending));
            if wait {
                settle().await;
            }
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let stats = engine.stats().await.unwrap();
        assert!(stats.models.is_empty() && stats.memory.used == Bytes::ZERO, "{stats:?}");
    }
    engine.add(config(), ScriptedLoader::new(&log)).await.unwrap().warm().await.unwrap();
}

/// A model of so many bytes.
fn loader(log: &Arc<Log>, weights: u64) -> ScriptedLoader {
    let mut loader = ScriptedLoader::new(log);
    loader.footprint.weights = Bytes(weights);
    loader
}

#[tokio::test(start_paused = true)]
async fn a_group_that_ended_by_a_defect_says_so_holds_nothing_and_can_be_removed() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(16_000));
    let log = Arc::new(Log::default());
    let idle = engine.add(GroupConfig::new("idle"), loader(&log, 8_000)).await.unwrap();
    idle.warm().await.unwrap();
    let broken = with_defect(engine.add(GroupConfig::new("m"), loader(&log, 4_000))).await.unwrap();
    let ticket = broken.try_submit(ask(1), JobOptions::default()).unwrap();
    for error in [ticket.await.unwrap_err(), broken.warm().await.unwrap_err()] {
        assert!(matches!(&error, Error::Failed { .. }) && error.to_string().contains("defect"), "{error}");
    }
    let stats = broken.stats();
    assert_eq!((stats.state, stats.healthy), (GroupState::Closed, false));
    assert!(stats.workers.is_empty() && stats.resident == Bytes::ZERO, "{stats:?}");
    // Another model's load does not wait for memory that is free already.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let other = engine.add(GroupConfig::new("other"), loader(&log, 10_000)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), other.warm()).await.expect("it is loaded").unwrap();
    assert_eq!(idle.stats().state, GroupState::Absent);
    let removed = engine.remove(broken.model(), Duration::from_secs(5));
    let report = tokio::time::timeout(Duration::from_secs(60), removed).await.expect("it is removed");
    assert_eq!(report.unwrap().expect("it was there").counts.failed, 1);
    let again = engine.add(GroupConfig::new("m"), loader(&log, 4_000)).await.unwrap();
    assert_eq!(again.try_submit(ask(2), JobOptions::default()).unwrap().await.unwrap(), 2);
    assert!(engine.remove(again.model(), Duration::from_secs(5)).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_model_whose_removal_cut_off_a_step_is_not_said_to_be_there() {
    let world = World::new().await;
    let long = world.submit(Ask { steps: 10_000, ..ask(1) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.engine.remove(world.group.model(), Duration::from_millis(10)).await.unwrap();
    assert!(matches!(long.await.unwrap_err(), Error::Removed { .. }));
    let stats = world.group.stats();
    assert!(stats.workers.is_empty() && stats.resident == Bytes::ZERO, "{stats:?}");
}
