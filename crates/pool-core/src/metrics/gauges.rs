//! What is read off rather than counted: the handles are kept, so that no registry is asked for them again.

use metrics::{Gauge, gauge};

use super::{
    BREAKER_STATE, LANE_BUSY, LANE_SLOTS, LANE_WAITING, LOST_THREADS, MEMORY_LIMIT, MEMORY_PRESSURE,
    MEMORY_RESERVED, MODEL_BYTES, MODEL_STATE, QUEUE_LEASED_JOBS, QUEUE_WAITING_JOBS, QUEUE_WAITING_TOKENS,
    RESIDENT_MODELS, WORKERS,
};
use crate::compute::{Lane, LaneStats, Occupancy};
use crate::memory_governor::{Account, MemoryStats, Pressure};
use crate::orchestrator::{BreakerState, GroupStats};
use crate::types::{Bytes, ModelId};
use crate::worker_state::{GroupState, WorkerState};

/// The gauges of one model group.
pub(crate) struct GroupGauges {
    workers: [Gauge; WorkerState::ALL.len()],
    state: [Gauge; GroupState::ALL.len()],
    breaker: [Gauge; BreakerState::ALL.len()],
    resident: Gauge,
    waiting: Gauge,
    waiting_tokens: Gauge,
    leased: Gauge,
}

impl GroupGauges {
    pub(crate) fn new(model: &ModelId) -> Self {
        let model = || model.as_str().to_owned();
        Self {
            workers: WorkerState::ALL
                .map(|state| gauge!(WORKERS, "model" => model(), "state" => state.as_str())),
            state: GroupState::ALL
                .map(|state| gauge!(MODEL_STATE, "model" => model(), "state" => state.as_str())),
            breaker: BreakerState::ALL
                .map(|state| gauge!(BREAKER_STATE, "model" => model(), "state" => state.as_str())),
            resident: gauge!(MODEL_BYTES, "model" => model()),
            waiting: gauge!(QUEUE_WAITING_JOBS, "model" => model()),
            waiting_tokens: gauge!(QUEUE_WAITING_TOKENS, "model" => model()),
            leased: gauge!(QUEUE_LEASED_JOBS, "model" => model()),
        }
    }

    pub(crate) fn set(&self, stats: &GroupStats) {
        for (state, gauge) in WorkerState::ALL.into_iter().zip(&self.workers) {
            let there = stats.workers.iter().filter(|worker| worker.state == state).count();
            gauge.set(there as f64);
        }
        mark(&self.state, &GroupState::ALL, stats.state);
        mark(&self.breaker, &BreakerState::ALL, stats.breaker);
        self.resident.set(stats.resident.get() as f64);
        self.waiting.set(stats.queue.waiting as f64);
        self.waiting_tokens.set(stats.queue.waiting_tokens.get() as f64);
        self.leased.set(stats.queue.leased as f64);
    }
}

/// The gauges of an engine.
pub(crate) struct EngineGauges {
    limit: Gauge,
    reserved: [Gauge; Account::ALL.len()],
    pressure: [Gauge; Pressure::ALL.len()],
    resident_models: Gauge,
    lanes: [LaneGauges; Lane::ALL.len()],
    lost_threads: Gauge,
}

struct LaneGauges {
    slots: Gauge,
    busy: Gauge,
    waiting: Gauge,
}

impl EngineGauges {
    pub(crate) fn new() -> Self {
        Self {
            limit: gauge!(MEMORY_LIMIT),
            reserved: Account::ALL.map(|account| gauge!(MEMORY_RESERVED, "account" => account.as_str())),
            pressure: Pressure::ALL.map(|level| gauge!(MEMORY_PRESSURE, "level" => level.as_str())),
            resident_models: gauge!(RESIDENT_MODELS),
            lanes: Lane::ALL.map(|lane| LaneGauges {
                slots: gauge!(LANE_SLOTS, "lane" => lane.as_str()),
                busy: gauge!(LANE_BUSY, "lane" => lane.as_str()),
                waiting: gauge!(LANE_WAITING, "lane" => lane.as_str()),
            }),
            lost_threads: gauge!(LOST_THREADS),
        }
    }

    pub(crate) fn set(&self, memory: &MemoryStats, lanes: &LaneStats) {
        let limit = if memory.limit == Bytes::MAX { f64::INFINITY } else { memory.limit.get() as f64 };
        self.limit.set(limit);
        for (account, gauge) in Account::ALL.into_iter().zip(&self.reserved) {
            gauge.set(memory.account(account).get() as f64);
        }
        mark(&self.pressure, &Pressure::ALL, memory.pressure);
        for (lane, gauges) in [lanes.step, lanes.prepare, lanes.io].iter().zip(&self.lanes) {
            let Occupancy { slots, busy, waiting, lost: _ } = *lane;
            gauges.slots.set(slots as f64);
            gauges.busy.set(busy as f64);
            gauges.waiting.set(waiting as f64);
        }
        self.lost_threads.set(lanes.lost_threads() as f64);
    }

    pub(crate) fn set_resident(&self, models: usize) {
        self.resident_models.set(models as f64);
    }
}

/// 1 for the one that holds, 0 for the others.
fn mark<S: Copy + PartialEq>(gauges: &[Gauge], all: &[S], holds: S) {
    for (state, gauge) in all.iter().zip(gauges) {
        gauge.set(f64::from(u8::from(*state == holds)));
    }
}
