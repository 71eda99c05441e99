//! What is counted and timed, through the [`metrics`](https://docs.rs/metrics) facade; never an exporter.
//!
//! Every name below carries the label `model`. Install a recorder before the engine is built: handles are bound when a
//! model group is made. Durations are in seconds.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};

use crate::request_queue::{Levels, Outcome};
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
/// Workers that exist (gauge).
pub const WORKERS: &str = "candlepool_workers";
/// Loads that succeeded (counter).
pub const LOADS: &str = "candlepool_loads_total";
/// Loads that failed (counter).
pub const LOAD_FAILURES: &str = "candlepool_load_failures_total";
/// Workers that died: a panic or a failed step (counter).
pub const WORKER_DEATHS: &str = "candlepool_worker_deaths_total";
/// Steps given up as unresponsive (counter).
pub const UNRESPONSIVE: &str = "candlepool_unresponsive_steps_total";

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
    metrics::describe_gauge!(WORKERS, Unit::Count, "Workers that exist");
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
    waiting_jobs: Gauge,
    waiting_tokens: Gauge,
    leased_jobs: Gauge,
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
            waiting_jobs: metrics::gauge!(QUEUE_WAITING_JOBS, "model" => model()),
            waiting_tokens: metrics::gauge!(QUEUE_WAITING_TOKENS, "model" => model()),
            leased_jobs: metrics::gauge!(QUEUE_LEASED_JOBS, "model" => model()),
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

    /// What the queue holds has changed. Told as differences, which add up in whatever order they are told.
    pub(crate) fn moved(&self, before: Levels, after: Levels) {
        shift(&self.waiting_jobs, before.waiting as u64, after.waiting as u64);
        shift(&self.waiting_tokens, before.waiting_tokens.get(), after.waiting_tokens.get());
        shift(&self.leased_jobs, before.leased as u64, after.leased as u64);
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

fn shift(gauge: &Gauge, before: u64, after: u64) {
    if after > before {
        gauge.increment((after - before) as f64);
    } else if before > after {
        gauge.decrement((before - after) as f64);
    }
}

/// The handles of one model group.
pub(crate) struct GroupMetrics {
    workers: Gauge,
    pub(crate) loads: Counter,
    pub(crate) load_failures: Counter,
    pub(crate) worker_deaths: Counter,
    pub(crate) unresponsive: Counter,
}

impl GroupMetrics {
    pub(crate) fn new(model: &ModelId) -> Self {
        let model = || model.as_str().to_owned();
        Self {
            workers: metrics::gauge!(WORKERS, "model" => model()),
            loads: metrics::counter!(LOADS, "model" => model()),
            load_failures: metrics::counter!(LOAD_FAILURES, "model" => model()),
            worker_deaths: metrics::counter!(WORKER_DEATHS, "model" => model()),
            unresponsive: metrics::counter!(UNRESPONSIVE, "model" => model()),
        }
    }

    pub(crate) fn set_workers(&self, workers: usize) {
        self.workers.set(workers as f64);
    }
}
