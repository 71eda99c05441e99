use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::mpsc;

use super::{Job, Queue};
use crate::error::Error;
use crate::model::{Model, Room};
use crate::types::{Cost, JobId, Priority, Tokens};

/// One job as a worker receives it.
pub(crate) struct Leased<M: Model> {
    pub(crate) job: Arc<Job<M>>,
    pub(crate) events: Option<mpsc::Sender<M::Event>>,
    pub(crate) priority: Priority,
    pub(crate) cost: Cost,
    pub(crate) alone: bool,
    /// How long it waited, where this is its first lease.
    pub(super) waited: Option<Duration>,
}

/// The jobs a worker holds. Whatever it still holds when it is dropped, for whatever reason, goes back to the queue.
pub(crate) struct Lease<M: Model> {
    queue: Arc<Queue<M>>,
    held: FxHashMap<JobId, Held>,
}

/// What the lease itself remembers of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    cost: Cost,
    pub(super) priority: Priority,
}

impl<M: Model> Lease<M> {
    pub(crate) fn new(queue: Arc<Queue<M>>) -> Self {
        Self { queue, held: FxHashMap::default() }
    }

    /// The most urgent class among the jobs held.
    pub(crate) fn priority(&self) -> Priority {
        self.held.values().map(|held| held.priority).max().unwrap_or(Priority::Low)
    }

    /// What a job held costs.
    pub(crate) fn cost(&self, job: JobId) -> Cost {
        self.held.get(&job).map_or(Cost::ZERO, |held| held.cost)
    }

    /// Leases what fits now.
    pub(crate) fn try_pull(&mut self, room: Room) -> Vec<Leased<M>> {
        let leased = self.queue.try_lease(room, self.held.is_empty());
        for one in &leased {
            self.held.insert(one.job.id(), Held { cost: one.cost, priority: one.priority });
        }
        leased
    }

    /// Waits until something can be leased.
    ///
    /// # Cancel safety
    ///
    /// Nothing is leased unless it returns.
    pub(crate) async fn pull(&mut self, room: Room) -> Vec<Leased<M>> {
        let queue = Arc::clone(&self.queue);
        let idle = self.held.is_empty();
        let _waits = (!idle).then(|| queue.waits_busy());
        loop {
            let arrival = queue.arrival(idle);
            let leased = self.try_pull(room);
            if !leased.is_empty() {
                return leased;
            }
            arrival.await;
        }
    }

    /// Lets go of jobs that ended meanwhile: cancelled or expired. Their ids come back. The others are as urgent as who
    /// has joined them by now.
    pub(crate) fn prune(&mut self) -> Vec<JobId> {
        self.queue.refresh(&mut self.held)
    }

    /// Resolves once a job held has ended without the worker's doing, or at once if one has since [`Lease::prune`]; never
    /// if none is held.
    ///
    /// # Cancel safety
    ///
    /// The future holds nothing and may be dropped at any time.
    pub(crate) fn withdrawn(&self) -> impl Future<Output = ()> + Send + use<M> {
        let held = self.held.keys().copied().collect();
        Arc::clone(&self.queue).withdrawn(held)
    }

    /// Ends jobs held.
    pub(crate) fn settle(&mut self, ends: Vec<(JobId, Result<M::Output, Error>)>) {
        if !ends.is_empty() {
            self.end(ends, None);
        }
    }

    /// Ends jobs after a step, and tells how long it took to compute so many tokens.
    pub(crate) fn settle_step(
        &mut self,
        ends: Vec<(JobId, Result<M::Output, Error>)>,
        tokens: Tokens,
        elapsed: Duration,
    ) {
        self.end(ends, Some((tokens, elapsed)));
    }

    fn end(&mut self, ends: Vec<(JobId, Result<M::Output, Error>)>, step: Option<(Tokens, Duration)>) {
        for (job, _) in &ends {
            self.held.remove(job);
        }
        self.queue.settle(ends, step);
    }

    /// Gives jobs back for another worker to run, each by itself.
    pub(crate) fn give_back_alone(&mut self, jobs: &[JobId]) {
        for job in jobs {
            self.held.remove(job);
        }
        self.queue.give_back(jobs, true);
    }
}

impl<M: Model> Drop for Lease<M> {
    fn drop(&mut self) {
        let jobs: Vec<JobId> = self.held.keys().copied().collect();
        self.queue.give_back(&jobs, false);
    }
}

impl<M: Model> fmt::Debug for Lease<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("held", &self.held).finish()
    }
}
