//! One budget for all models.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_core::compute::ScriptedCompute;
use pool_core::worker_state::GroupState;
use pool_core::{Bytes, Engine, Error, Footprint, Group, GroupConfig, JobOptions, Workers};

use crate::scripted::{Log, Scripted, ScriptedLoader, ask, engine};

async fn model(engine: &Engine, name: &str, bytes: u64) -> (Group<Scripted>, Arc<Log>) {
    let log = Arc::new(Log::default());
    let mut loader = ScriptedLoader::new(&log);
    loader.footprint = Footprint { weights: Bytes(bytes), working_set: Bytes(10) };
    (engine.add(GroupConfig::new(name), loader).await.unwrap(), log)
}

#[tokio::test(start_paused = true)]
async fn a_load_evicts_the_least_recently_used() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(1_000));
    let (old, old_log) = model(&engine, "old", 400).await;
    let (recent, recent_log) = model(&engine, "recent", 400).await;
    let (new, _) = model(&engine, "new", 400).await;
    let one = |group: &Group<Scripted>, id| group.try_submit(ask(id), JobOptions::default()).unwrap();
    one(&old, 1).await.unwrap();
    one(&recent, 2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    one(&recent, 3).await.unwrap();
    one(&new, 4).await.unwrap();
    assert_eq!(old.stats().state, GroupState::Absent);
    assert_eq!(recent.stats().state, GroupState::Resident);
    assert_eq!((old_log.freed.load(Ordering::SeqCst), recent_log.freed.load(Ordering::SeqCst)), (1, 0));
    let memory = engine.stats().await.unwrap().memory;
    assert!(memory.peak <= memory.limit, "the budget is never exceeded: {memory:?}");
    // It comes back when it is wanted, after the others' minimum residence.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(one(&old, 5).await.unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_busy_model_is_drained_for_one_that_waits() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(1_000));
    let (busy, _) = model(&engine, "busy", 600).await;
    let (wanting, _) = model(&engine, "wanting", 600).await;
    let mut long = ask(1);
    long.steps = 100;
    let running = busy.try_submit(long, JobOptions::default()).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let wanted = wanting.try_submit(ask(2), JobOptions::default()).unwrap();
    assert_eq!(wanted.await.unwrap(), 2);
    assert_eq!(running.await.unwrap(), 1, "it was drained, not cut off");
}

#[tokio::test(start_paused = true)]
async fn a_model_larger_than_the_budget_is_told_so() {
    let engine = engine(&ScriptedCompute::instant(), Bytes(1_000));
    let (large, log) = model(&engine, "large", 5_000_000).await;
    let error = large.warm().await.unwrap_err();
    assert!(matches!(error, Error::LoadFailed { .. }) && error.to_string().contains("budget"), "{error}");
    assert_eq!(log.loads.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_further_worker_takes_only_what_is_free() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(425));
    let log = Arc::new(Log::default());
    let mut loader = ScriptedLoader::new(&log);
    loader.footprint = Footprint { weights: Bytes(400), working_set: Bytes(20) };
    let mut config = GroupConfig::new("m");
    config.workers = Workers { min: 2, max: 2 };
    let group = engine.add(config, loader).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(group.stats().workers.len(), 1);
    assert_eq!(log.loads.load(Ordering::SeqCst), 1);
    let mut small = ask(1);
    small.tokens = 2;
    assert_eq!(group.try_submit(small, JobOptions::default()).unwrap().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_can_never_be_had_is_told_so_and_holds_up_nobody() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(1_000));
    let log = Arc::new(Log::default());
    let mut loader = ScriptedLoader::new(&log);
    loader.footprint = Footprint { weights: Bytes(500), working_set: Bytes(10) };
    let mut config = GroupConfig::new("pinned");
    config.workers = Workers { min: 1, max: 1 };
    let _pinned = engine.add(config, loader).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (large, _) = model(&engine, "large", 600).await;
    let (small, _) = model(&engine, "small", 200).await;
    let waits = large.try_submit(ask(1), JobOptions::default()).unwrap();
    assert_eq!(small.try_submit(ask(2), JobOptions::default()).unwrap().await.unwrap(), 2);
    let error = waits.await.unwrap_err();
    assert!(matches!(error, Error::LoadFailed { .. }) && error.to_string().contains("hold"), "{error}");
}
