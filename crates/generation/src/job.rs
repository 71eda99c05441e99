use std::convert::Infallible;

use pool_core::{Cost, Fingerprint, ModelError, Priority};
use tokio::time::Instant;

use crate::blocks::BlockPool;
use crate::decoder::CacheShape;
use crate::grammar::Grammar;
use crate::item::{ContentHash, Item};
use crate::sampling::SamplingParams;
use crate::stop::StopStrings;
use crate::tools::ToolUse;

/// What a modality's request must tell before it is prepared.
pub trait GenerationRequest: Send + Sync + 'static {
    /// A guess at what it costs: see [`expected_cost`].
    fn estimate(&self) -> Cost;

    /// Stands for its whole content, so that equal requests can be joined. Requests that draw their seed at random
    /// have none, or their seed in it.
    fn fingerprint(&self) -> Option<Fingerprint> {
        None
    }

    /// The same for requests that have none, where it may take long: one that makes the model crash is known by it when it
    /// comes again. `None`: it is not.
    fn identify(&self) -> Option<Fingerprint> {
        None
    }

    /// The class it was submitted with: where blocks run out, the lowest gives way first.
    fn priority(&self) -> Priority {
        Priority::Normal
    }

    /// When it was submitted: what the time to its first token is counted from. `None`: from when it joined a step.
    fn submitted(&self) -> Option<Instant> {
        None
    }
}

/// Refuses what can be told of a request before anything is prepared: so many answers, of so many tokens each at most, by a
/// model that computes so many sequences at once.
///
/// # Errors
///
/// [`ModelError::Invalid`] with the parameter, and what would be accepted.
pub fn check_counts(choices: u32, max_tokens: Option<usize>, sequences: usize) -> Result<(), ModelError> {
    if max_tokens == Some(0) {
        return Err(ModelError::invalid("max_tokens is 0; accepted: at least 1, or leave it out"));
    }
    if choices == 0 || choices as usize > sequences {
        let message = format!("n is {choices}; accepted: a number from 1 to {sequences}");
        return Err(ModelError::invalid(message));
    }
    Ok(())
}

/// What answers cost by estimate where nobody said how long they may get.
const EXPECTED: usize = 256;

/// The cost of a prompt of so many tokens and bytes, and of its answers.
pub fn expected_cost(prompt: usize, choices: u32, max_tokens: Option<usize>, bytes: usize) -> Cost {
    let answers = max_tokens.unwrap_or(EXPECTED).min(EXPECTED) * choices as usize;
    Cost::new((prompt + answers) as u64, bytes as u64)
}

/// A picture of a prompt.
#[derive(Clone, Debug)]
pub struct JobPicture<P> {
    /// What it is known by in the prompt.
    pub content: ContentHash,
    /// How many rows it has.
    pub rows: u32,
    /// What the rows are computed from: the decoder's own.
    pub pixels: P,
}

/// A prepared request: what a [`GenerationModel`](crate::GenerationModel) computes on.
#[derive(Debug)]
pub struct GenerationJob<P = Infallible> {
    /// What the answers follow.
    pub prompt: Vec<Item>,
    /// Each picture that the prompt has rows of. They are held until the job ends: rows may have to be computed again.
    pub pictures: Vec<JobPicture<P>>,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Answers wanted. They share the prompt's blocks.
    pub choices: u32,
    /// Tokens of each answer at most. `None`: as many as the model can take.
    pub max_tokens: Option<usize>,
    /// Texts that end an answer.
    pub stop: StopStrings,
    /// Whether end tokens are never drawn, so that every answer is as long as it may be.
    pub ignore_eos: bool,
    /// What each answer must look like.
    pub grammar: Option<Grammar>,
    /// Tools the model may call, and how it writes calls. They are read from the answers.
    pub tools: Option<ToolUse>,
}

impl<P> GenerationJob<P> {
    /// One answer to a prompt, drawn as the model has it.
    pub fn new(prompt: Vec<Item>) -> Self {
        Self {
            prompt,
            pictures: Vec::new(),
            sampling: SamplingParams::default(),
            choices: 1,
            max_tokens: None,
            stop: StopStrings::default(),
            ignore_eos: false,
            grammar: None,
            tools: None,
        }
    }

    /// What it costs, by estimate.
    pub fn cost(&self, bytes: usize) -> Cost {
        expected_cost(self.prompt.len(), self.choices, self.max_tokens, bytes)
    }

    /// Refuses what can never be served.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] with the parameter or length, and what would be accepted.
    pub fn check(&self, limits: &Limits) -> Result<(), ModelError> {
        self.sampling.check(limits.vocab_size)?;
        if self.prompt.is_empty() {
            return Err(ModelError::invalid("the prompt is empty; give at least one token"));
        }
        check_counts(self.choices, self.max_tokens, limits.sequences)?;
        let calls = self.tools.as_ref().is_some_and(|used| used.call.is_some());
        if self.ignore_eos && (self.grammar.is_some() || calls) {
            return Err(ModelError::invalid(
                "ignore_eos and an answer's grammar exclude each other; leave one out",
            ));
        }
        let tokens = self.prompt.iter().filter_map(|item| item.token());
        if let Some(unknown) = tokens.into_iter().find(|token| *token as usize >= limits.vocab_size) {
            let most = limits.vocab_size.saturating_sub(1);
            let message = format!("token id {unknown} in the prompt; the model has ids from 0 to {most}");
            return Err(ModelError::invalid(message));
        }
        let length = self.prompt.len();
        if length >= limits.context {
            let context = limits.context;
            return Err(ModelError::invalid(format!(
                "the prompt has {length} tokens; the model takes {context} of prompt and answer together, so at most {} \
                 of the prompt",
                context.saturating_sub(1)
            )));
        }
        if length >= limits.cache {
            return Err(ModelError::invalid(format!(
                "the prompt has {length} tokens; the memory of the model's cache takes {} of prompt and answer; shorten \
                 the prompt or give the model more memory",
                limits.cache
            )));
        }
        Ok(())
    }

    /// The picture that is known by this.
    pub(crate) fn picture(&self, content: ContentHash) -> Option<&JobPicture<P>> {
        self.pictures.iter().find(|picture| picture.content == content)
    }

    /// Refuses a prompt with rows that none of its pictures has.
    pub(crate) fn check_pictures(&self) -> Result<(), ModelError> {
        for item in &self.prompt {
            let Item::Embedding { content, row } = *item else { continue };
            let rows = self.picture(content).map_or(0, |picture| picture.rows);
            if row >= rows {
                let message = format!("row {row} of a picture that has {rows}: a defect, please report it");
                return Err(ModelError::failed(message));
            }
        }
        Ok(())
    }
}

/// What a model's answers are bounded by. Known before the model is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Positions a sequence may have, by the model's making.
    pub context: usize,
    /// Positions that the cache's memory has room for, one sequence alone.
    pub cache: usize,
    /// Sequences that may be active at once.
    pub sequences: usize,
}

impl Limits {
    /// The limits of a model with such a cache.
    ///
    /// # Errors
    ///
    /// A message where the cache can serve no sequence at all.
    pub fn new(
        vocab_size: usize,
        context: usize,
        cache: &CacheShape,
        config: &GenerationConfig,
    ) -> Result<Self, UnusableCache> {
        let unusable = |why: String| Err(UnusableCache(why));
        if cache.block_tokens == 0 || cache.groups.is_empty() {
            return unusable("it has no blocks".to_owned());
        }
        if let Some(at) = cache.groups.iter().position(|group| group.blocks == 0 || group.window == Some(0)) {
            return unusable(format!("its group {at} has no blocks, or a window of 0 positions"));
        }
        let pool = BlockPool::new(cache);
        let chunk = if config.deterministic { config.chunk(cache.block_tokens) } else { 1 };
        let positions = pool.capacity(chunk);
        if positions < 2 || (config.deterministic && positions < chunk) {
            return unusable(format!("it has room for {positions} positions, a step takes {chunk}"));
        }
        Ok(Self { vocab_size, context, cache: positions, sequences: config.max_sequences.max(1) })
    }

    /// The longest a sequence can get.
    pub(crate) fn longest(&self) -> usize {
        self.context.min(self.cache)
    }
}

/// A cache that can serve no sequence.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the model's cache is too small: {0}; give it more memory")]
pub struct UnusableCache(String);

/// How a model generates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GenerationConfig {
    /// Sequences that are active at once, at most; also the most rows of logits a step has. A job is taken up once all its
    /// choices find a place. Jobs whose callers do not read take none while they do not.
    pub max_sequences: usize,
    /// Tokens of prompts that a step takes at most.
    pub max_prefill: usize,
    /// Whether prompts are always cut at the same positions, so that with a decoder whose rows do not depend on one
    /// another the answers are equal to the last bit: alone, in a batch, after a preemption, from the cache.
    pub deterministic: bool,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self { max_sequences: 32, max_prefill: 512, deterministic: false }
    }
}

/// Positions of a chunk that is always cut the same: as long a step as most machines take for a hundred milliseconds.
const FIXED_CHUNK: usize = 64;

impl GenerationConfig {
    /// Positions that one chunk computes at most, in a cache with blocks of so many tokens; where all must be
    /// [deterministic](Self::deterministic), it ends at their multiples and is computed whole.
    pub fn chunk(&self, block_tokens: usize) -> usize {
        if self.deterministic {
            (FIXED_CHUNK / block_tokens).max(1) * block_tokens
        } else {
            self.max_prefill.max(1)
        }
    }
}
