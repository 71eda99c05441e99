//! Models that make room: when told to, while they load, and for one another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pool_core::{Group, JobOptions};

use crate::schedules::{explore, explore_with_clock, let_time_pass};
use crate::scripted::{MODEL_BYTES, Scripted, add, ask, engine, world};
use crate::seen::{Seen, caller};

#[test]
fn an_eviction_that_comes_at_any_moment_loses_nothing() {
    explore(600, || async {
        let (engine, group) = world(0, |config| config.workers.max = 2).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        let evictor = group.clone();
        let evict = tokio::spawn(async move {
            for _ in 0..2 {
                evictor.evict();
                tokio::task::yield_now().await;
            }
        });
        let seen = one.await.unwrap();
        evict.await.unwrap();
        assert_eq!(seen.failed + seen.refused, 0);
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}

#[test]
fn an_eviction_while_a_load_fails_loses_nothing() {
    explore(600, || async {
        let (engine, group) = world(1, |_| {}).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        let warmer = group.clone();
        // It comes up, or fails to, or is called off and then comes up.
        let warm = tokio::spawn(async move { drop(warmer.warm().await) });
        for _ in 0..2 {
            group.evict();
            tokio::task::yield_now().await;
        }
        let seen = one.await.unwrap();
        warm.await.unwrap();
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}

/// Submits jobs one after another, each waiting for the model that the one before may have been evicted from.
async fn in_turn(group: Group<Scripted>, base: u32) -> Seen {
    let mut seen = Seen::default();
    for id in base..base + 2 {
        match group.submit(ask(id), JobOptions::default()).await {
            Ok(ticket) => seen.note(ticket.await, id),
            Err(_) => seen.refused += 1,
        }
    }
    seen
}

#[test]
fn two_models_that_do_not_fit_together_take_turns() {
    explore_with_clock(400, || async {
        // For one of the models and the inputs of both.
        let engine = engine(MODEL_BYTES + 50);
        let (red, _) = add(&engine, "red", 0..0, |_| {}).await;
        let (blue, _) = add(&engine, "blue", 0..0, |_| {}).await;
        let enough = Arc::new(AtomicBool::new(false));
        let clock = tokio::spawn(let_time_pass(Duration::from_secs(2), Arc::clone(&enough)));
        let one = tokio::spawn(in_turn(red.clone(), 0));
        let seen = in_turn(blue, 10).await.add(one.await.unwrap());
        enough.store(true, Ordering::SeqCst);
        clock.await.unwrap();
        let answered = seen.completed + seen.failed + seen.refused;
        assert_eq!(answered, 4, "each has its turn, or hears that there is no memory: {seen:?}");
        let memory = engine.stats().await.unwrap().memory;
        assert!(memory.peak <= memory.limit, "the budget is never exceeded: {memory:?}");
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}
