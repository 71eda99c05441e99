//! What is counted and timed, through the [`metrics`](https://docs.rs/metrics) facade; never an exporter.
//!
//! Names of jobs, steps, loads and workers carry the label `model`. Install a recorder before the engine is built: handles are
//! bound when it and its model groups are made. Durations are in seconds.
//!
//! Counters and histograms are told as things happen. Gauges are read off: [`Engine::publish_metrics`] brings them up to
//! date. Where a gauge has the label `state`, it is 1 for the state that holds and 0 for the others, or counts those in it.
//!
//! [`Engine::publish_metrics`]: crate::Engine::publish_metrics

mod gauges;

use std::time::Duration;

pub(crate) use gauges::{EngineGauges, GroupGauges};
use metrics::{Counter, Histogram, Unit};

use crate::request_queue::Outcome;
use crate::types::ModelId;

/// Tickets accepted (counter).
pub const ACCEPTED: &str = "candlepool_jobs_accepted_total";
/// Tickets refused at the door (counter).
pub const REFUSED: &str = "candlepool_jobs_refused_total";
/// Tickets that joined an equal job (counter).
pub const JOINED: &str = "candlepool_jobs_joined_total";
/// Tickets ended, with the label `outcome`: `completed`, `cancelled`, `expired` or `failed` (counter).
pub const ENDED: &str = "candlepool_jobs_ended_total";
/// Jobs that no worker holds (gauge).
pub const QUEUE_WAITING_JOBS: &str = "candlepool_queue_waiting_jobs";
/// What those jobs ask to compute (gauge).
pub const QUEUE_WAITING_TOKENS: &str = "candlepool_queue_waiting_tokens";
/// Jobs that a worker holds (gauge).
pub const QUEUE_LEASED_JOBS: &str = "candlepool_queue_leased_jobs";
/// From acceptance to a worker's hand; a job that is run again is timed once (histogram).
pub const QUEUE_SECONDS: &str = "candlepool_queue_seconds";
/// One step, with its wait for a slot (histogram).
pub const STEP_SECONDS: &str = "candlepool_step_seconds";
/// Jobs active in a step (histogram).
pub const STEP_JOBS: &str = "candlepool_step_jobs";
/// Tokens of the jobs that ended with a step (counter).
pub const TOKENS: &str = "candlepool_tokens_total";
/// Workers, with the label `state` (gauge).
pub const WORKERS: &str = "candlepool_workers";
/// Loads that succeeded (counter).
pub const LOADS: &str = "candlepool_loads_total";
/// Loads that failed (counter).
pub const LOAD_FAILURES: &str = "candlepool_load_failures_total";
/// Workers that died: a panic or a failed step (counter).
pub const WORKER_DEATHS: &str = "candlepool_worker_deaths_total";
/// Steps given up as unresponsive (counter).
pub const UNRESPONSIVE: &str = "candlepool_unresponsive_steps_total";

/// Models whose memory was given to others, or that nobody used for long (counter).
pub const EVICTIONS: &str = "candlepool_evictions_total";
/// Where a model is, with the label `state` (gauge).
pub const MODEL_STATE: &str = "candlepool_model_state";
/// Whether a model may be loaded, with the label `state` (gauge).
pub const BREAKER_STATE: &str = "candlepool_breaker_state";
/// What a model's weights and working sets take (gauge).
pub const MODEL_BYTES: &str = "candlepool_model_resident_bytes";
/// Models in memory (gauge).
pub const RESIDENT_MODELS: &str = "candlepool_resident_models";
/// The memory budget; infinite where there is none (gauge).
pub const MEMORY_LIMIT: &str = "candlepool_memory_limit_bytes";
/// What is reserved of it, with the label `account` (gauge).
pub const MEMORY_RESERVED: &str = "candlepool_memory_reserved_bytes";
/// How full it is, with the label `level` (gauge).
pub const MEMORY_PRESSURE: &str = "candlepool_memory_pressure";
/// Compute slots, with the label `lane` (gauge).
pub const LANE_SLOTS: &str = "candlepool_lane_slots";
/// Compute slots taken, with the label `lane` (gauge).
pub const LANE_BUSY: &str = "candlepool_lane_busy_slots";
/// Work that waits for a compute slot, with the label `lane` (gauge).
pub const LANE_WAITING: &str = "candlepool_lane_waiting";
/// Threads whose work never returned (gauge).
pub const LOST_THREADS: &str = "candlepool_lost_threads";

/// Tells the recorder every metric's unit and meaning. Call it once a recorder is installed.
pub fn describe() {
    metrics::describe_counter!(ACCEPTED, Unit::Count, "Jobs accepted");
    metrics::describe_counter!(REFUSED, Unit::Count, "Jobs refused at the door");
    metrics::describe_counter!(JOINED, Unit::Count, "Jobs that joined an equal one");
    metrics::describe_counter!(ENDED, Unit::Count, "Jobs ended, by outcome");
    metrics::describe_gauge!(QUEUE_WAITING_JOBS, Unit::Count, "Jobs that no worker holds");
    metrics::describe_gauge!(QUEUE_WAITING_TOKENS, Unit::Count, "Tokens that waiting jobs ask to compute");
    metrics::describe_gauge!(QUEUE_LEASED_JOBS, Unit::Count, "Jobs that a worker holds");
    metrics::describe_histogram!(QUEUE_SECONDS, Unit::Seconds, "Time from acceptance to a worker");
    metrics::describe_histogram!(STEP_SECONDS, Unit::Seconds, "Time of one step with its wait for a slot");
    metrics::describe_histogram!(STEP_JOBS, Unit::Count, "Jobs active in a step");
    metrics::describe_counter!(TOKENS, Unit::Count, "Tokens of jobs that ended with a step");
    metrics::describe_gauge!(WORKERS, Unit::Count, "Workers, by state");
    metrics::describe_counter!(EVICTIONS, Unit::Count, "Models evicted from memory");
    metrics::describe_gauge!(MODEL_STATE, Unit::Count, "1 for the state a model is in");
    metrics::describe_gauge!(BREAKER_STATE, Unit::Count, "1 for the state a model's circuit breaker is in");
    metrics::describe_gauge!(MODEL_BYTES, Unit::Bytes, "What a model's weights and working sets take");
    metrics::describe_gauge!(RESIDENT_MODELS, Unit::Count, "Models in memory");
    metrics::describe_gauge!(MEMORY_LIMIT, Unit::Bytes, "The memory budget");
    metrics::describe_gauge!(MEMORY_RESERVED, Unit::Bytes, "What is reserved of it, by account");
    metrics::describe_gauge!(MEMORY_PRESSURE, Unit::Count, "1 for how full the memory budget is");
    metrics::describe_gauge!(LANE_SLOTS, Unit::Count, "Compute slots, by lane");
    metrics::describe_gauge!(LANE_BUSY, Unit::Count, "Compute slots taken, by lane");
    metrics::describe_gauge!(LANE_WAITING, Unit::Count, "Work that waits for a compute slot, by lane");
    metrics::describe_gauge!(LOST_THREADS, Unit::Count, "Threads whose work never returned");
    metrics::describe_counter!(LOADS, Unit::Count, "Model loads that succeeded");
    metrics::describe_counter!(LOAD_FAILURES, Unit::Count, "Model loads that failed");
    metrics::describe_counter!(WORKER_DEATHS, Unit::Count, "Workers that died");
    metrics::describe_counter!(UNRESPONSIVE, Unit::Count, "Steps given up as unresponsive");
}

/// The handles of one queue and its workers.
pub(crate) struct QueueMetrics {
    accepted: Counter,
    refused: Counter,
    joined: Counter,
    completed: Counter,
    cancelled: Counter,
    expired: Counter,
    failed: Counter,
    queue_seconds: Histogram,
    step_seconds: Histogram,
    step_jobs: Histogram,
    tokens: Counter,
}

impl QueueMetrics {
    pub(crate) fn new(model: &ModelId) -> Self {
        let model = || model.as_str().to_owned();
        let ended =
            |outcome: &'static str| metrics::counter!(ENDED, "model" => model(), "outcome" => outcome);
        Self {
            accepted: metrics::counter!(ACCEPTED, "model" => model()),
            refused: metrics::counter!(REFUSED, "model" => model()),
            joined: metrics::counter!(JOINED, "model" => model()),
            completed: ended("completed"),
            cancelled: ended("cancelled"),
            expired: ended("expired"),
            failed: ended("failed"),
            queue_seconds: metrics::histogram!(QUEUE_SECONDS, "model" => model()),
            step_seconds: metrics::histogram!(STEP_SECONDS, "model" => model()),
            step_jobs: metrics::histogram!(STEP_JOBS, "model" => model()),
            tokens: metrics::counter!(TOKENS, "model" => model()),
        }
    }

    pub(crate) fn accepted(&self, tickets: u64) {
        self.accepted.increment(tickets);
    }

    pub(crate) fn refused(&self, tickets: u64) {
        self.refused.increment(tickets);
    }

    pub(crate) fn joined(&self, tickets: u64) {
        if tickets > 0 {
            self.joined.increment(tickets);
        }
    }

    pub(crate) fn ended(&self, outcome: Outcome, tickets: u64) {
        let counter = match outcome {
            Outcome::Completed => &self.completed,
            Outcome::Cancelled => &self.cancelled,
            Outcome::Expired => &self.expired,
            Outcome::Failed => &self.failed,
        };
        counter.increment(tickets);
    }

    pub(crate) fn waited(&self, wait: Duration) {
        self.queue_seconds.record(wait.as_secs_f64());
    }

    pub(crate) fn stepped(&self, jobs: usize, elapsed: Duration, tokens: u64) {
        self.step_jobs.record(jobs as f64);
        self.step_seconds.record(elapsed.as_secs_f64());
        self.tokens.increment(tokens);
    }
}

/// The counters of one model group.
pub(crate) struct GroupMetrics {
    pub(crate) loads: Counter,
    pub(crate) evictions: Counter,
    pub(crate) load_failures: Counter,
    pub(crate) worker_deaths: Counter,
    pub(crate) unresponsive: Counter,
}

impl GroupMetrics {
    pub(crate) fn new(model: &ModelId) -> Self {
        let model = || model.as_str().to_owned();
        Self {
            evictions: metrics::counter!(EVICTIONS, "model" => model()),
            loads: metrics::counter!(LOADS, "model" => model()),
            load_failures: metrics::counter!(LOAD_FAILURES, "model" => model()),
            worker_deaths: metrics::counter!(WORKER_DEATHS, "model" => model()),
            unresponsive: metrics::counter!(UNRESPONSIVE, "model" => model()),
        }
    }
}
