//! What is counted and timed of sequences, through the [`metrics`](https://docs.rs/metrics) facade.
//!
//! Every name below carries the label `model`. Durations are in seconds.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};
use pool_core::ModelId;

/// From submission to a job's first token (histogram).
pub const FIRST_TOKEN_SECONDS: &str = "candlepool_generation_first_token_seconds";
/// Between two tokens of a choice (histogram).
pub const INTER_TOKEN_SECONDS: &str = "candlepool_generation_inter_token_seconds";
/// Tokens written (counter).
pub const WRITTEN_TOKENS: &str = "candlepool_generation_written_tokens_total";
/// Tokens of prompts (counter).
pub const PROMPT_TOKENS: &str = "candlepool_generation_prompt_tokens_total";
/// Tokens of prompts that were in the cache (counter).
pub const CACHED_TOKENS: &str = "candlepool_generation_cached_prompt_tokens_total";
/// Positions computed, prompts and answers, those computed again included (counter).
pub const COMPUTED_TOKENS: &str = "candlepool_generation_computed_tokens_total";
/// Pictures whose rows were computed (counter).
pub const ENCODED_PICTURES: &str = "candlepool_generation_encoded_pictures_total";
/// Pictures of prompts whose rows another prompt had left (counter).
pub const KEPT_PICTURES: &str = "candlepool_generation_kept_pictures_total";
/// Sequences that hold cache blocks (gauge).
pub const RUNNING: &str = "candlepool_generation_running_sequences";
/// Sequences that wait for others to end, or for cache blocks (gauge).
pub const WAITING: &str = "candlepool_generation_waiting_sequences";
/// Sequences that gave up their cache blocks for another (counter).
pub const PREEMPTIONS: &str = "candlepool_generation_preemptions_total";
/// Cache blocks that sequences hold (gauge).
pub const BLOCKS_USED: &str = "candlepool_generation_cache_blocks_used";
/// Cache blocks that only cached prefixes hold (gauge).
pub const BLOCKS_CACHED: &str = "candlepool_generation_cache_blocks_cached";
/// Cache blocks there are (gauge).
pub const BLOCKS_TOTAL: &str = "candlepool_generation_cache_blocks";

/// The metrics of one model.
pub(crate) struct GenerationMetrics {
    pub(crate) first_token: Histogram,
    pub(crate) inter_token: Histogram,
    pub(crate) written: Counter,
    pub(crate) prompt: Counter,
    pub(crate) cached: Counter,
    pub(crate) computed: Counter,
    pub(crate) encoded_pictures: Counter,
    pub(crate) kept_pictures: Counter,
    pub(crate) running: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) preemptions: Counter,
    pub(crate) blocks_used: Gauge,
    pub(crate) blocks_cached: Gauge,
    pub(crate) blocks_total: Gauge,
}

impl GenerationMetrics {
    pub(crate) fn new(model: &ModelId) -> Self {
        describe();
        let model = || ("model", model.as_str().to_owned());
        let counter = |name: &'static str| metrics::counter!(name, &[model()]);
        let gauge = |name: &'static str| metrics::gauge!(name, &[model()]);
        let histogram = |name: &'static str| metrics::histogram!(name, &[model()]);
        Self {
            first_token: histogram(FIRST_TOKEN_SECONDS),
            inter_token: histogram(INTER_TOKEN_SECONDS),
            written: counter(WRITTEN_TOKENS),
            prompt: counter(PROMPT_TOKENS),
            cached: counter(CACHED_TOKENS),
            computed: counter(COMPUTED_TOKENS),
            encoded_pictures: counter(ENCODED_PICTURES),
            kept_pictures: counter(KEPT_PICTURES),
            running: gauge(RUNNING),
            waiting: gauge(WAITING),
            preemptions: counter(PREEMPTIONS),
            blocks_used: gauge(BLOCKS_USED),
            blocks_cached: gauge(BLOCKS_CACHED),
            blocks_total: gauge(BLOCKS_TOTAL),
        }
    }

    /// A token came, so long after the one before it or, if it is the first, after the job was submitted.
    pub(crate) fn token(&self, first: bool, after: Duration) {
        if first { self.first_token.record(after) } else { self.inter_token.record(after) }
    }
}

impl std::fmt::Debug for GenerationMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GenerationMetrics")
    }
}

fn describe() {
    metrics::describe_histogram!(
        FIRST_TOKEN_SECONDS,
        Unit::Seconds,
        "From submission to a job's first token"
    );
    metrics::describe_histogram!(INTER_TOKEN_SECONDS, Unit::Seconds, "Between two tokens of a choice");
    metrics::describe_counter!(WRITTEN_TOKENS, "Tokens written");
    metrics::describe_counter!(PROMPT_TOKENS, "Tokens of prompts");
    metrics::describe_counter!(CACHED_TOKENS, "Tokens of prompts that were in the cache");
    metrics::describe_counter!(COMPUTED_TOKENS, "Positions computed, those computed again included");
    metrics::describe_counter!(ENCODED_PICTURES, "Pictures whose rows were computed");
    metrics::describe_counter!(KEPT_PICTURES, "Pictures of prompts whose rows another prompt had left");
    metrics::describe_gauge!(RUNNING, "Sequences that hold cache blocks");
    metrics::describe_gauge!(WAITING, "Sequences that wait for others to end, or for cache blocks");
    metrics::describe_counter!(PREEMPTIONS, "Sequences that gave up their cache blocks for another");
    metrics::describe_gauge!(BLOCKS_USED, "Cache blocks that sequences hold");
    metrics::describe_gauge!(BLOCKS_CACHED, "Cache blocks that only cached prefixes hold");
    metrics::describe_gauge!(BLOCKS_TOTAL, "Cache blocks there are");
}
