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
        let mut state = lock(&self.state);
        let ids = state.core.pull_raw(jobs, bytes, Instant::now());
        let mut priority = Priority::Low;
        let mut taken = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(record) = state.core.get_mut(id) {
                priority = priority.max(record.payload.priority);
                taken.push(Arc::clone(&record.payload.job));
            }
        }
        drop(state);
        Preparing { queue: Arc::clone(self), jobs: taken, priority }
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
        let mut ready = 0;
        let mut failed = Vec::new();
        let queue = Arc::clone(&self.queue);
        let mut state = lock(&queue.state);
        for (job, outcome) in outcomes {
            self.jobs.retain(|held| held.id() != job);
            match outcome {
                Ok(cost) => ready += usize::from(state.core.prepared(job, cost)),
                Err(error) => failed.push((job, Err(error))),
            }
        }
        drop(state);
        if !failed.is_empty() {
            queue.settle(failed, None);
        }
        if ready > 0 {
            queue.wake_one();
        }
    }
}

impl<M: Model> Drop for Preparing<M> {
    fn drop(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let mut state = lock(&self.queue.state);
        for job in &self.jobs {
            state.core.unprepared(job.id());
        }
        drop(state);
        self.queue.raw.notify_one();
    }
}

impl<M: Model> fmt::Debug for Preparing<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preparing").field("jobs", &self.jobs.len()).finish_non_exhaustive()
    }
}
