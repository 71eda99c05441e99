//! Prepares requests in the prepare lane, several a hop, while workers compute.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::compute::{Claim, ComputeError, Lanes};
use crate::error::Error;
use crate::model::{Loader, ModelError};
use crate::request_queue::{Job, Queue};
use crate::types::{Bytes, Cost, ModelId};

/// A hop takes at most so many jobs: about a millisecond of short ones.
const JOBS_A_HOP: usize = 32;
/// A hop takes at most so many bytes, unless one job alone is larger.
const BYTES_A_HOP: Bytes = Bytes(64 << 10);

/// Runs for as long as the group does.
pub(super) async fn prepare_jobs<L: Loader>(queue: Arc<Queue<L::Model>>, loader: Arc<L>, lanes: Lanes) {
    loop {
        let taken = queue.pull_raw(JOBS_A_HOP, BYTES_A_HOP).await;
        let jobs = taken.jobs.clone();
        let claim = Claim::new(queue.model().clone()).priority(taken.priority);
        let model = queue.model().clone();
        let work = {
            let loader = Arc::clone(&loader);
            move || jobs.iter().map(|job| (job.id(), prepare(&*loader, &model, job))).collect::<Vec<_>>()
        };
        match lanes.prepare(&claim, work).await {
            Ok(outcomes) => taken.report(outcomes),
            // Every job's panic is caught by itself, so this is the lane's own word.
            Err(error) => {
                let outcomes =
                    taken.jobs.iter().map(|job| (job.id(), Err(lane_error(&queue, &error)))).collect();
                taken.report(outcomes);
            }
        }
    }
}

/// Prepares one job. A panic is that job's own fault and no other's.
fn prepare<L: Loader>(loader: &L, model: &ModelId, job: &Job<L::Model>) -> Result<Cost, Error> {
    if !job.is_wanted() {
        return Err(Error::Cancelled);
    }
    match catch_unwind(AssertUnwindSafe(|| job.span().in_scope(|| loader.prepare(job.request())))) {
        Ok(Ok(prepared)) => {
            job.set_prepared(prepared.value);
            tracing::trace!(parent: job.span(), tokens = prepared.cost.tokens.get(), "prepared");
            Ok(prepared.cost)
        }
        Ok(Err(ModelError::Invalid(message))) => Err(Error::Invalid { message: message.into() }),
        Ok(Err(ModelError::Failed(cause))) => {
            Err(Error::Failed { model: model.clone(), cause: cause.into() })
        }
        Err(_) => {
            Err(Error::Crashed { model: model.clone(), message: "preparing the input panicked".into() })
        }
    }
}

fn lane_error<M: crate::model::Model>(queue: &Queue<M>, error: &ComputeError) -> Error {
    let model = queue.model().clone();
    match error {
        ComputeError::Unresponsive { after } => Error::Unresponsive { model, after: *after },
        ComputeError::Gone => Error::ShuttingDown,
        other => Error::Failed { model, cause: Arc::new(other.clone()) },
    }
}
