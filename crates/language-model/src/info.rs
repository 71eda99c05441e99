use generation::ToolFormat;
use model_source::Source;
use pool_core::{Bytes, ModelId};

/// What a language model is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The name of its group.
    pub model: ModelId,
    /// Where it comes from.
    pub source: Source,
    /// What identifies its content: a commit, a version, a fingerprint of the files.
    pub revision: String,
    /// Its architecture: `llama`, `qwen2`, `gemma3`, ...
    pub architecture: String,
    /// Token ids range from 0 to one less.
    pub vocabulary: usize,
    /// The most tokens of prompt and answer together.
    pub context: usize,
    /// The most tokens of prompt and answer together that the cache's memory has room for, if that is less.
    pub cache_tokens: usize,
    /// What the cache of keys and values takes, for each worker.
    pub cache: Bytes,
    /// The most answers to one prompt, and sequences that are computed at once.
    pub sequences: usize,
    /// Whether it has a chat template, without which only [`complete`](crate::LanguageModel::complete) works.
    pub chats: bool,
    /// The most tokens that a picture takes. `None`: it reads no pictures.
    pub picture_tokens: Option<usize>,
    /// How it writes calls of tools. `None`: it cannot be given tools.
    pub tool_format: Option<ToolFormat>,
    /// What holds where a call does not say otherwise.
    pub defaults: Defaults,
}

/// How a model's own files want its answers to be drawn: `generation_config.json`, read as transformers reads it.
///
/// A model without one, or whose file does not say `do_sample`, always takes the most likely token, until a call sets a
/// temperature.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Defaults {
    /// The temperature; 0 takes the most likely token.
    pub temperature: f32,
    /// Only the so many most likely tokens may be drawn.
    pub top_k: Option<usize>,
    /// Only the fewest tokens whose probabilities add up to this may be drawn.
    pub top_p: f32,
    /// Only tokens at least so likely, as against the most likely one, may be drawn.
    pub min_p: f32,
    /// Logits of tokens of the prompt and the answer are divided by it.
    pub repetition_penalty: f32,
    /// Tokens of an answer at most. `None`: as many as the model can take.
    pub max_tokens: Option<usize>,
}
