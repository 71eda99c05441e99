//! `GET /pools`: models, workers, queues, memory and lanes at one moment. `docs/http.md` has the schema.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use pool_core::compute::{LaneStats, Occupancy};
use pool_core::memory_governor::{Account, MemoryStats};
use pool_core::{Bytes, Counts, GroupStats, QueueStats};
use serde::{Deserialize, Serialize};

use super::errors::ApiError;
use super::{App, answer};
use crate::registry::{Entry, Standing};

/// The whole answer; `candlepool ps` reads it too.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Pools {
    pub(crate) status: String,
    pub(crate) version: String,
    pub(crate) uptime_seconds: f64,
    pub(crate) models: Vec<PoolModel>,
    pub(crate) memory: PoolMemory,
    pub(crate) lanes: BTreeMap<String, PoolLane>,
}

/// A model.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct PoolModel {
    pub(crate) name: String,
    pub(crate) modality: String,
    pub(crate) source: String,
    pub(crate) state: String,
    pub(crate) healthy: bool,
    pub(crate) last_error: Option<String>,
    pub(crate) resident_bytes: u64,
    pub(crate) workers: Vec<PoolWorker>,
    pub(crate) queue: PoolQueue,
    pub(crate) jobs: PoolJobs,
}

#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct PoolWorker {
    pub(crate) id: u64,
    pub(crate) state: String,
}

/// What waits and runs.
#[derive(Serialize, Deserialize, Debug, Default)]
pub(crate) struct PoolQueue {
    pub(crate) waiting: usize,
    pub(crate) leased: usize,
    pub(crate) tokens: u64,
    pub(crate) bytes: u64,
    pub(crate) waiting_tokens: u64,
    pub(crate) tokens_per_second: Option<f64>,
    pub(crate) oldest_wait_seconds: f64,
}

/// What became of every job so far.
#[derive(Serialize, Deserialize, Debug, Default)]
pub(crate) struct PoolJobs {
    pub(crate) accepted: u64,
    pub(crate) completed: u64,
    pub(crate) cancelled: u64,
    pub(crate) expired: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
}

#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct PoolMemory {
    /// `null` where there is no limit.
    pub(crate) limit_bytes: Option<u64>,
    pub(crate) used_bytes: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) pressure: String,
    pub(crate) accounts: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct PoolLane {
    pub(crate) slots: usize,
    pub(crate) busy: usize,
    pub(crate) waiting: usize,
    pub(crate) lost: usize,
}

/// Answers the request.
pub(super) async fn pools(State(app): State<App>) -> Result<Response, ApiError> {
    // After the drain nobody counts any more; what is asked then is told without models' numbers.
    let groups = app.engine.stats().await.map(|stats| stats.models).unwrap_or_default();
    let models = app.registry.entries().map(|entry| {
        let group = groups.iter().find(|group| group.model.as_str() == entry.name());
        model(entry, group)
    });
    let pools = Pools {
        status: if app.drain.has_begun() { "draining" } else { "serving" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: app.started.elapsed().as_secs_f64(),
        models: models.collect(),
        memory: memory(&app.engine.governor().stats()),
        lanes: lanes(&app.engine.lanes().stats()),
    };
    answer::short(&pools)
}

fn model(entry: &Entry, group: Option<&GroupStats>) -> PoolModel {
    let settings = entry.settings();
    let (unresolved, why) = match entry.standing() {
        Standing::Resolving => ("resolving", None),
        Standing::Ready(_) => ("absent", None),
        Standing::Failed { why, .. } => ("unresolved", Some(why.to_string())),
    };
    let workers = group.map(|group| group.workers.as_slice()).unwrap_or_default();
    PoolModel {
        name: settings.name.clone(),
        modality: settings.modality.to_string(),
        source: settings.source.to_string(),
        state: group.map_or_else(|| unresolved.to_owned(), |group| group.state.to_string()),
        healthy: group.map_or(why.is_none(), |group| group.healthy),
        last_error: why.or_else(|| group.and_then(|group| group.last_error.clone())),
        resident_bytes: group.map_or(0, |group| group.resident.get()),
        workers: workers
            .iter()
            .map(|worker| PoolWorker { id: worker.id.get(), state: worker.state.to_string() })
            .collect(),
        queue: group.map(|group| queue(&group.queue)).unwrap_or_default(),
        jobs: group.map(|group| jobs(&group.queue.counts)).unwrap_or_default(),
    }
}

fn queue(queue: &QueueStats) -> PoolQueue {
    PoolQueue {
        waiting: queue.waiting,
        leased: queue.leased,
        tokens: queue.cost.tokens.get(),
        bytes: queue.cost.bytes.get(),
        waiting_tokens: queue.waiting_tokens.get(),
        tokens_per_second: queue.tokens_per_second,
        oldest_wait_seconds: queue.oldest_wait.as_secs_f64(),
    }
}

fn jobs(counts: &Counts) -> PoolJobs {
    PoolJobs {
        accepted: counts.accepted,
        completed: counts.completed,
        cancelled: counts.cancelled,
        expired: counts.expired,
        failed: counts.failed,
        refused: counts.refused,
    }
}

fn memory(memory: &MemoryStats) -> PoolMemory {
    let account = |account: Account| (account.as_str().to_owned(), memory.account(account).get());
    PoolMemory {
        limit_bytes: (memory.limit != Bytes::MAX).then_some(memory.limit.get()),
        used_bytes: memory.used.get(),
        peak_bytes: memory.peak.get(),
        pressure: memory.pressure.as_str().to_owned(),
        accounts: Account::ALL.map(account).into(),
    }
}

fn lanes(lanes: &LaneStats) -> BTreeMap<String, PoolLane> {
    let lane = |name: &str, lane: Occupancy| {
        let Occupancy { slots, busy, waiting, lost } = lane;
        (name.to_owned(), PoolLane { slots, busy, waiting, lost })
    };
    [lane("step", lanes.step), lane("prepare", lanes.prepare), lane("io", lanes.io)].into()
}
