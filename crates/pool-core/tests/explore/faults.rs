//! Models that panic, and loads that fail.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_core::{Error, Group, JobOptions};

use crate::schedules::explore;
use crate::scripted::{Ask, Scripted, add, ask, engine, world};
use crate::seen::{Seen, caller};

#[test]
fn a_panic_costs_nobody_but_the_job_that_panics() {
    explore(400, || async {
        let (engine, group) = world(0, |_| {}).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        let killer = group.try_submit(Ask { panics: true, ..ask(50) }, JobOptions::default()).unwrap();
        assert!(matches!(killer.await, Err(Error::Crashed { .. })));
        let mut seen = one.await.unwrap();
        assert_eq!(seen.failed + seen.refused, 0, "jobs beside it are run again");
        seen.failed += 1;
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}

#[test]
fn whoever_waits_for_a_load_that_fails_hears_of_it() {
    explore(400, || async {
        let (engine, group) = world(1, |_| {}).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        let other = tokio::spawn(caller(group, 10));
        let seen = one.await.unwrap().add(other.await.unwrap());
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}

/// Submits a job that kills whoever computes it. How it ended, if it was let in.
async fn kill(group: &Group<Scripted>, seen: &mut Seen) -> Option<Error> {
    let killer = Ask { panics: true, known: true, ..ask(50) };
    match group.try_submit(killer, JobOptions::default()) {
        Ok(ticket) => {
            seen.failed += 1;
            Some(ticket.await.unwrap_err())
        }
        Err(error) => {
            seen.refused += 1;
            assert!(matches!(error, Error::Convicted { .. }), "{error}");
            None
        }
    }
}

#[test]
fn whoever_kills_alone_is_convicted_for_all_who_ask_the_same() {
    explore(600, || async {
        let engine = engine(1 << 20);
        let (group, log) = add(&engine, "scripted", 0..0, |_| {}).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        let again = group.clone();
        let again = tokio::spawn(async move {
            let mut seen = Seen::default();
            if let Some(end) = kill(&again, &mut seen).await {
                assert!(matches!(end, Error::Crashed { .. }), "{end}");
            }
            seen
        });
        let mut seen = Seen::default();
        if let Some(end) = kill(&group, &mut seen).await {
            assert!(matches!(end, Error::Crashed { .. }), "{end}");
        }
        // Whoever has heard of its crash, or of its conviction, knows that it is refused from now on.
        assert!(kill(&group, &mut seen).await.is_none(), "it was let in again");
        let seen = seen.add(again.await.unwrap()).add(one.await.unwrap());
        let panics = log.panics.load(Ordering::SeqCst);
        assert!((1..=2).contains(&panics), "once in company at most, once alone: {panics}");
        assert_eq!(seen.completed, 2, "jobs beside it are run again");
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}

#[test]
fn a_second_worker_that_fails_to_load_disturbs_nobody() {
    explore(600, || async {
        let engine = engine(1 << 20);
        let both = |config: &mut pool_core::GroupConfig| (config.workers.min, config.workers.max) = (2, 2);
        let (group, log) = add(&engine, "scripted", 1..usize::MAX, both).await;
        group.warm().await.unwrap();
        let one = tokio::spawn(caller(group.clone(), 0));
        let seen = caller(group.clone(), 10).await.add(one.await.unwrap());
        assert_eq!(seen.failed + seen.refused, 0, "the first serves");
        seen.assert_equals(&engine.drain(Duration::MAX).await);
        let loads = log.loads.load(Ordering::SeqCst);
        assert!(loads <= 2, "the second is not tried again and again: {loads}");
    });
}

#[test]
fn a_worker_that_dies_while_another_fails_to_load_is_replaced_or_missed() {
    explore(600, || async {
        let engine = engine(1 << 20);
        let both = |config: &mut pool_core::GroupConfig| (config.workers.min, config.workers.max) = (2, 2);
        let (group, _) = add(&engine, "scripted", 1..3, both).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        let mut seen = Seen::default();
        let killer = Ask { panics: true, known: true, ..ask(50) };
        match group.try_submit(killer, JobOptions::default()) {
            Ok(ticket) => seen.note(ticket.await, 50),
            Err(_) => seen.refused += 1,
        }
        let seen = seen.add(one.await.unwrap());
        assert!(seen.failed + seen.refused >= 1, "the killer does not succeed");
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}
