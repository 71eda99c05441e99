use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::compute::{Claim, ComputeError, Lanes};
use crate::memory_governor::Reservation;
use crate::model::{JobView, Loader, Model, Room, Step, StepError};
use crate::types::{Bytes, ModelId, Priority};

/// A model in memory. Each step moves it through the step lane and back, so it cannot compute anywhere else.
pub(crate) struct Resident<L: Loader> {
    loader: Arc<L>,
    lanes: Lanes,
    name: ModelId,
    /// `None` once a step did not bring it back. One that broke is kept to be freed.
    loaded: Option<Loaded<L::Model>>,
    room: Room,
    pace: Pace,
}

/// The model and the memory it takes: freed together, wherever that happens.
struct Loaded<M> {
    model: M,
    _memory: WorkerMemory,
}

/// What a worker's model takes: the weights, shared with the group's other workers, and its own working set.
#[derive(Debug)]
pub(crate) struct WorkerMemory {
    pub(crate) weights: Arc<Reservation>,
    pub(crate) _working_set: Reservation,
}

/// How a step ended.
pub(crate) enum Stepped<M: Model> {
    /// It returned; `elapsed` counts its wait for a slot.
    Done { step: Step<M>, elapsed: Duration },
    /// The model panicked or said that it is broken; it must not be stepped again.
    Died { message: Arc<str> },
    /// It did not return in time; the model is given up with the thread.
    Unresponsive { after: Duration },
    /// It was not started: this model has lost too many threads already.
    Refused,
    /// It was not started: the runtime is going down.
    Gone,
}

impl<L: Loader> Resident<L> {
    /// Loads a model in the io lane, and gives it up where it takes far longer than files of its size should. The memory
    /// goes with it.
    pub(crate) async fn load(
        loader: Arc<L>,
        lanes: Lanes,
        name: ModelId,
        memory: WorkerMemory,
    ) -> Result<Self, LoadFailure> {
        let source = Arc::clone(&loader);
        let claim = Claim::new(name.clone()).estimate(reading_time(memory.weights.bytes()));
        let loaded = lanes.io_for(&claim, move || {
            let model = source.load()?;
            let room = model.room();
            Ok::<_, crate::model::LoadError>((Loaded { model, _memory: memory }, room))
        });
        match loaded.await {
            Ok(Ok((loaded, room))) => {
                Ok(Self { loader, lanes, name, loaded: Some(loaded), room, pace: Pace::default() })
            }
            Ok(Err(error)) => Err(LoadFailure::Model(Arc::new(error))),
            Err(error) => Err(LoadFailure::Compute(error)),
        }
    }

    /// How much more may join the next step.
    pub(crate) fn room(&self) -> Room {
        self.room
    }

    /// Advances the model by one step.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a step dropped on its way takes the model with it. The worker never drops one but to end.
    pub(crate) async fn step(&mut self, mut step: Step<L::Model>, priority: Priority) -> Stepped<L::Model> {
        let Some(mut loaded) = self.loaded.take() else {
            return Stepped::Died { message: "the model is gone".into() };
        };
        let loader = Arc::clone(&self.loader);
        let claim = Claim { model: self.name.clone(), priority, estimate: self.pace.estimate() };
        let started = Instant::now();
        let work = move || {
            prepare_inline(&*loader, &mut step);
            let outcome = loaded.model.step(&mut step);
            let room = loaded.model.room();
            (loaded, step, outcome, room)
        };
        match self.lanes.step_timed(&claim, work).await {
            Ok(((loaded, step, Ok(()), room), took)) => {
                let elapsed = started.elapsed();
                self.pace.record(took);
                self.room = room;
                self.loaded = Some(loaded);
                Stepped::Done { step, elapsed }
            }
            Ok(((loaded, _, Err(error), _), _)) => {
                self.loaded = Some(loaded);
                Stepped::Died { message: describe(&error) }
            }
            Err(ComputeError::Panicked { message }) => Stepped::Died { message: message.into() },
            Err(ComputeError::Unresponsive { after }) => Stepped::Unresponsive { after },
            Err(ComputeError::Refused { .. }) => Stepped::Refused,
            Err(ComputeError::Gone) => Stepped::Gone,
        }
    }

    /// Frees the model, off the runtime's threads: unmapping gigabytes takes a while.
    pub(crate) async fn unload(mut self) {
        if let Some(loaded) = self.loaded.take() {
            discard(&self.lanes, &self.name, loaded).await;
        }
    }
}

/// How long it takes to read so much from a slow disk: 100 MB a second.
fn reading_time(bytes: Bytes) -> Duration {
    Duration::from_micros(bytes.get() / 100)
}

async fn discard<M: Model>(lanes: &Lanes, name: &ModelId, loaded: Loaded<M>) {
    // A model that is refused, as its loads hang, is dropped right here.
    if let Err(error) = lanes.io_for(&Claim::new(name.clone()), move || drop(loaded)).await {
        tracing::warn!(model = %name, %error, "freeing a model failed");
    }
}

/// Prepares what joins unprepared; a request that cannot be prepared ends here and never reaches the model.
fn prepare_inline<L: Loader>(loader: &L, step: &mut Step<L::Model>) {
    let mut refused = Vec::new();
    step.joined_mut().retain(|JobView { job, .. }| {
        if job.prepared().is_some() {
            return true;
        }
        match job.prepare(loader) {
            Ok(_) => true,
            Err(error) => {
                refused.push((job.id(), error));
                false
            }
        }
    });
    for (job, error) in refused {
        step.finish(job, Err(error));
    }
}

fn describe(error: &StepError) -> Arc<str> {
    error.to_string().into()
}

/// Why there is no model.
#[derive(Clone, Debug)]
pub(crate) enum LoadFailure {
    /// The loader said so.
    Model(Arc<crate::model::LoadError>),
    /// The loader panicked, or the runtime is going down.
    Compute(ComputeError),
}

/// How long this model's steps take once they have a slot: the slowest of late, slowly forgotten.
#[derive(Default, Debug)]
struct Pace {
    slowest: Option<Duration>,
}

impl Pace {
    fn record(&mut self, elapsed: Duration) {
        let faded = self.slowest.map_or(Duration::ZERO, |slowest| slowest.mul_f64(0.95));
        self.slowest = Some(elapsed.max(faded));
    }

    fn estimate(&self) -> Option<Duration> {
        self.slowest
    }
}

impl<L: Loader> fmt::Debug for Resident<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resident")
            .field("model", &self.name)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}
