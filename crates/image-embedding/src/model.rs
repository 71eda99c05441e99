//! The model as the engine sees it: what a request is, what it costs, what a step does.
//!
//! Owns the passes that are under way; never a queue, a file or a caller.

mod batch;
mod embedding;
mod pace;
mod request;

pub(crate) use embedding::EmbeddingLoader;
pub use embedding::ImageEmbeddingModel;
pub use request::EmbedRequest;
