//! Load on demand, eviction, scaling.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_core::compute::ScriptedCompute;
use pool_core::worker_state::{GroupState, WorkerState};
use pool_core::{Bytes, Error, GroupConfig, Workers};

use crate::scripted::{Ask, Log, ScriptedLoader, World, ask, engine};

#[tokio::test(start_paused = true)]
async fn a_model_is_loaded_by_its_first_job() {
    let world = World::new().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.log.loads.load(Ordering::SeqCst), 0);
    assert_eq!(world.group.stats().state, GroupState::Absent);
    assert_eq!(world.submit(ask(1)).await.unwrap(), 1);
    assert_eq!(world.group.stats().state, GroupState::Resident);
    assert_eq!(world.group.stats().resident.get(), 1_100);
}

#[tokio::test(start_paused = true)]
async fn a_group_with_a_minimum_is_loaded_at_once() {
    let world =
        World::with(ScriptedCompute::instant(), |config| config.workers = Workers { min: 2, max: 2 }, |_| {})
            .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.group.stats().workers.len(), 2);
    assert_eq!(world.group.stats().resident.get(), 1_200, "weights are shared, working sets are not");
}

#[tokio::test(start_paused = true)]
async fn an_idle_model_is_evicted_and_comes_back() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |config| config.idle_evict_after = Some(Duration::from_secs(60)),
        |_| {},
    )
    .await;
    world.submit(ask(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(50)).await;
    world.submit(ask(2)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(world.group.stats().state, GroupState::Resident);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(world.group.stats().state, GroupState::Absent);
    assert_eq!(world.log.freed.load(Ordering::SeqCst), 1);
    assert_eq!(world.engine.stats().await.unwrap().memory.used.get(), 0);
    assert_eq!(world.submit(ask(3)).await.unwrap(), 3);
    assert_eq!(world.log.loads.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn evicting_by_hand_loses_nothing() {
    let world = World::new().await;
    let mut long = ask(1);
    long.steps = 5;
    let running = world.submit(long);
    tokio::time::sleep(Duration::from_millis(350)).await;
    world.group.evict();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(world.group.stats().state, GroupState::Evicting);
    let waiting = world.submit(ask(2));
    assert_eq!(running.await.unwrap(), 1);
    assert_eq!(waiting.await.unwrap(), 2, "the next demand loads it again");
    assert_eq!(world.log.loads.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn workers_are_added_for_a_long_queue_and_let_go_after_it() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(500)),
        |config| config.workers = Workers { min: 1, max: 3 },
        |loader| loader.room = pool_core::Room::jobs(1),
    )
    .await;
    let tickets: Vec<_> = (0..60).map(|id| world.submit(ask(id))).collect();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(world.group.stats().workers.len(), 3);
    for (id, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.await.unwrap(), id as u32);
    }
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(world.group.stats().workers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_workers_the_idle_one_is_let_go() {
    // Whichever of the two gets the long job, once it is the newer.
    for long_first in [true, false] {
        let world = World::with(
            ScriptedCompute::taking(Duration::from_millis(500)),
            |config| config.workers = Workers { min: 1, max: 2 },
            |loader| loader.room = pool_core::Room::jobs(1),
        )
        .await;
        let tickets: Vec<_> = (0..40).map(|id| world.submit(ask(id))).collect();
        for ticket in tickets {
            ticket.await.unwrap();
        }
        assert_eq!(world.group.stats().workers.len(), 2);
        let steps = if long_first { [400, 2] } else { [2, 400] };
        let jobs = steps.map(|steps| world.submit(Ask { steps, ..ask(1_000 + steps) }));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let workers = world.group.stats().workers;
        assert!(matches!(&workers[..], [only] if only.state == WorkerState::Busy), "{workers:?}");
        for job in jobs {
            job.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_of_workers_that_make_no_sense_are_refused() {
    let engine = engine(&ScriptedCompute::instant(), Bytes(1 << 20));
    let log = std::sync::Arc::new(Log::default());
    for (workers, wanted) in [
        (Workers { min: 0, max: 0 }, "workers.max is 0"),
        (Workers { min: 3, max: 2 }, "workers.min is 3 and workers.max is 2"),
    ] {
        let config = GroupConfig { workers, ..GroupConfig::new("m") };
        let error = engine.add(config, ScriptedLoader::new(&log)).await.unwrap_err();
        assert!(
            matches!(error, Error::InvalidConfig { .. }) && error.to_string().contains(wanted),
            "{error}"
        );
    }
    engine.add(GroupConfig::new("m"), ScriptedLoader::new(&log)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_model_has_a_name_and_it_is_taken_once() {
    let world = World::new().await;
    let log = std::sync::Arc::new(Log::default());
    let nameless = world.engine.add(GroupConfig::new(""), ScriptedLoader::new(&log)).await;
    assert!(matches!(nameless.unwrap_err(), Error::InvalidConfig { .. }));
    let again = world.engine.add(GroupConfig::new("scripted"), ScriptedLoader::new(&log)).await;
    assert!(matches!(again.unwrap_err(), Error::DuplicateModel { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_while_it_is_evicted_shuts_the_door_for_its_backoff_only() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |_| {},
        |loader| loader.failures = vec!["no such file"].into(),
    )
    .await;
    let waiting = world.submit(ask(1));
    // In mid-load: the footprint has been read, the worker has begun.
    tokio::time::sleep(Duration::from_millis(150)).await;
    world.group.evict();
    assert!(matches!(waiting.await.unwrap_err(), Error::LoadFailed { .. }));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.submit(ask(2)).await.unwrap(), 2);
}
