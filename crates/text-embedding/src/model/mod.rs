//! The two models as the engine sees them: what a request is, what it costs, what a step does with a batch.
//!
//! Owns the batch of a step; never a queue, a file or a caller.

mod batch;
mod embedding;
mod pace;
mod rerank;

pub(crate) use embedding::EmbeddingLoader;
pub use embedding::{EmbedRequest, EmbeddingModel};
pub(crate) use rerank::RerankLoader;
pub use rerank::{RerankModel, RerankRequest};
