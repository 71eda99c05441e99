//! The model as the engine sees it: what a request is, how it is prepared, how weights and cache come into memory.

mod decoder;
mod loader;
mod occupancies;
mod pictures;
mod prompt;
mod request;
mod seed;
mod vocabulary;

pub use decoder::CachedDecoder;
pub(crate) use loader::LanguageLoader;
pub(crate) use occupancies::Occupancies;
pub use request::Request;
pub(crate) use request::{ChatInput, Input};
pub(crate) use vocabulary::TokenVocabulary;

use crate::modality::Modality;

/// A language model as the engine sees it.
pub type PooledModel<M> = generation::GenerationModel<CachedDecoder<<M as Modality>::Vision>, Request<M>>;
