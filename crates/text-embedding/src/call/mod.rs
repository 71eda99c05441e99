//! The calls: builders that can be awaited. Each checks what it was told against the model, submits, and waits for its
//! tickets; dropping one cancels its jobs.

mod embed;
mod embed_all;
mod embed_stream;
mod input;
mod options;

pub use embed::Embed;
pub use embed_all::EmbedAll;
pub use embed_stream::EmbedStream;
pub use input::Input;
pub use options::Truncation;
pub(crate) use options::{CallOptions, PromptChoice, call_options, prompt_options};
