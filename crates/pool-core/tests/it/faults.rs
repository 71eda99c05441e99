//! Panics, broken models, loads that fail, steps that never return.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_core::compute::{Lane, Scripted as Script, ScriptedCompute};
use pool_core::worker_state::{GroupState, WorkerState};
use pool_core::{Error, JobOptions};
use tokio::time::Instant;

use crate::scripted::{Fault, LARGE, World, ask};

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
    let mut breaks = ask(1);
    breaks.fault = Fault::Breaks;
    // Alone, the job that breaks it is convicted; the next of its kind is another input.
    let end = world.submit(breaks).await.unwrap_err();
    assert!(matches!(&end, Error::Crashed { message, .. } if message.contains("told to break")), "{end}");
    assert_eq!(world.submit(ask(9)).await.unwrap(), 9);
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
    assert!(matches!(end, Error::Unavailable { .. }), "{end}");
    assert!(!world.group.stats().healthy);
    assert!(world.compute.release() && world.compute.release());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.submit(ask(4)).await.unwrap(), 4);
    assert_eq!(world.engine.stats().await.unwrap().lanes.lost_threads(), 0);
    assert!(world.group.stats().healthy);
    let workers = world.group.stats().workers;
    assert!(workers.iter().all(|worker| worker.state != WorkerState::Unresponsive), "{workers:?}");
}
