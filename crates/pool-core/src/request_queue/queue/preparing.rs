//! Jobs on their way through the prepare lane.

use super::*;

impl<M: Model> Queue<M> {
    /// Waits for jobs to be prepared, and takes as many as are worth one hop to the prepare lane.
    ///
    /// # Cancel safety
    ///
    /// Takes nothing unless it returns; what it returned goes back when it is dropped.
    pub(crate) async fn pull_raw(self: &Arc<Self>, jobs: usize, bytes: Bytes) -> Preparing<M> {
        loop {
            let arrival = self.raw.notified();
            let taken = self.try_pull_raw(jobs, bytes);
            if !taken.jobs.is_empty() {
                return taken;
            }
            arrival.await;
        }
    }

    pub(super) fn try_pull_raw(self: &Arc<Self>, jobs: usize, bytes: Bytes) -> Preparing<M> {
        let now = Instant::now();
        let (jobs, priority, expired, empty) = self.change(|state| {
            let pull = state.core.pull_raw(jobs, bytes, now);
            let expired = self.expire(state, pull.expired);
            let mut priority = Priority::Low;
            let mut jobs = Vec::with_capacity(pull.taken.len());
            for id in pull.taken {
                if let Some(record) = state.core.get(id) {
                    priority = priority.max(record.payload.priority);
                    jobs.push(Arc::clone(&record.payload.job));
                }
            }
            (jobs, priority, expired, state.core.len() == 0)
        });
        self.tell(expired, empty);
        Preparing { queue: Arc::clone(self), jobs, priority }
    }
}

/// Jobs taken to be prepared; those not reported when it is dropped wait to be prepared again.
pub(crate) struct Preparing<M: Model> {
    queue: Arc<Queue<M>>,
    pub(crate) jobs: Vec<Arc<Job<M>>>,
    pub(crate) priority: Priority,
}

impl<M: Model> Preparing<M> {
    /// Reports what became of each job; those refused end here.
    pub(crate) fn report(mut self, outcomes: Vec<(JobId, Result<Cost, Error>)>) {
        let queue = Arc::clone(&self.queue);
        let reported = outcomes.into_iter().filter_map(|(id, outcome)| {
            let at = self.jobs.iter().position(|job| job.id() == id)?;
            Some((self.jobs.swap_remove(at), outcome))
        });
        let reported: Vec<_> = reported.collect();
        let now = Instant::now();
        let mut convicted = Vec::new();
        let ready = queue.change(|state| {
            let mut ready = false;
            for (job, outcome) in &reported {
                let Ok(cost) = outcome else { continue };
                // Some inputs are known for what they are only now.
                match state.sentence(job.fingerprint(), now) {
                    None => ready |= state.core.prepared(job.id(), *cost),
                    Some(retry_after) => convicted.push((job.id(), Err(queue.convicted(retry_after)))),
                }
            }
            ready
        });
        let failed = reported.into_iter().filter_map(|(job, outcome)| Some((job.id(), Err(outcome.err()?))));
        let failed: Vec<_> = failed.chain(convicted).collect();
        if !failed.is_empty() {
            queue.settle(failed, None);
        }
        if ready {
            queue.wake_one();
        }
    }
}

impl<M: Model> Drop for Preparing<M> {
    fn drop(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        self.queue.change(|state| {
            for job in &self.jobs {
                state.core.unprepared(job.id());
            }
        });
        self.queue.raw.notify_one();
    }
}

impl<M: Model> fmt::Debug for Preparing<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preparing").field("jobs", &self.jobs.len()).finish_non_exhaustive()
    }
}
