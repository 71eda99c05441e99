//! A model that does as its jobs say, and engines that hold it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pool_core::compute::{LanesConfig, ScriptedCompute};
use pool_core::{
    Bytes, Cost, Engine, Fingerprint, Footprint, Group, GroupConfig, JobId, LoadError, Loader, Model,
    ModelError, Preparation, Prepared, Room, Step, StepError,
};

use crate::schedules::require;

/// What a job does.
#[derive(Clone, Copy, Hash, Debug)]
pub(crate) struct Ask {
    pub(crate) id: u32,
    pub(crate) steps: u32,
    pub(crate) events: bool,
    pub(crate) panics: bool,
    pub(crate) in_lane: bool,
    /// Whether it has a fingerprint: equal ones are joined, and one that kills is known again.
    pub(crate) known: bool,
}

pub(crate) fn ask(id: u32) -> Ask {
    Ask { id, steps: 1 + id % 2, events: false, panics: false, in_lane: id % 2 == 1, known: false }
}

/// What all workers of a group have done.
#[derive(Default, Debug)]
pub(crate) struct Log {
    /// Loads that were begun.
    pub(crate) loads: AtomicUsize,
    /// Jobs that were brought to their end.
    pub(crate) finished: AtomicUsize,
    /// Steps that panicked.
    pub(crate) panics: AtomicUsize,
}

#[derive(Debug)]
pub(crate) struct Scripted {
    active: BTreeMap<JobId, (Ask, u32)>,
    log: Arc<Log>,
}

impl Model for Scripted {
    type Request = Ask;
    type Prepared = ();
    type Output = u32;
    type Event = u32;

    fn estimate(request: &Ask) -> Cost {
        Cost::new(10 + u64::from(request.in_lane), 10)
    }

    fn fingerprint(request: &Ask) -> Option<Fingerprint> {
        request.known.then(|| Fingerprint::of(request))
    }

    fn room(&self) -> Room {
        Room::jobs(2 - self.active.len().min(2))
    }

    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
        for job in step.left().to_vec() {
            require(self.active.remove(&job).is_some(), "only active jobs leave");
        }
        for job in step.take_joined() {
            require(job.prepared().is_some(), "a job that joins is prepared");
            require(self.active.insert(job.id(), (*job.request(), 0)).is_none(), "a job joins once");
        }
        require(self.active.len() <= 2, "the room is kept");
        if self.active.values().any(|(ask, _)| ask.panics) {
            self.log.panics.fetch_add(1, Ordering::SeqCst);
            panic!("told to");
        }
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
                self.log.finished.fetch_add(1, Ordering::SeqCst);
                step.finish(job, Ok(id));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct ScriptedLoader {
    /// Which loads fail, counted from 0.
    failing: Range<usize>,
    log: Arc<Log>,
}

impl ScriptedLoader {
    pub(crate) fn new(failing: Range<usize>, log: &Arc<Log>) -> Self {
        Self { failing, log: Arc::clone(log) }
    }
}

/// What a model with one worker takes.
pub(crate) const MODEL_BYTES: u64 = WEIGHTS + WORKING_SET;
const WEIGHTS: u64 = 100;
const WORKING_SET: u64 = 10;

impl Loader for ScriptedLoader {
    type Model = Scripted;

    fn footprint(&self) -> Result<Footprint, LoadError> {
        Ok(Footprint { weights: Bytes(WEIGHTS), working_set: Bytes(WORKING_SET) })
    }

    fn load(&self) -> Result<Scripted, LoadError> {
        let ordinal = self.log.loads.fetch_add(1, Ordering::SeqCst);
        if self.failing.contains(&ordinal) {
            return Err(LoadError::new("told to fail"));
        }
        Ok(Scripted { active: BTreeMap::new(), log: Arc::clone(&self.log) })
    }

    fn prepare(&self, request: &Ask) -> Result<Prepared<()>, ModelError> {
        Ok(Prepared { value: (), cost: Scripted::estimate(request) })
    }

    fn preparation(&self, estimate: Cost) -> Preparation {
        if estimate.tokens.get() % 2 == 1 { Preparation::Lane } else { Preparation::Inline }
    }
}

/// An engine that has so much memory.
pub(crate) fn engine(memory: u64) -> Engine {
    // The explorer lets every timer fire at once, so the watch over overdue steps is off.
    let lanes = LanesConfig { unresponsive_after: Duration::MAX, ..LanesConfig::default() };
    let compute = ScriptedCompute::instant();
    Engine::builder().memory_limit(Bytes(memory)).lanes(lanes).compute(compute).build().unwrap()
}

/// Adds a model of which these loads fail.
pub(crate) async fn add(
    engine: &Engine,
    name: &str,
    failing: Range<usize>,
    configure: impl FnOnce(&mut GroupConfig),
) -> (Group<Scripted>, Arc<Log>) {
    let mut config = GroupConfig::new(name);
    config.first_backoff = Duration::ZERO;
    configure(&mut config);
    let log = Arc::new(Log::default());
    let group = engine.add(config, ScriptedLoader::new(failing, &log)).await.unwrap();
    (group, log)
}

/// One model in an engine with memory enough, whose first `failures` loads fail.
pub(crate) async fn world(
    failures: usize,
    configure: impl FnOnce(&mut GroupConfig),
) -> (Engine, Group<Scripted>) {
    let engine = engine(1 << 20);
    let (group, _) = add(&engine, "scripted", 0..failures, configure).await;
    (engine, group)
}
