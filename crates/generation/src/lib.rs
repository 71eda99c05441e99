//! Sequences over a decoder: what is common to every model that writes text.
//!
//! A [`Decoder`] computes rows of logits for chunks of many sequences, with their state in a cache of blocks that it
//! owns and does not manage. A [`GenerationModel`] over one is a [`pool_core::Model`]: it batches sequences step by
//! step, shares the blocks of equal prefixes, draws tokens, and turns them into text. A modality adds a decoder, a
//! [`Vocabulary`], and a loader that prepares a [`GenerationJob`] from its own request.
//!
//! Prompts may hold rows of pictures in the place of tokens. A decoder computes them piece by piece, beside everything else,
//! and they are kept for prompts to come.
//!
//! Around it: [`ChatTemplate`] renders conversations as transformers does, [`Grammars`] compiles JSON schemas and calls
//! of [`Tools`] into what an answer must look like, and [`ToolFormat`] knows how families of models write such calls.
//!
//! ```
//! use generation::{Chat, ChatTemplate};
//! use serde_json::json;
//!
//! let template = ChatTemplate::new(
//!     "{% for message in messages %}<{{ message.role }}>{{ message.content | trim }}</s>{% endfor %}\
//!      {% if add_generation_prompt %}<assistant>{% endif %}",
//! )?;
//! let prompt = template.render(&Chat::new(vec![json!({"role": "user", "content": " Hello "})]))?;
//! assert_eq!(prompt, "<user>Hello</s><assistant>");
//! # Ok::<(), generation::TemplateError>(())
//! ```
//!
//! # What never happens here
//!
//! No tensor library, no tokenizer, no file and no wire format. Nothing here starts a task or a thread.

mod blocks;
mod decoder;
mod detokenizer;
mod grammar;
mod item;
mod job;
pub mod metrics;
mod model;
mod occupancy;
mod output;
mod sampling;
mod scheduler;
mod stop;
mod template;
mod text;
mod tools;
mod vocabulary;
mod writer;

pub use decoder::{BlockId, CacheGroup, CacheShape, Chunk, DecodeError, Decoder, LogitRows};
pub use grammar::{Grammar, Grammars};
pub use item::{ContentHash, Item};
pub use job::{
    GenerationConfig, GenerationJob, GenerationRequest, JobPicture, Limits, UnusableCache, check_counts,
    expected_cost,
};
pub use model::GenerationModel;
pub use occupancy::Occupancy;
pub use output::{Choice, Delta, FinishReason, Generation, Logprobs, Usage, Written};
pub use sampling::SamplingParams;
pub use stop::StopStrings;
pub use template::{Chat, ChatTemplate, TemplateError};
pub use tools::{Tool, ToolCall, ToolFormat, ToolUse, Tools};
pub use vocabulary::Vocabulary;
