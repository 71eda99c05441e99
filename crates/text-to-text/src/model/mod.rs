//! The model as the engine sees it: what a request is, how it is prepared, how weights and cache come into memory.

mod decoder;
mod loader;
mod occupancies;
mod request;
mod seed;
mod vocabulary;

pub(crate) use decoder::CachedDecoder;
pub(crate) use loader::TextLoader;
pub(crate) use occupancies::Occupancies;
pub use request::TextRequest;
pub(crate) use request::{ChatInput, Input};
pub(crate) use vocabulary::TokenVocabulary;

/// A language model as the engine sees it.
pub type TextModel = generation::GenerationModel<CachedDecoder, TextRequest>;
