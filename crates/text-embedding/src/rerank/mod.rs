//! Ranking documents by a query: with a cross-encoder, or by the likeness of embeddings.

mod by_similarity;
mod ranker;
mod ranking;
mod reranker;
mod score;

pub use ranker::Ranker;
pub use ranking::{Ranked, Ranking, Rerank};
pub use reranker::Reranker;
pub use score::{Score, Scores};
