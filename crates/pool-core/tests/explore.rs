//! The queue, the worker's loop and the orchestrator under a schedule explorer: thousands of random interleavings.
//!
//! `cargo test -p pool-core --features shuttle --test explore`. The explorer models no time: whatever has a deadline may
//! expire at any moment, which is how expiry is explored here.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

extern crate shuttle_tokio as tokio;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pool_core::compute::{LanesConfig, ScriptedCompute};
use pool_core::{
    Bytes, Cost, Counts, DrainReport, Engine, Error, Footprint, Group, GroupConfig, JobId, JobOptions,
    LoadError, Loader, Model, ModelError, Preparation, Prepared, Room, Step, StepError,
};

/// What a job does.
#[derive(Clone, Copy, Debug)]
struct Ask {
    id: u32,
    steps: u32,
    events: bool,
    panics: bool,
    in_lane: bool,
}

fn ask(id: u32) -> Ask {
    Ask { id, steps: 1 + id % 2, events: false, panics: false, in_lane: id % 2 == 1 }
}

#[derive(Debug)]
struct Scripted {
    active: BTreeMap<JobId, (Ask, u32)>,
}

impl Model for Scripted {
    type Request = Ask;
    type Prepared = ();
    type Output = u32;
    type Event = u32;

    fn estimate(request: &Ask) -> Cost {
        Cost::new(10 + u64::from(request.in_lane), 10)
    }

    fn room(&self) -> Room {
        Room::jobs(2 - self.active.len().min(2))
    }

    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
        for job in step.left().to_vec() {
            assert!(self.active.remove(&job).is_some(), "only active jobs leave");
        }
        for job in step.take_joined() {
            assert!(job.prepared().is_some());
            assert!(self.active.insert(job.id(), (*job.request(), 0)).is_none(), "a job joins once");
        }
        assert!(self.active.len() <= 2, "the room is kept");
        assert!(!self.active.values().any(|(ask, _)| ask.panics), "told to");
        let jobs: Vec<JobId> = self.active.keys().copied().filter(|job| !step.is_paused(*job)).collect();
        for job in jobs {
            let (ask, done) = self.active.get_mut(&job).unwrap();
            *done += 1;
            if ask.events {
                step.emit(job, *done);
            }
            if *done >= ask.steps {
                let id = ask.id;
                self.active.remove(&job);
                step.finish(job, Ok(id));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct ScriptedLoader {
    failures: AtomicUsize,
}

impl Loader for ScriptedLoader {
    type Model = Scripted;

    fn footprint(&self) -> Result<Footprint, LoadError> {
        Ok(Footprint { weights: Bytes(100), working_set: Bytes(10) })
    }

    fn load(&self) -> Result<Scripted, LoadError> {
        let failed =
            self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match failed {
            Ok(_) => Err(LoadError::new("told to fail")),
            Err(_) => Ok(Scripted { active: BTreeMap::new() }),
        }
    }

    fn prepare(&self, request: &Ask) -> Result<Prepared<()>, ModelError> {
        Ok(Prepared { value: (), cost: Scripted::estimate(request) })
    }

    fn preparation(&self, estimate: Cost) -> Preparation {
        if estimate.tokens.get() % 2 == 1 { Preparation::Lane } else { Preparation::Inline }
    }
}

async fn world(failures: usize, configure: impl FnOnce(&mut GroupConfig)) -> (Engine, Group<Scripted>) {
    // The explorer lets every timer fire at once, so the watch over overdue steps is off.
    let lanes = LanesConfig { unresponsive_after: Duration::MAX, ..LanesConfig::default() };
    let engine = Engine::builder()
        .memory_limit(Bytes(1 << 20))
        .lanes(lanes)
        .compute(ScriptedCompute::instant())
        .build()
        .unwrap();
    let mut config = GroupConfig::new("scripted");
    config.first_backoff = Duration::ZERO;
    configure(&mut config);
    let group = engine.add(config, ScriptedLoader { failures: AtomicUsize::new(failures) }).await.unwrap();
    (engine, group)
}

/// What the callers themselves saw.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    completed: u64,
    expired: u64,
    failed: u64,
    refused: u64,
    dropped: u64,
}

impl Seen {
    fn note(&mut self, end: Result<u32, Error>, id: u32) {
        match end {
            Ok(answer) => {
                assert_eq!(answer, id, "each caller gets its own answer");
                self.completed += 1;
            }
            Err(Error::DeadlineExceeded { .. }) => self.expired += 1,
            Err(Error::Lost) => panic!("an answer was lost"),
            Err(_) => self.failed += 1,
        }
    }

    fn add(mut self, other: Self) -> Self {
        self.completed += other.completed;
        self.expired += other.expired;
        self.failed += other.failed;
        self.refused += other.refused;
        self.dropped += other.dropped;
        self
    }

    /// The engine's account equals the callers': a dropped ticket counts as cancelled, or as whatever its job had come to
    /// a moment before.
    fn assert_equals(&self, report: &DrainReport) {
        let Counts { accepted, completed, cancelled, expired, failed, refused } = report.total;
        assert_eq!(accepted, completed + cancelled + expired + failed, "every accepted job has one end");
        assert_eq!(accepted, self.completed + self.expired + self.failed + self.dropped);
        assert_eq!(refused, self.refused);
        assert!(completed >= self.completed && completed <= self.completed + self.dropped);
        assert!(expired >= self.expired && failed >= self.failed && cancelled <= self.dropped);
    }
}

/// `EXPLORE_FACTOR=50` looks at fifty times as many schedules.
fn explore(
    iterations: usize,
    scenario: impl Fn() -> shuttle::future::JoinHandle<()> + Send + Sync + 'static,
) {
    let factor: usize = std::env::var("EXPLORE_FACTOR").map_or(1, |factor| factor.parse().expect("a number"));
    let iterations = iterations * factor;
    let run = move || shuttle::future::block_on(scenario()).unwrap();
    let run = Arc::new(run);
    let random = Arc::clone(&run);
    shuttle::check_random(move || random(), iterations);
    shuttle::check_pct(move || run(), iterations, 3);
}

fn spawn<F: Future<Output = ()> + Send + 'static>(scenario: F) -> shuttle::future::JoinHandle<()> {
    shuttle::future::spawn(scenario)
}

/// Submits some jobs, drops every third ticket at some moment, awaits the rest.
async fn caller(group: Group<Scripted>, base: u32) -> Seen {
    let mut seen = Seen::default();
    let mut held = Vec::new();
    for id in base..base + 3 {
        match group.try_submit(ask(id), JobOptions::default()) {
            Ok(ticket) if id % 3 == 2 => held.push((id, None, Some(ticket))),
            Ok(ticket) => held.push((id, Some(ticket), None)),
            Err(_) => seen.refused += 1,
        }
    }
    for (id, awaited, dropped) in held {
        if dropped.is_some() {
            tokio::task::yield_now().await;
            seen.dropped += 1;
            drop(dropped);
        }
        if let Some(ticket) = awaited {
            seen.note(ticket.await, id);
        }
    }
    seen
}

#[test]
fn jobs_end_once_while_others_are_cancelled() {
    explore(600, || {
        spawn(async {
            let (engine, group) = world(0, |_| {}).await;
            let one = tokio::spawn(caller(group.clone(), 0));
            let other = tokio::spawn(caller(group.clone(), 10));
            let seen = one.await.unwrap().add(other.await.unwrap());
            assert_eq!(seen.failed + seen.refused, 0);
            seen.assert_equals(&engine.drain(Duration::MAX).await);
        })
    });
}

#[test]
fn a_drain_that_comes_at_any_moment_loses_nothing() {
    explore(600, || {
        spawn(async {
            let (engine, group) = world(0, |_| {}).await;
            let one = tokio::spawn(caller(group.clone(), 0));
            let other = tokio::spawn(caller(group, 10));
            let report = engine.drain(Duration::MAX).await;
            let seen = one.await.unwrap().add(other.await.unwrap());
            // What was refused after the report was made is not in it.
            let late = seen.refused - report.total.refused;
            Seen { refused: seen.refused - late, ..seen }.assert_equals(&report);
        })
    });
}

#[test]
fn a_removal_that_comes_at_any_moment_loses_nothing() {
    explore(400, || {
        spawn(async {
            let (engine, group) = world(0, |_| {}).await;
            let one = tokio::spawn(caller(group.clone(), 0));
            let other = tokio::spawn(caller(group.clone(), 10));
            let removed = engine.remove(group.model(), Duration::MAX).await.unwrap().unwrap();
            assert!(engine.stats().await.unwrap().models.is_empty());
            let seen = one.await.unwrap().add(other.await.unwrap());
            let report = engine.drain(Duration::MAX).await;
            assert_eq!(report.total, removed.counts);
            let late = seen.refused - report.total.refused;
            Seen { refused: seen.refused - late, ..seen }.assert_equals(&report);
        })
    });
}

#[test]
fn an_eviction_that_comes_at_any_moment_loses_nothing() {
    explore(600, || {
        spawn(async {
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
        })
    });
}

#[test]
fn a_panic_costs_nobody_but_the_job_that_panics() {
    explore(400, || {
        spawn(async {
            let (engine, group) = world(0, |_| {}).await;
            let one = tokio::spawn(caller(group.clone(), 0));
            let killer = group.try_submit(Ask { panics: true, ..ask(50) }, JobOptions::default()).unwrap();
            assert!(matches!(killer.await, Err(Error::Crashed { .. })));
            let mut seen = one.await.unwrap();
            assert_eq!(seen.failed + seen.refused, 0, "jobs beside it are run again");
            seen.failed += 1;
            seen.assert_equals(&engine.drain(Duration::MAX).await);
        })
    });
}

#[test]
fn whoever_waits_for_a_load_that_fails_hears_of_it() {
    explore(400, || {
        spawn(async {
            let (engine, group) = world(1, |_| {}).await;
            let one = tokio::spawn(caller(group.clone(), 0));
            let other = tokio::spawn(caller(group, 10));
            let seen = one.await.unwrap().add(other.await.unwrap());
            seen.assert_equals(&engine.drain(Duration::MAX).await);
        })
    });
}

#[test]
fn a_job_may_expire_at_any_moment() {
    explore(600, || {
        spawn(async {
            let (engine, group) = world(0, |_| {}).await;
            let one = tokio::spawn(caller(group.clone(), 0));
            let mut seen = Seen::default();
            for id in 20..23 {
                let options = JobOptions::default().deadline(Duration::from_secs(3600));
                match group.try_submit(ask(id), options) {
                    Ok(ticket) => seen.note(ticket.await, id),
                    Err(_) => seen.refused += 1,
                }
            }
            let seen = seen.add(one.await.unwrap());
            seen.assert_equals(&engine.drain(Duration::MAX).await);
        })
    });
}

#[test]
fn events_arrive_in_order_however_slowly_they_are_read() {
    explore(400, || {
        spawn(async {
            let (engine, group) =
                world(0, |config| config.stall_limit = Duration::from_secs(400 * 86_400)).await;
            let speaks = Ask { events: true, steps: 4, ..ask(2) };
            let (ticket, mut events) =
                group.try_submit_streaming(speaks, JobOptions::default(), 1.try_into().unwrap()).unwrap();
            let reader = tokio::spawn(async move {
                let mut heard = Vec::new();
                while let Some(event) = events.recv().await {
                    heard.push(event);
                    tokio::task::yield_now().await;
                }
                heard
            });
            let one = tokio::spawn(caller(group, 0));
            assert_eq!(ticket.await.unwrap(), 2);
            assert_eq!(reader.await.unwrap(), [1, 2, 3, 4]);
            let mut seen = one.await.unwrap();
            seen.completed += 1;
            seen.assert_equals(&engine.drain(Duration::MAX).await);
        })
    });
}

#[test]
fn a_paused_job_that_is_cancelled_at_any_moment_makes_room() {
    explore(400, || {
        spawn(async {
            let (engine, group) =
                world(0, |config| config.stall_limit = Duration::from_secs(400 * 86_400)).await;
            let speaks = |id| {
                let speaks = Ask { events: true, steps: 4, ..ask(id) };
                group.try_submit_streaming(speaks, JobOptions::default(), 1.try_into().unwrap()).unwrap()
            };
            // Two that nobody reads take up all the room.
            let (one, other) = (speaks(2), speaks(4));
            let waits = group.try_submit(ask(6), JobOptions::default()).unwrap();
            tokio::task::yield_now().await;
            drop(one.0);
            let mut seen = Seen { dropped: 2, ..Seen::default() };
            seen.note(waits.await, 6);
            drop(other.0);
            seen.assert_equals(&engine.drain(Duration::MAX).await);
            drop((one.1, other.1));
        })
    });
}

#[test]
fn waiting_for_room_never_misses_it() {
    explore(400, || {
        spawn(async {
            let (engine, group) = world(0, |config| config.limits.jobs = 1).await;
            let mut tasks = Vec::new();
            for id in 0..3 {
                let group = group.clone();
                tasks.push(tokio::spawn(async move {
                    let ticket = group.submit(ask(id), JobOptions::default()).await.unwrap();
                    assert_eq!(ticket.await.unwrap(), id);
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(engine.drain(Duration::MAX).await.total.completed, 3);
        })
    });
}
