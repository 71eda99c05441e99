//! Panics, broken models, loads that fail, steps that never return.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_core::compute::{Lane, LanesConfig, Scripted as Script, ScriptedCompute};
use pool_core::worker_state::{GroupState, WorkerState};
use pool_core::{Bytes, Engine, Error, GroupConfig, JobOptions, Workers};
use tokio::time::Instant;

use crate::scripted::{Ask, Fault, LARGE, Log, Preparing, ScriptedLoader, World, ask};

#[tokio::test(start_paused = true)]
async fn a_panic_kills_the_worker_and_not_its_jobs() {
    let world = World::new().await;
    let mut touchy = ask(2);
    touchy.fault = Fault::PanicsInCompany;
    let tickets: Vec<_> = [ask(1), touchy, ask(3)].map(|ask| world.submit(ask)).into();
    for (ticket, id) in tickets.into_iter().zip([1, 2, 3]) {
        assert_eq!(ticket.await.unwrap(), id);
    }
    let steps = world.log.steps();
    assert_eq!(steps, [vec![1, 2, 3], vec![1], vec![2], vec![3]], "each is retried alone");
    assert_eq!(world.log.loads.load(Ordering::SeqCst), 2);
    assert_eq!(world.log.freed.load(Ordering::SeqCst), 1, "the panicked model is dropped");
}

#[tokio::test(start_paused = true)]
async fn only_a_job_that_kills_alone_is_convicted_and_then_refused() {
    let world = World::new().await;
    let mut killer = ask(2);
    killer.fault = Fault::Panics;
    let tickets: Vec<_> = [ask(1), killer.clone(), ask(3)].map(|ask| world.submit(ask)).into();
    let mut ends = Vec::new();
    for ticket in tickets {
        ends.push(ticket.await);
    }
    assert_eq!(*ends[0].as_ref().unwrap(), 1);
    assert!(
        matches!(ends[1].as_ref().unwrap_err(), Error::Crashed { message, .. } if message.contains("told to"))
    );
    assert_eq!(*ends[2].as_ref().unwrap(), 3);
    // The same input is refused for ten minutes; the model serves others at once.
    let error = world.refused(killer.clone());
    assert!(matches!(error, Error::Convicted { .. }), "{error}");
    assert_eq!(world.submit(ask(4)).await.unwrap(), 4);
    tokio::time::sleep(Duration::from_secs(601)).await;
    let again = world.submit(killer).await.unwrap_err();
    assert!(matches!(again, Error::Crashed { .. }), "{again}");
}

#[tokio::test(start_paused = true)]
async fn killers_do_not_open_the_breaker() {
    let world = World::new().await;
    for id in 0..12 {
        let mut killer = ask(id);
        killer.fault = Fault::Panics;
        let end = world.submit(killer).await.unwrap_err();
        assert!(matches!(end, Error::Crashed { .. }), "{id}: {end}");
        assert_eq!(world.submit(ask(1000 + id)).await.unwrap(), 1000 + id);
    }
    assert_ne!(world.group.stats().state, GroupState::Broken);
}

#[tokio::test(start_paused = true)]
async fn inputs_too_large_to_be_compared_do_not_open_the_breaker_either() {
    let world = World::new().await;
    for id in 0..12 {
        let mut killer = ask(id);
        (killer.fault, killer.tokens) = (Fault::Panics, LARGE);
        let end = world.submit(killer).await.unwrap_err();
        assert!(matches!(end, Error::Crashed { .. }), "{id}: {end}");
        assert_eq!(world.submit(ask(1000 + id)).await.unwrap(), 1000 + id);
    }
    assert_ne!(world.group.stats().state, GroupState::Broken);
}

#[tokio::test(start_paused = true)]
async fn a_large_input_is_known_again_once_the_lane_has_read_it() {
    let world = World::new().await;
    let mut killer = ask(1);
    (killer.fault, killer.tokens) = (Fault::Panics, LARGE + 1);
    let end = world.submit(killer.clone()).await.unwrap_err();
    assert!(matches!(end, Error::Crashed { .. }), "{end}");
    let loads = world.log.loads.load(Ordering::SeqCst);
    let end = world.submit(killer).await.unwrap_err();
    assert!(matches!(end, Error::Convicted { .. }), "{end}");
    let mut other = ask(2);
    other.tokens = LARGE + 1;
    assert_eq!(world.submit(other).await.unwrap(), 2);
    assert!(world.log.loads.load(Ordering::SeqCst) <= loads + 1, "it has killed nobody else");
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_caller_saw_an_event_is_not_run_again() {
    let world = World::new().await;
    let mut speaks = ask(1);
    (speaks.events, speaks.steps) = (true, 100);
    let (ticket, mut events) =
        world.group.try_submit_streaming(speaks, JobOptions::default(), 8.try_into().unwrap()).unwrap();
    assert_eq!(events.recv().await, Some(1));
    let mut killer = ask(2);
    killer.fault = Fault::Panics;
    let killer = world.submit(killer);
    let reader = tokio::spawn(async move { while events.recv().await.is_some() {} });
    assert!(matches!(ticket.await.unwrap_err(), Error::Crashed { .. }));
    assert!(matches!(killer.await.unwrap_err(), Error::Crashed { .. }));
    reader.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broken_model_is_loaded_again_and_in_the_end_rests() {
    let world = World::new().await;
    let breaks = |id| Ask { fault: Fault::Breaks, ..ask(id) };
    // Alone, the job that breaks it is convicted; the model serves others.
    let end = world.submit(breaks(1)).await.unwrap_err();
    assert!(matches!(&end, Error::Crashed { message, .. } if message.contains("told to break")), "{end}");
    assert_eq!(world.submit(ask(9)).await.unwrap(), 9);
    // Where it breaks on everything, it is the model.
    let mut last = None;
    for id in 10..30 {
        match world.group.try_submit(breaks(id), JobOptions::default()) {
            Ok(ticket) => drop(ticket.await.unwrap_err()),
            Err(error) => last = Some(error),
        }
        if last.is_some() {
            break;
        }
    }
    let last = last.expect("it rests");
    assert!(matches!(&last, Error::Unavailable { .. }), "{last}");
    assert_eq!(world.group.stats().state, GroupState::Broken);
    let loads = world.log.loads.load(Ordering::SeqCst);
    assert!(loads < 12, "{loads} loads");
    tokio::time::sleep(last.retry_after().unwrap() + Duration::from_millis(1)).await;
    assert_eq!(world.submit(ask(9)).await.unwrap(), 9, "a trial brings it back");
}

#[tokio::test(start_paused = true)]
async fn what_a_draining_worker_computes_outlives_the_failure_of_anothers_load() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |config| config.workers = Workers { min: 2, max: 2 },
        |loader| loader.failures = vec!["no such file", ""].into(),
    )
    .await;
    // The first worker is there after 200 ms; from 300 on the second loads.
    let running = world.submit(Ask { steps: 50, ..ask(1) });
    tokio::time::sleep(Duration::from_millis(350)).await;
    world.group.evict();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let waiting = world.submit(Ask { tokens: 5_000, ..ask(2) });
    assert!(matches!(waiting.await.unwrap_err(), Error::LoadFailed { .. }));
    assert_eq!(running.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_hangs_is_given_up_and_blocks_nobody() {
    // The header is read, the weights are not.
    let compute = ScriptedCompute::new(|lane, ordinal| match (lane, ordinal) {
        (Lane::Io, 1 | 3) => Script::Hang,
        _ => Script::Run { after: Duration::from_millis(100) },
    });
    let world = World::with(compute, |_| {}, |_| {}).await;
    let start = Instant::now();
    let end = world.submit(ask(1)).await.unwrap_err();
    assert!(matches!(end, Error::LoadFailed { .. }) && end.to_string().contains("not returned"), "{end}");
    assert!((120..122).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(world.group.stats().state, GroupState::Broken);
    assert_eq!(world.engine.stats().await.unwrap().lanes.io.lost, 1);
    tokio::time::sleep(end.retry_after().unwrap() + Duration::from_millis(1)).await;
    // The second try hangs as well; after that the model is refused without one.
    world.submit(ask(1)).await.unwrap_err();
    assert_eq!(world.group.stats().lost_threads, 2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let end = world.submit(ask(1)).await.unwrap_err();
    assert!(matches!(end, Error::LoadFailed { .. }) && end.to_string().contains("restart"), "{end}");
    // Both slots of the lane are out, and others load all the same.
    let log = Arc::new(Log::default());
    let other = world.engine.add(GroupConfig::new("other"), ScriptedLoader::new(&log)).await.unwrap();
    assert_eq!(other.try_submit(ask(2), JobOptions::default()).unwrap().await.unwrap(), 2);
    assert!(world.compute.release() && world.compute.release());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.submit(ask(3)).await.unwrap(), 3);
    assert_eq!(world.engine.stats().await.unwrap().lanes.lost_threads(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_slot_is_no_part_of_what_a_step_takes() {
    // Every step takes 20 s but the last, which hangs.
    let compute = ScriptedCompute::new(|lane, ordinal| match (lane, ordinal) {
        (Lane::Step, 2) => Script::Hang,
        (Lane::Step, 0) => Script::Run { after: Duration::from_secs(25) },
        _ => Script::Run { after: Duration::from_millis(100) },
    });
    let one = NonZeroUsize::MIN;
    let engine = Engine::builder()
        .memory_limit(Bytes(1 << 20))
        .lanes(LanesConfig { cores: one, ..LanesConfig::for_cores(one) })
        .compute(compute)
        .build()
        .unwrap();
    let log = Arc::new(Log::default());
    let slow = engine.add(GroupConfig::new("slow"), ScriptedLoader::new(&log)).await.unwrap();
    let quick = engine.add(GroupConfig::new("quick"), ScriptedLoader::new(&log)).await.unwrap();
    quick.warm().await.unwrap();
    slow.warm().await.unwrap();
    let long = slow.try_submit(ask(1), JobOptions::default()).unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    // It waits 25 s for its slot, and then takes 100 ms.
    assert_eq!(quick.try_submit(ask(2), JobOptions::default()).unwrap().await.unwrap(), 2);
    long.await.unwrap();
    let start = Instant::now();
    let end = quick.try_submit(ask(3), JobOptions::default()).unwrap().await.unwrap_err();
    assert!(matches!(end, Error::Unresponsive { .. }), "{end}");
    assert!(start.elapsed() < Duration::from_secs(31), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn many_waiters_are_served_by_one_load_and_hear_of_its_failure() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |_| {},
        |loader| loader.failures = vec!["no such file"].into(),
    )
    .await;
    let tickets: Vec<_> = (0..50).map(|id| world.submit(ask(id))).collect();
    let warm = world.group.warm().await.unwrap_err();
    assert!(
        matches!(&warm, Error::LoadFailed { cause, .. } if cause.to_string() == "no such file"),
        "{warm}"
    );
    for ticket in tickets {
        let end = ticket.await.unwrap_err();
        assert!(
            matches!(&end, Error::LoadFailed { cause, .. } if cause.to_string() == "no such file"),
            "{end}"
        );
    }
    assert_eq!(world.log.loads.load(Ordering::SeqCst), 1);
    assert_eq!(world.group.stats().state, GroupState::Broken);
    // While it rests, whoever comes is told at once, and when to come again.
    let refused = world.refused(ask(1));
    let wait = refused.retry_after().expect("says when");
    assert!(matches!(refused, Error::LoadFailed { .. }) && wait <= Duration::from_secs(2), "{refused}");
    tokio::time::sleep(wait + Duration::from_millis(1)).await;
    let tickets: Vec<_> = (0..50).map(|id| world.submit(ask(id))).collect();
    for (id, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.await.unwrap(), id as u32);
    }
    assert_eq!(world.log.loads.load(Ordering::SeqCst), 2, "one trial load for all of them");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_panics_is_a_load_that_failed() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |_| {},
        |loader| loader.failures = vec!["panic"].into(),
    )
    .await;
    let end = world.submit(ask(1)).await.unwrap_err();
    assert!(
        matches!(&end, Error::LoadFailed { cause, .. } if cause.to_string().contains("told to panic")),
        "{end}"
    );
}

#[tokio::test(start_paused = true)]
async fn repeated_failures_back_off_further_and_further() {
    let world =
        World::with(ScriptedCompute::instant(), |_| {}, |loader| loader.failures = vec!["missing"; 5].into())
            .await;
    let mut waits = Vec::new();
    for _ in 0..5 {
        let end = world.submit(ask(1)).await.unwrap_err();
        let wait = end.retry_after().expect("says when");
        waits.push(wait);
        tokio::time::sleep(wait + Duration::from_millis(5)).await;
    }
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
    assert_eq!(world.submit(ask(1)).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_hangs_alone_is_convicted_and_one_that_hangs_in_company_is_not() {
    for company in [false, true] {
        let compute = ScriptedCompute::new(|lane, ordinal| match (lane, ordinal) {
            (Lane::Step, 1) => Script::Hang,
            _ => Script::Run { after: Duration::from_millis(100) },
        });
        let world = World::with(compute, |_| {}, |_| {}).await;
        assert_eq!(world.submit(ask(0)).await.unwrap(), 0);
        let other = company.then(|| world.submit(ask(2)));
        let end = world.submit(ask(1)).await.unwrap_err();
        assert!(matches!(end, Error::Unresponsive { .. }), "{end}");
        if let Some(other) = other {
            assert!(matches!(other.await.unwrap_err(), Error::Unresponsive { .. }));
            assert_eq!(world.submit(ask(1)).await.unwrap(), 1);
        } else {
            let error = world.refused(ask(1));
            assert!(matches!(error, Error::Convicted { .. }), "{error}");
            // Its fault, not the model's: the replacement is there at once.
            let start = Instant::now();
            assert_eq!(world.submit(ask(3)).await.unwrap(), 3);
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        }
        assert_eq!(world.engine.stats().await.unwrap().lanes.lost_threads(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_does_not_return_is_given_up_and_replaced_once() {
    let compute = ScriptedCompute::new(|lane, ordinal| match (lane, ordinal) {
        (Lane::Step, 0 | 1) => Script::Hang,
        _ => Script::Run { after: Duration::from_millis(100) },
    });
    let world = World::with(compute, |_| {}, |_| {}).await;
    let start = Instant::now();
    let end = world.submit(ask(1)).await.unwrap_err();
    assert!(matches!(end, Error::Unresponsive { .. }), "{end}");
    assert!((30..32).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(world.engine.stats().await.unwrap().lanes.lost_threads(), 1);
    assert!(!world.group.stats().healthy, "not ready while a step is out");
    // Its replacement hangs too; after that the model is refused until a thread comes back.
    let end = world.submit(ask(2)).await.unwrap_err();
    assert!(matches!(end, Error::Unresponsive { .. }), "{end}");
    let end = world.submit(ask(3)).await.unwrap_err();
    assert!(matches!(end, Error::LoadFailed { .. }) && end.to_string().contains("restart"), "{end}");
    assert!(!world.group.stats().healthy);
    // Nothing is loaded that would get no thread to step on, however often somebody asks.
    let loads = world.log.loads.load(Ordering::SeqCst);
    for id in 100..120 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let end = world.group.try_submit(ask(id), JobOptions::default());
        let end = match end {
            Ok(ticket) => ticket.await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(end, Error::LoadFailed { .. }), "{end}");
    }
    assert_eq!(world.log.loads.load(Ordering::SeqCst), loads);
    assert!(world.compute.release() && world.compute.release());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.submit(ask(4)).await.unwrap(), 4);
    assert_eq!(world.engine.stats().await.unwrap().lanes.lost_threads(), 0);
    assert!(world.group.stats().healthy);
    let workers = world.group.stats().workers;
    assert!(workers.iter().all(|worker| worker.state != WorkerState::Unresponsive), "{workers:?}");
}

#[tokio::test(start_paused = true)]
async fn one_input_that_hangs_while_it_is_prepared_is_convicted_and_the_others_are_prepared_again() {
    // On real threads: the clock stands still while one is out.
    let engine = Engine::builder().memory_limit(Bytes(1 << 20)).build().unwrap();
    let log = Arc::new(Log::default());
    let group = engine.add(GroupConfig::new("m"), ScriptedLoader::new(&log)).await.unwrap();
    let in_lane = |id| Ask { tokens: 11, ..ask(id) };
    let hangs = Ask { prepare: Preparing::Hangs, ..in_lane(2) };
    let list = vec![in_lane(1), hangs.clone(), in_lane(3)];
    let mut tickets = group.try_submit_all(list, JobOptions::default()).await.unwrap();
    while log.prepared.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(tickets.pop().unwrap().await.unwrap(), 3);
    assert!(matches!(tickets.pop().unwrap().await.unwrap_err(), Error::Unresponsive { .. }));
    assert_eq!(tickets.pop().unwrap().await.unwrap(), 1);
    let again = group.try_submit(hangs, JobOptions::default()).unwrap_err();
    assert!(matches!(again, Error::Convicted { .. }), "{again}");
    assert_eq!(engine.stats().await.unwrap().lanes.prepare.lost, 1);
    log.released.set(()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn whose_job_broke_a_model_does_not_wait_until_it_is_freed() {
    // A header, the model and its end; the job's second try, alone, the same.
    let compute = ScriptedCompute::new(|lane, ordinal| match (lane, ordinal) {
        (Lane::Io, 5) => Script::Run { after: Duration::from_secs(100) },
        _ => Script::Run { after: Duration::from_millis(100) },
    });
    let world = World::with(compute, |_| {}, |_| {}).await;
    let start = Instant::now();
    let end = world.submit(Ask { fault: Fault::Breaks, ..ask(1) }).await.unwrap_err();
    assert!(matches!(end, Error::Crashed { .. }), "{end}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    tokio::time::sleep(Duration::from_secs(101)).await;
    assert_eq!(world.log.freed.load(Ordering::SeqCst), 2, "and it is freed in the end");
}

#[tokio::test(start_paused = true)]
async fn while_a_model_rests_everybody_is_told_how_long_it_still_does() {
    let world = World::with(
        ScriptedCompute::instant(),
        |config| config.first_backoff = Duration::from_secs(100),
        |loader| loader.failures = vec!["no such file"].into(),
    )
    .await;
    let rests = world.submit(ask(1)).await.unwrap_err().retry_after().unwrap();
    let ends = Instant::now() + rests;
    tokio::time::sleep(rests - Duration::from_secs(5)).await;
    let left = ends - Instant::now();
    assert_eq!(world.refused(ask(2)).retry_after(), Some(left));
    assert_eq!(world.group.warm().await.unwrap_err().retry_after(), Some(left));
}
