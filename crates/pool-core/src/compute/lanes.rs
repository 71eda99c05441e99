use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::grants::{Claimed, Grants, Request, Standing, Swept, Ticket};
use super::{Claim, Compute, ComputeError, Lane, LanesConfig, Work};
use crate::sync::{Mutex, lock};
use crate::types::{ModelId, Priority};

#[cfg(test)]
#[cfg(feature = "shuttle")]
mod explored;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;

/// The lanes of one engine: slots for steps, for preparation and for reading and writing. Clones share them.
///
/// Every method takes a closure and gives a future of its result. Nothing happens before the future is first polled.
/// The future owns all it needs, so it can be kept beside the handle.
///
/// # Cancel safety
///
/// A future that is dropped while its closure waits for a slot takes the closure along: it never runs. A closure that
/// has started runs to its end, keeps its slot until then, and its result is dropped.
#[derive(Clone)]
pub struct Lanes {
    inner: Arc<Inner>,
}

struct Inner {
    config: LanesConfig,
    compute: Arc<dyn Compute>,
    tickets: AtomicU64,
    lanes: [Mutex<State>; Lane::ALL.len()],
    /// On whose account reading and writing goes: that lane serves whoever came first.
    anyone: ModelId,
}

struct State {
    grants: Grants<Work>,
    /// Somebody is in [`Inner::pump`] and will see whatever has been freed.
    pumping: bool,
}

/// How many slots of a lane there are and what they do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Occupancy {
    /// Slots the lane has when no thread is lost.
    pub slots: usize,
    /// Slots taken by work that is within its limit.
    pub busy: usize,
    /// Closures that wait for a slot.
    pub waiting: usize,
    /// Work that was given up and has not come back.
    pub lost: usize,
}

/// The state of every lane at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LaneStats {
    /// Model steps.
    pub step: Occupancy,
    /// Preparation.
    pub prepare: Occupancy,
    /// Reading and writing.
    pub io: Occupancy,
}

impl LaneStats {
    /// Threads that are out with work that was given up.
    pub const fn lost_threads(&self) -> usize {
        self.step.lost + self.prepare.lost + self.io.lost
    }
}

impl Lanes {
    /// Lanes over the given compute.
    pub fn new(config: LanesConfig, compute: Arc<dyn Compute>) -> Self {
        let lanes = [config.step_slots(), config.prepare_slots, config.io_slots].map(|slots| {
            Mutex::new(State { grants: Grants::new(slots.get(), config.ageing), pumping: false })
        });
        let anyone = ModelId::new("");
        Self { inner: Arc::new(Inner { config, compute, tickets: AtomicU64::new(0), lanes, anyone }) }
    }

    /// Runs one step of a model, when it is its turn.
    ///
    /// # Errors
    ///
    /// Every [`ComputeError`]: the closure panicked, did not return in time, was refused or never ran.
    pub fn step<T, F>(
        &self,
        claim: &Claim,
        work: F,
    ) -> impl Future<Output = Result<T, ComputeError>> + Send + use<T, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        value(self.run(Lane::Step, claim.clone(), self.inner.config.limit(Lane::Step, claim), work))
    }

    /// As [`Lanes::step`], and tells for how long the step had its slot: without its wait for one.
    pub(crate) fn step_timed<T, F>(
        &self,
        claim: &Claim,
        work: F,
    ) -> impl Future<Output = Result<(T, Duration), ComputeError>> + Send + use<T, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.run(Lane::Step, claim.clone(), self.inner.config.limit(Lane::Step, claim), work)
    }

    /// Runs short work that makes a job ready; it never waits for steps.
    ///
    /// # Errors
    ///
    /// Those of [`Lanes::step`].
    pub fn prepare<T, F>(
        &self,
        claim: &Claim,
        work: F,
    ) -> impl Future<Output = Result<T, ComputeError>> + Send + use<T, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        value(self.run(Lane::Prepare, claim.clone(), self.inner.config.limit(Lane::Prepare, claim), work))
    }

    /// Runs work that reads or writes on nobody's account, first come first served. It is never given up: whoever calls this
    /// answers for its end. For a model's files there is [`Lanes::io_for`].
    ///
    /// # Errors
    ///
    /// The closure panicked or never ran.
    pub fn io<T, F>(&self, work: F) -> impl Future<Output = Result<T, ComputeError>> + Send + use<T, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        value(self.run(Lane::Io, Claim::new(self.inner.anyone.clone()), None, work))
    }

    /// Runs work that reads or writes for a model. Past [`LanesConfig::io_unresponsive_after`], or the configured number of
    /// times its estimate, it is given up as a step is: its slot is replaced once, and the model refused after the second.
    ///
    /// # Errors
    ///
    /// Those of [`Lanes::step`].
    pub fn io_for<T, F>(
        &self,
        claim: &Claim,
        work: F,
    ) -> impl Future<Output = Result<T, ComputeError>> + Send + use<T, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        value(self.run(Lane::Io, claim.clone(), self.inner.config.limit(Lane::Io, claim), work))
    }

    /// The state of every lane.
    pub fn stats(&self) -> LaneStats {
        let [step, prepare, io] = Lane::ALL.map(|lane| {
            let grants = &lock(self.inner.lane(lane)).grants;
            Occupancy {
                slots: grants.slots(),
                busy: grants.busy(),
                waiting: grants.waiting(),
                lost: grants.lost(),
            }
        });
        LaneStats { step, prepare, io }
    }

    /// All the time this model has had a slot, for steps and for preparation.
    pub fn computed(&self, model: &ModelId) -> Duration {
        self.sum(|grants| grants.computed(model))
    }

    /// How many pieces of this model's work were given up and have not come back.
    pub fn lost(&self, model: &ModelId) -> usize {
        self.sum(|grants| grants.lost_of(model))
    }

    /// How many pieces of this model's work are out and have not been given up.
    pub fn running(&self, model: &ModelId) -> usize {
        self.sum(|grants| grants.running_of(model))
    }

    /// Whether this model could not be loaded or not step: two loads, or two steps, never came back.
    pub fn refuses(&self, model: &ModelId) -> bool {
        [Lane::Step, Lane::Io].into_iter().any(|lane| lock(self.inner.lane(lane)).grants.refuses(model))
    }

    /// Forgets what a model has computed; to be called when its group has gone. A lane where it still has work, lost or not,
    /// forgets it when that has returned, unless it is used again before; then this is false.
    pub fn forget(&self, model: &ModelId) -> bool {
        let forgotten = Lane::ALL.map(|lane| lock(self.inner.lane(lane)).grants.forget(model));
        forgotten.into_iter().all(|forgotten| forgotten)
    }

    fn sum<N: std::iter::Sum>(&self, of: impl Fn(&Grants<Work>) -> N) -> N {
        Lane::ALL.into_iter().map(|lane| of(&lock(self.inner.lane(lane)).grants)).sum()
    }

    fn run<T, F>(
        &self,
        lane: Lane,
        claim: Claim,
        limit: Option<Duration>,
        work: F,
    ) -> impl Future<Output = Timed<T>> + Send + use<T, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        async move {
            let ticket = inner.tickets.fetch_add(1, Ordering::Relaxed);
            let (reply, result) = oneshot::channel();
            let slot = Slot { inner: Arc::clone(&inner), lane, ticket, freed: false };
            let span = tracing::Span::current();
            let work: Work = Box::new(move || slot.run(&span, work, reply));
            let Claim { model, priority, .. } = claim;
            let mut place = Place { inner, lane, ticket, model, priority, settled: false };
            let look_again = place.take(limit, work)?;
            place.outcome(look_again, result).await
        }
    }
}

/// What a closure gave, and for how long it had its slot.
type Timed<T> = Result<(T, Duration), ComputeError>;

async fn value<T>(timed: impl Future<Output = Timed<T>>) -> Result<T, ComputeError> {
    timed.await.map(|(value, _)| value)
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("config", &self.inner.config).field("stats", &self.stats()).finish()
    }
}

impl Inner {
    fn lane(&self, lane: Lane) -> &Mutex<State> {
        &self.lanes[lane.index()]
    }

    /// Frees a slot; says for how long it was taken and what to start in its place.
    fn free(&self, lane: Lane, ticket: Ticket) -> (Duration, Option<Work>) {
        let now = Instant::now();
        let mut state = lock(self.lane(lane));
        let finished = state.grants.finish(ticket, now);
        let next = state.grants.grant(now);
        drop(state);
        if let Some(finished) = finished.filter(|finished| finished.was_lost) {
            tracing::warn!(%lane, after = ?finished.took, "a computation that had been given up has returned");
        }
        (finished.map(|finished| finished.took).unwrap_or_default(), next)
    }

    /// Starts whatever may start. Where `execute` drops work unrun, and so frees its slot within this very call, the
    /// loop here goes on rather than one level deeper, however long the queue is.
    fn pump(&self, lane: Lane) {
        let mut state = lock(self.lane(lane));
        if state.pumping {
            return;
        }
        state.pumping = true;
        while let Some(work) = state.grants.grant(Instant::now()) {
            drop(state);
            self.compute.execute(lane, work);
            state = lock(self.lane(lane));
        }
        state.pumping = false;
    }
}

/// A granted slot, or the hope of one: it moves into the closure and is freed where that ends, however it ends.
struct Slot {
    inner: Arc<Inner>,
    lane: Lane,
    ticket: Ticket,
    freed: bool,
}

impl Slot {
    /// Computes, frees the slot, answers, and starts whoever is next: in this order, so that a caller that comes back
    /// at once finds the slot free and nobody's answer waits for somebody else's start.
    fn run<T>(mut self, span: &tracing::Span, work: impl FnOnce() -> T, reply: oneshot::Sender<Timed<T>>) {
        let result = span.in_scope(|| catch_unwind(AssertUnwindSafe(work)));
        self.freed = true;
        let (took, next) = self.inner.free(self.lane, self.ticket);
        let result = result.map_err(|payload| ComputeError::panicked(payload.as_ref()));
        let unwanted = reply.send(result.map(|value| (value, took)));
        if let Some(next) = next {
            self.inner.compute.execute(self.lane, next);
        }
        drop(unwanted);
    }
}

impl Drop for Slot {
    /// The closure was dropped unrun. If it only waited, it had no slot, and there is nothing to free.
    fn drop(&mut self) {
        if self.freed {
            return;
        }
        let now = Instant::now();
        let had_slot = lock(self.inner.lane(self.lane)).grants.finish(self.ticket, now).is_some();
        if had_slot {
            self.inner.pump(self.lane);
        }
    }
}

/// A caller's place in a lane, from the claim to the answer.
struct Place {
    inner: Arc<Inner>,
    lane: Lane,
    ticket: Ticket,
    model: ModelId,
    priority: Priority,
    settled: bool,
}

impl Place {
    /// Starts the work or puts it in the queue. Says when to look whether something hangs.
    fn take(&mut self, limit: Option<Duration>, work: Work) -> Result<Option<Instant>, ComputeError> {
        let now = Instant::now();
        let request = Request { ticket: self.ticket, model: &self.model, priority: self.priority, limit };
        let mut state = lock(self.inner.lane(self.lane));
        match state.grants.claim(request, now, work) {
            Claimed::Started(work) => {
                drop(state);
                self.inner.compute.execute(self.lane, work);
                Ok(limit.and_then(|limit| now.checked_add(limit)))
            }
            Claimed::Waits => {
                let standing = state.grants.standing(self.ticket, &self.model, self.priority, now);
                let freed_meanwhile = state.grants.has_room();
                drop(state);
                if freed_meanwhile {
                    self.inner.pump(self.lane);
                }
                match standing {
                    Standing::Until(look_again) => Ok(look_again),
                    Standing::Lost { .. } | Standing::Ended => Ok(None),
                }
            }
            Claimed::Refused(work) => {
                drop(state);
                drop(work);
                self.settled = true;
                Err(ComputeError::Refused { model: self.model.clone() })
            }
        }
    }

    async fn outcome<T>(
        mut self,
        look_again: Option<Instant>,
        mut result: oneshot::Receiver<Timed<T>>,
    ) -> Timed<T> {
        if let Some(at) = look_again {
            let mut watch = pin!(sleep_until(at));
            loop {
                tokio::select! {
                    biased;
                    answer = &mut result => return self.settle(answer),
                    () = &mut watch => match self.look() {
                        Standing::Until(Some(at)) => watch.as_mut().reset(at),
                        Standing::Until(None) | Standing::Ended => break,
                        Standing::Lost { after } => {
                            self.settled = true;
                            return Err(ComputeError::Unresponsive { after });
                        }
                    },
                }
            }
        }
        let answer = result.await;
        self.settle(answer)
    }

    /// Gives up whatever hangs in this lane, this claim's work or others', and says how this claim stands.
    fn look(&self) -> Standing {
        let now = Instant::now();
        let mut state = lock(self.inner.lane(self.lane));
        let Swept { lost, thrown_out } = state.grants.sweep(now);
        let standing = state.grants.standing(self.ticket, &self.model, self.priority, now);
        drop(state);
        for (model, after) in &lost {
            tracing::error!(%model, lane = %self.lane, ?after, "a computation does not return: its thread is lost");
        }
        drop(thrown_out);
        if !lost.is_empty() {
            self.inner.pump(self.lane);
        }
        standing
    }

    fn settle<T>(&mut self, answer: Result<Timed<T>, oneshot::error::RecvError>) -> Timed<T> {
        self.settled = true;
        answer.unwrap_or_else(|_dropped| {
            let thrown_out = lock(self.inner.lane(self.lane)).grants.was_thrown_out(self.ticket);
            Err(if thrown_out {
                ComputeError::Refused { model: self.model.clone() }
            } else {
                ComputeError::Gone
            })
        })
    }
}

impl Drop for Place {
    /// A caller that goes takes along what has not started.
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let work = lock(self.inner.lane(self.lane)).grants.cancel(self.ticket, &self.model, self.priority);
        drop(work);
    }
}
