//! A model that does what its requests say.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use pool_core::compute::ScriptedCompute;
use pool_core::{
    Bytes, Cost, Engine, Error, Fingerprint, Footprint, Group, GroupConfig, JobId, JobOptions, LoadError,
    Loader, Model, ModelError, Preparation, Prepared, Room, Step, StepError, Ticket, Tokens,
};

/// What one job does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    /// Its answer, and its identity for coalescing.
    pub(crate) id: u32,
    pub(crate) tokens: u64,
    /// Steps until it is done.
    pub(crate) steps: u32,
    /// Whether it says an event each step.
    pub(crate) events: bool,
    pub(crate) fault: Fault,
    pub(crate) prepare: Preparing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    None,
    /// The job's own error.
    Fails,
    Invalid,
    /// The step panics.
    Panics,
    /// The step panics where another job is active beside this one.
    PanicsInCompany,
    /// The step says the model is broken.
    Breaks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Preparing {
    Fine,
    Invalid,
    Panics,
    /// Until the log says otherwise.
    Hangs,
}

pub(crate) fn ask(id: u32) -> Ask {
    Ask { id, tokens: 10, steps: 1, events: false, fault: Fault::None, prepare: Preparing::Fine }
}

/// From this size on a request is not compared with others at the door.
pub(crate) const LARGE: u64 = 10_000;

/// What a test sees of the models it had loaded.
#[derive(Default, Debug)]
pub(crate) struct Log {
    /// The ids active in each step.
    pub(crate) steps: Mutex<Vec<Vec<u32>>>,
    /// The ids of the active whose readers have not caught up, as the last step was told.
    pub(crate) paused: Mutex<Vec<u32>>,
    pub(crate) loads: AtomicUsize,
    pub(crate) freed: AtomicUsize,
    pub(crate) prepared: AtomicUsize,
    /// Set to let go of the preparations that hang.
    pub(crate) released: OnceLock<()>,
}

impl Log {
    pub(crate) fn steps(&self) -> Vec<Vec<u32>> {
        self.steps.lock().unwrap().clone()
    }
}

#[derive(Debug)]
pub(crate) struct Scripted {
    active: BTreeMap<JobId, (Ask, u32)>,
    room: Room,
    log: Arc<Log>,
}

impl Model for Scripted {
    type Request = Ask;
    type Prepared = u64;
    type Output = u32;
    type Event = u32;

    fn estimate(request: &Ask) -> Cost {
        Cost::new(request.tokens, request.tokens)
    }

    fn fingerprint(request: &Ask) -> Option<Fingerprint> {
        (request.tokens < LARGE).then(|| Fingerprint::of(request))
    }

    fn identify(request: &Ask) -> Option<Fingerprint> {
        Some(Fingerprint::of(request))
    }

    fn room(&self) -> Room {
        Room::new(self.room.jobs.saturating_sub(self.active.len()), self.room.tokens)
    }

    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
        for job in step.left().to_vec() {
            assert!(self.active.remove(&job).is_some(), "only active jobs leave");
        }
        for job in step.take_joined() {
            assert_eq!(job.prepared(), Some(&job.request().tokens), "every job is prepared");
            self.active.insert(job.id(), (job.request().clone(), 0));
        }
        let ids = self.active.values().map(|(ask, _)| ask.id).collect();
        self.log.steps.lock().unwrap().push(ids);
        let paused = self.active.iter().filter(|(job, _)| step.is_paused(**job));
        *self.log.paused.lock().unwrap() = paused.map(|(_, (ask, _))| ask.id).collect();
        let company = self.active.len() > 1;
        for (ask, _) in self.active.values() {
            match ask.fault {
                Fault::Panics => panic!("told to"),
                Fault::PanicsInCompany if company => panic!("told to, in company"),
                Fault::Breaks => return Err(StepError::new("told to break")),
                _ => {}
            }
        }
        let jobs: Vec<JobId> = self.active.keys().copied().filter(|job| !step.is_paused(*job)).collect();
        for job in jobs {
            let (ask, done) = self.active.get_mut(&job).unwrap();
            *done += 1;
            if ask.events {
                step.emit(job, *done);
            }
            let outcome = match ask.fault {
                Fault::Fails => Some(Err(ModelError::failed("told to fail"))),
                Fault::Invalid => Some(Err(ModelError::invalid("not to its taste"))),
                _ if *done >= ask.steps => Some(Ok(ask.id)),
                _ => None,
            };
            if let Some(outcome) = outcome {
                self.active.remove(&job);
                step.finish(job, outcome);
            }
        }
        Ok(())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.log.freed.fetch_add(1, Ordering::SeqCst);
    }
}

/// What loads do, the last of `failures` first: an empty one is a success, as are all when the script has ended.
#[derive(Debug)]
pub(crate) struct ScriptedLoader {
    pub(crate) log: Arc<Log>,
    pub(crate) room: Room,
    pub(crate) footprint: Footprint,
    pub(crate) failures: Mutex<Vec<&'static str>>,
}

impl ScriptedLoader {
    pub(crate) fn new(log: &Arc<Log>) -> Self {
        Self {
            log: Arc::clone(log),
            room: Room::new(8, Tokens(1000)),
            footprint: Footprint { weights: Bytes(1000), working_set: Bytes(100) },
            failures: Mutex::new(Vec::new()),
        }
    }
}

impl Loader for ScriptedLoader {
    type Model = Scripted;

    fn footprint(&self) -> Result<Footprint, LoadError> {
        Ok(self.footprint)
    }

    fn load(&self) -> Result<Scripted, LoadError> {
        self.log.loads.fetch_add(1, Ordering::SeqCst);
        let failure = self.failures.lock().unwrap().pop();
        match failure {
            Some("") => Ok(Scripted { active: BTreeMap::new(), room: self.room, log: Arc::clone(&self.log) }),
            Some("panic") => panic!("told to panic while loading"),
            Some(message) => Err(LoadError::new(message)),
            None => Ok(Scripted { active: BTreeMap::new(), room: self.room, log: Arc::clone(&self.log) }),
        }
    }

    fn prepare(&self, request: &Ask) -> Result<Prepared<u64>, ModelError> {
        self.log.prepared.fetch_add(1, Ordering::SeqCst);
        match request.prepare {
            Preparing::Invalid => return Err(ModelError::invalid("cannot be prepared")),
            Preparing::Panics => panic!("told to panic while preparing"),
            Preparing::Hangs => *self.log.released.wait(),
            Preparing::Fine => {}
        }
        Ok(Prepared { value: request.tokens, cost: Scripted::estimate(request) })
    }

    fn preparation(&self, estimate: Cost) -> Preparation {
        // Odd costs take the lane, so that tests can have both.
        if estimate.tokens.get() % 2 == 1 { Preparation::Lane } else { Preparation::Inline }
    }
}

/// An engine whose work takes the time given, with one scripted model.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) group: Group<Scripted>,
    pub(crate) log: Arc<Log>,
    pub(crate) compute: Arc<ScriptedCompute>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(ScriptedCompute::taking(Duration::from_millis(100)), |_| {}, |_| {}).await
    }

    pub(crate) async fn with(
        compute: Arc<ScriptedCompute>,
        configure: impl FnOnce(&mut GroupConfig),
        script: impl FnOnce(&mut ScriptedLoader),
    ) -> Self {
        let engine = engine(&compute, Bytes(1 << 20));
        let log = Arc::new(Log::default());
        let mut loader = ScriptedLoader::new(&log);
        script(&mut loader);
        let mut config = GroupConfig::new("scripted");
        configure(&mut config);
        let group = engine.add(config, loader).await.unwrap();
        Self { engine, group, log, compute }
    }

    pub(crate) fn submit(&self, ask: Ask) -> Ticket<u32> {
        self.group.try_submit(ask, JobOptions::default()).unwrap()
    }

    pub(crate) fn refused(&self, ask: Ask) -> Error {
        self.group.try_submit(ask, JobOptions::default()).unwrap_err()
    }
}

pub(crate) fn engine(compute: &Arc<ScriptedCompute>, memory: Bytes) -> Engine {
    let compute: Arc<ScriptedCompute> = Arc::clone(compute);
    Engine::builder().memory_limit(memory).compute(compute).build().unwrap()
}

pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
