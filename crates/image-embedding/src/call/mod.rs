//! The calls: builders that can be awaited. Each checks what it was told against the model, submits, and waits for its
//! tickets; dropping one cancels its jobs.

mod classify;
mod embed;
mod embed_all;
mod input;
mod options;

pub use classify::{Classified, Classify};
pub use embed::Embed;
pub use embed_all::EmbedAll;
pub use input::Input;
pub(crate) use options::{CallOptions, call_options, normalize_option};
