//! The end of the engine, whatever is under way.

use std::time::Duration;

use pool_core::memory_governor::Account;
use pool_core::{Error, Group, JobOptions};

use crate::defect::with_defect;
use crate::schedules::explore;
use crate::scripted::{Scripted, add, ask, engine, world};
use crate::seen::caller;

#[test]
fn a_drain_that_comes_at_any_moment_loses_nothing() {
    explore(600, || async {
        let (engine, group) = world(0, |_| {}).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        let other = tokio::spawn(caller(group, 10));
        let report = engine.drain(Duration::MAX).await;
        let seen = one.await.unwrap().add(other.await.unwrap());
        seen.assert_equals_but_for_late(&report);
    });
}

/// Asks for the model to be loaded; it is, or it fails to be, or everything is going down.
async fn warm(group: Group<Scripted>) {
    let end = group.warm().await;
    assert!(matches!(end, Ok(()) | Err(Error::ShuttingDown | Error::LoadFailed { .. })), "{end:?}");
}

#[test]
fn a_drain_while_the_model_loads_loses_nothing() {
    explore(600, || async {
        let (engine, group) = world(0, |config| config.workers.min = 1).await;
        let warm = tokio::spawn(warm(group.clone()));
        let one = tokio::spawn(caller(group, 0));
        let report = engine.drain(Duration::MAX).await;
        warm.await.unwrap();
        let seen = one.await.unwrap();
        assert_eq!(seen.failed, 0, "what was accepted is finished");
        seen.assert_equals_but_for_late(&report);
    });
}

#[test]
fn a_drain_while_a_load_fails_loses_nothing() {
    explore(600, || async {
        let (engine, group) = world(1, |_| {}).await;
        let warm = tokio::spawn(warm(group.clone()));
        let one = tokio::spawn(caller(group, 0));
        let report = engine.drain(Duration::MAX).await;
        warm.await.unwrap();
        one.await.unwrap().assert_equals_but_for_late(&report);
    });
}

#[test]
fn a_drains_deadline_may_pass_at_any_moment() {
    explore(600, || async {
        let (engine, group) = world(0, |config| config.workers.max = 2).await;
        let warm = tokio::spawn(warm(group.clone()));
        let one = tokio::spawn(caller(group.clone(), 0));
        let other = tokio::spawn(caller(group, 10));
        let report = engine.drain(Duration::from_secs(3600)).await;
        warm.await.unwrap();
        let seen = one.await.unwrap().add(other.await.unwrap());
        seen.assert_equals_but_for_late(&report);
    });
}

#[test]
fn a_removal_that_comes_at_any_moment_loses_nothing() {
    explore(400, || async {
        let (engine, group) = world(0, |_| {}).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        let other = tokio::spawn(caller(group.clone(), 10));
        let removed = engine.remove(group.model(), Duration::MAX).await.unwrap().unwrap();
        assert!(engine.stats().await.unwrap().models.is_empty());
        let seen = one.await.unwrap().add(other.await.unwrap());
        let report = engine.drain(Duration::MAX).await;
        assert_eq!(report.total, removed.counts);
        seen.assert_equals_but_for_late(&report);
    });
}

#[test]
fn whoever_waits_for_memory_hears_of_the_end_whenever_it_comes() {
    for removed in [false, true] {
        explore(300, move || async move {
            let (engine, group) = world(0, |_| {}).await;
            let held = engine.governor().try_reserve(Account::Inputs, engine.governor().limit()).unwrap();
            let waits = tokio::spawn({
                let group = group.clone();
                async move { group.submit(ask(1), JobOptions::default()).await.map(drop) }
            });
            if removed {
                engine.remove(group.model(), Duration::MAX).await.unwrap();
            } else {
                engine.drain(Duration::MAX).await;
            }
            let end = waits.await.unwrap();
            assert!(matches!(end, Err(Error::Removed { .. } | Error::ShuttingDown)), "{end:?}");
            drop(held);
        });
    }
}

#[test]
fn a_group_whose_task_panics_answers_everybody_and_can_be_removed_at_any_moment() {
    explore(600, || async {
        let engine = engine(1 << 20);
        let (group, _) = with_defect(add(&engine, "m", 0..0, |_| {})).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        tokio::task::yield_now().await;
        let removed = engine.remove(group.model(), Duration::MAX).await.unwrap();
        assert!(removed.is_some() && engine.stats().await.unwrap().models.is_empty());
        let seen = one.await.unwrap();
        add(&engine, "m", 0..0, |_| {}).await;
        seen.assert_equals_but_for_late(&engine.drain(Duration::MAX).await);
    });
}
