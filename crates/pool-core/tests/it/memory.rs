//! One budget for all models.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_core::compute::ScriptedCompute;
use pool_core::memory_governor::{Account, Pressure};
use pool_core::worker_state::GroupState;
use pool_core::{Bytes, Engine, Error, Footprint, Group, GroupConfig, JobOptions, Overload, Workers};

use crate::scripted::{Ask, Log, Scripted, ScriptedLoader, ask, engine};

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
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(450));
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

#[tokio::test(start_paused = true)]
async fn models_that_fill_the_budget_leave_inputs_their_share() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(16_000));
    // A sixteenth is for inputs: 1,000.
    let (full, _) = model(&engine, "full", 14_990).await;
    let (over, _) = model(&engine, "over", 14_991).await;
    full.warm().await.unwrap();
    assert_eq!(engine.governor().pressure(), Pressure::Critical);
    let submit = |id, tokens| full.try_submit(Ask { tokens, ..ask(id) }, JobOptions::default());
    let fits = [submit(1, 600).unwrap(), submit(2, 400).unwrap()];
    let refused = submit(3, 10).unwrap_err();
    assert!(matches!(refused, Error::Overloaded { why: Overload::Memory, .. }), "{refused}");
    for ticket in fits {
        ticket.await.unwrap();
    }
    submit(3, 10).unwrap().await.unwrap();
    let error = over.warm().await.unwrap_err();
    assert!(matches!(error, Error::LoadFailed { .. }), "{error}");
    let memory = engine.stats().await.unwrap().memory;
    assert!(memory.peak <= memory.limit);
}

#[tokio::test(start_paused = true)]
async fn idle_models_go_for_inputs_that_were_refused() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(16_000));
    let (idle, _) = model(&engine, "idle", 7_000).await;
    let (busy, _) = model(&engine, "busy", 7_500).await;
    idle.warm().await.unwrap();
    busy.warm().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let running = busy.try_submit(Ask { steps: 100, ..ask(1) }, JobOptions::default()).unwrap();
    let large = || busy.try_submit(Ask { tokens: 5_000, ..ask(2) }, JobOptions::default());
    let refused = large().unwrap_err();
    assert!(matches!(refused, Error::Overloaded { why: Overload::Memory, .. }), "{refused}");
    tokio::time::sleep(refused.retry_after().unwrap()).await;
    assert_eq!(idle.stats().state, GroupState::Absent);
    assert_eq!(busy.stats().state, GroupState::Resident, "what has work stays");
    large().unwrap().await.unwrap();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_model_that_is_too_young_to_go_goes_for_inputs_once_it_is_not() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(16_000));
    let (idle, _) = model(&engine, "idle", 7_000).await;
    let (asked, _) = model(&engine, "asked", 7_500).await;
    asked.warm().await.unwrap();
    idle.warm().await.unwrap();
    let running = asked.try_submit(Ask { steps: 100, ..ask(1) }, JobOptions::default()).unwrap();
    let large = asked.submit(Ask { tokens: 5_000, ..ask(2) }, JobOptions::default());
    let large = tokio::time::timeout(Duration::from_secs(7), large).await;
    assert_eq!(idle.stats().state, GroupState::Absent);
    large.expect("nobody waits for ever").unwrap().await.unwrap();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_model_stays_where_the_memory_was_freed_before_its_time() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(16_000));
    let (asked, _) = model(&engine, "asked", 100).await;
    let (idle, _) = model(&engine, "idle", 5_000).await;
    asked.warm().await.unwrap();
    idle.warm().await.unwrap();
    let held = engine.governor().try_reserve(Account::Inputs, Bytes(8_000)).unwrap();
    let large = tokio::spawn({
        let asked = asked.clone();
        async move { asked.submit(Ask { tokens: 5_000, ..ask(1) }, JobOptions::default()).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(held);
    large.await.unwrap().unwrap().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(idle.stats().state, GroupState::Resident);
}

#[tokio::test(start_paused = true)]
async fn a_load_waits_for_inputs_for_as_long_as_they_go() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_secs(1)), Bytes(16_000));
    let log = Arc::new(Log::default());
    let mut loader = ScriptedLoader::new(&log);
    loader.footprint = Footprint { weights: Bytes(1_000), working_set: Bytes(0) };
    loader.room = pool_core::Room::jobs(1);
    let config = GroupConfig { workers: Workers { min: 1, max: 1 }, ..GroupConfig::new("pinned") };
    let pinned = engine.add(config, loader).await.unwrap();
    // Each takes three seconds and holds 1,000 bytes; together they fill the budget.
    let inputs: Vec<_> = (0..12)
        .map(|id| {
            pinned.try_submit(Ask { tokens: 1_000, steps: 3, ..ask(id) }, JobOptions::default()).unwrap()
        })
        .collect();
    let (comes, _) = model(&engine, "comes", 10_000).await;
    let start = tokio::time::Instant::now();
    let warm = tokio::spawn(async move { comes.warm().await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    // Meanwhile no others take their place.
    let more = pinned.try_submit(Ask { tokens: 1_000, ..ask(50) }, JobOptions::default()).unwrap_err();
    assert!(matches!(more, Error::Overloaded { why: Overload::Memory, .. }), "{more}");
    warm.await.unwrap().unwrap();
    assert!(start.elapsed() > Duration::from_secs(10), "{:?}", start.elapsed());
    for ticket in inputs {
        ticket.await.unwrap();
    }
    pinned.try_submit(Ask { tokens: 1_000, ..ask(51) }, JobOptions::default()).unwrap().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_model_goes_earlier_where_memory_is_short() {
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(16_000));
    let log = Arc::new(Log::default());
    let mut loader = ScriptedLoader::new(&log);
    loader.footprint = Footprint { weights: Bytes(4_000), working_set: Bytes(10) };
    let mut config = GroupConfig::new("idle");
    config.idle_evict_after = Some(Duration::from_secs(400));
    let idle = engine.add(config, loader).await.unwrap();
    idle.warm().await.unwrap();
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert_eq!(idle.stats().state, GroupState::Resident, "there is no need");
    let (other, _) = model(&engine, "other", 9_000).await;
    other.warm().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(idle.stats().state, GroupState::Absent);
    assert_eq!(other.stats().state, GroupState::Resident, "it is kept until its memory is wanted");
}
