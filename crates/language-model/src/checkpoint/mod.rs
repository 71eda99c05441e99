//! What a model's files say it is: configuration read and checked, tokenizer and chat template made ready, weights'
//! headers looked at, the cache measured out.
//!
//! Every field that changes the mathematics is obeyed or refused by name. Blocks; runs in the io lane.

mod cache;
mod chat_template;
mod content_forms;
mod generation_config;
mod read;
mod stored;

pub(crate) use read::{Checkpoint, Settings};
