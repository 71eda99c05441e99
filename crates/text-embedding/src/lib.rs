//! Text embedding and reranking as async pools.
//!
//! [`TextEmbedding`] turns texts into vectors with the models sentence-transformers knows: BERT-family encoders (MiniLM,
//! BGE, E5, GTE) and static models (model2vec). [`Reranker`] scores a query against documents with a cross-encoder. Both
//! tokenise and compute on the engine's lanes, never on a runtime thread, and batch whatever is waiting by length.
//!
//! ```
//! use text_embedding::TextEmbedding;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), text_embedding::Error> {
//! let pool = TextEmbedding::load("builtin").await?;
//! let cat = pool.embed("a cat sat on the mat").await?;
//! let ranking = pool.rerank("feline", ["a dog barks", "a kitten sleeps"]).await?;
//! assert_eq!(cat.len(), pool.info().dimensions);
//! assert_eq!(ranking[0].index, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What is understood
//!
//! - Folders of sentence-transformers: `modules.json` with `Transformer`, `Pooling` (every mode, also several), `Dense`,
//!   `Normalize`, `StaticEmbedding`; prompts, length limit, truncation side, `truncate_dim`, similarity function. The
//!   spelling of all its versions.
//! - Folders of transformers without `modules.json`: mean pooling, as sentence-transformers does with them.
//! - Encoders: `bert`, `roberta`, `xlm-roberta`, `camembert`, from safetensors in f32, f16 or bf16.
//! - Cross-encoders: `...ForSequenceClassification` of these, with the activation their configuration names.
//! - Static models of sentence-transformers and of model2vec, the latter also in 8 bits: the built-in one is such.
//!
//! # What never happens here
//!
//! No configuration field that changes the mathematics is ignored: what is not supported is refused by name. Nothing
//! heavy runs on a runtime thread. Which tensor library computes does not show.

mod call;
mod checkpoint;
mod embedding;
mod error;
mod info;
mod load;
mod model;
mod network;
mod rerank;
mod tokenize;

pub use call::{Embed, EmbedAll, EmbedStream, Input, Truncation};
pub use embedding::{Embedding, TextEmbedding};
pub use error::Error;
pub use info::{ModelInfo, Pooling, RerankerInfo, Similarity};
pub use load::{Load, Pool};
pub use model::{EmbedRequest, EmbeddingModel, RerankModel, RerankRequest};
pub use model_source::{DeviceChoice, Dtype, HubOptions, IntoSource, Progress, Source, SourceError};
pub use pool_core::{Deadline, Engine, GroupConfig, GroupStats, ModelId, Principal, Priority};
pub use rerank::{Ranked, Ranker, Ranking, Rerank, Reranker, Score, Scores};
