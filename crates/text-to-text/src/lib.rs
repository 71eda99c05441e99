//! Language models as async pools: chats and completions.
//!
//! [`TextToText`] runs a decoder of the Llama family (Llama, Mistral, Qwen 2 and 3, Gemma 2 and 3, Phi-3, SmolLM2) from a
//! folder in Hugging Face layout or from a GGUF file. Sequences are batched token by token: a new one joins with the next
//! step, a finished one leaves at once, and equal beginnings (a shared system prompt, earlier turns) are computed once.
//! Prompts are rendered, tokenised and computed on the engine's lanes, never on a runtime thread.
//!
//! ```no_run
//! use futures::StreamExt as _;
//! use text_to_text::{Message, TextToText};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), text_to_text::Error> {
//! let pool = TextToText::load("hf:HuggingFaceTB/SmolLM2-135M-Instruct").await?;
//! let answer = pool.chat([Message::user("What is the capital of France?")]).max_tokens(32).await?;
//! assert!(answer.text().contains("Paris"));
//!
//! let mut stream = pool.complete("Once upon a time").temperature(0.7).max_tokens(64).stream().await?;
//! let mut text = String::new();
//! while let Some(delta) = stream.next().await {
//!     text.push_str(&delta?.text);
//! }
//! assert_eq!(stream.finish().await?.text(), text);
//! # Ok(())
//! # }
//! ```
//!
//! # What is understood
//!
//! - `config.json` of transformers 4 and 5 with safetensors in f32, f16 or bf16, sharded or not; GGUF metadata with every
//!   quantisation that candle reads.
//! - `tokenizer.json`, or the vocabulary in a GGUF file, byte-pair or SentencePiece.
//! - Chat templates, from `chat_template.jinja`, `tokenizer_config.json` or GGUF metadata, with what transformers gives
//!   them; calls of tools in the formats of Hermes and Qwen, Llama 3, Mistral, DeepSeek, InternLM and Command R.
//! - `generation_config.json`: how to draw where a call does not say, and which tokens end an answer.
//!
//! # What never happens here
//!
//! No configuration field that changes the mathematics is ignored: what is not supported is refused by name. Nothing
//! heavy runs on a runtime thread. Which tensor library computes does not show.

mod text_to_text;

pub use language_model::{
    Bytes, Choice, Deadline, Defaults, Delta, DeviceChoice, Dtype, Engine, Error, FinishReason, Generation,
    GenerationStream, GroupConfig, GroupStats, HubOptions, IntoSource, Logprobs, Message, ModelId, ModelInfo,
    Occupancy, Principal, Priority, Progress, Prompt, ResponseFormat, Source, SourceError, Tool, ToolCall,
    ToolChoice, ToolFormat, Usage, Written,
};
pub use text_to_text::{Chat, Complete, CompleteAll, Load, Text, TextModel, TextRequest, TextToText};
