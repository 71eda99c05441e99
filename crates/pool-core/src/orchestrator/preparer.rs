//! Prepares requests in the prepare lane, several a hop, while workers compute.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::compute::{Claim, ComputeError, Lanes};
use crate::error::Error;
use crate::model::Loader;
use crate::request_queue::{Job, Queue};
use crate::types::{Bytes, Cost};

/// A hop takes at most so many jobs: about a millisecond of short ones.
const JOBS_A_HOP: usize = 32;
/// A hop takes at most so many bytes, unless one job alone is larger.
const BYTES_A_HOP: Bytes = Bytes(64 << 10);

/// No job of a hop is at work yet.
const NONE: usize = usize::MAX;

/// Runs for as long as the group does.
pub(super) async fn prepare_jobs<L: Loader>(queue: Arc<Queue<L::Model>>, loader: Arc<L>, lanes: Lanes) {
    // Which job of the hop is at work.
    let mut at_work = Arc::new(AtomicUsize::new(0));
    loop {
        let taken = queue.pull_raw(JOBS_A_HOP, BYTES_A_HOP).await;
        let jobs = taken.jobs.clone();
        let claim = Claim::new(queue.model().clone()).priority(taken.priority);
        let work = {
            let (loader, queue, at_work) = (Arc::clone(&loader), Arc::clone(&queue), Arc::clone(&at_work));
            at_work.store(NONE, Ordering::Relaxed);
            let one = move |(at, job): (usize, &Arc<Job<L::Model>>)| {
                at_work.store(at, Ordering::Relaxed);
                (job.id(), prepare(&*loader, &queue, job))
            };
            move || jobs.iter().enumerate().map(one).collect::<Vec<_>>()
        };
        match lanes.prepare(&claim, work).await {
            Ok(outcomes) => taken.report(outcomes),
            // It is that job's doing: the others go back and are prepared again.
            Err(error @ ComputeError::Unresponsive { .. })
                if let Some(job) = taken.jobs.get(at_work.load(Ordering::Relaxed)).map(Arc::clone) =>
            {
                queue.convict(&job);
                taken.report(vec![(job.id(), Err(Error::of_lane(queue.model(), &error)))]);
                // The thread that hangs may go on with its own.
                at_work = Arc::default();
            }
            // Every job's panic is caught by itself, so this is the lane's own word.
            Err(error) => {
                let outcomes = taken
                    .jobs
                    .iter()
                    .map(|job| (job.id(), Err(Error::of_lane(queue.model(), &error))))
                    .collect();
                taken.report(outcomes);
            }
        }
    }
}

/// Prepares one job. A panic is that job's own fault and no other's.
fn prepare<L: Loader>(loader: &L, queue: &Queue<L::Model>, job: &Job<L::Model>) -> Result<Cost, Error> {
    if !job.is_wanted() {
        return Err(Error::Cancelled);
    }
    let prepare = || {
        job.identify();
        job.prepare(loader)
    };
    catch_unwind(AssertUnwindSafe(prepare)).map_or_else(
        |_| {
            let message = "preparing the input panicked".into();
            Err(Error::Crashed { model: queue.model().clone(), message })
        },
        |prepared| prepared.map_err(|error| queue.job_error(error)),
    )
}
