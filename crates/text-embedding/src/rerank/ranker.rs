use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model_source::IntoSource;
use pool_core::{DrainReport, Engine, ModelId};

use super::{Ranking, Rerank, Reranker};
use crate::embedding::TextEmbedding;
use crate::error::Error;
use crate::load::Load;

/// Whatever can rank: a cross-encoder or an embedding model, as the checkpoint says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ranker {
    /// Reads query and document together.
    CrossEncoder(Reranker),
    /// Compares the vectors of query and document.
    Embedding(TextEmbedding),
}

impl Ranker {
    /// Loads a model into an engine of its own: `hf:owner/name`, a folder, a file, `builtin`. Await it.
    pub fn load(source: impl IntoSource) -> Load<Self> {
        Load::new(None, source)
    }

    /// Loads a model into an engine. Await it.
    pub fn load_in(engine: &Engine, source: impl IntoSource) -> Load<Self> {
        Load::new(Some(engine.clone()), source)
    }

    /// Ranks documents by a query. Await it.
    pub fn rerank<I>(&self, query: impl Into<Arc<str>>, documents: I) -> Rerank<Self>
    where
        I: IntoIterator,
        I::Item: Into<Arc<str>>,
    {
        Rerank::new(self.clone(), query.into(), documents.into_iter().map(Into::into).collect())
    }

    /// The name of its group.
    pub fn model(&self) -> &ModelId {
        match self {
            Self::CrossEncoder(pool) => pool.group().model(),
            Self::Embedding(pool) => pool.group().model(),
        }
    }

    /// The engine it runs in.
    pub fn engine(&self) -> &Engine {
        match self {
            Self::CrossEncoder(pool) => pool.engine(),
            Self::Embedding(pool) => pool.engine(),
        }
    }

    /// Ends the engine: refuses new work, finishes what was accepted, and reports. See [`Engine::drain`].
    pub async fn drain(&self, within: Duration) -> DrainReport {
        self.engine().drain(within).await
    }
}

impl IntoFuture for Rerank<Ranker> {
    type Output = Result<Ranking, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { pool, query, documents, options, top } = self;
        match pool {
            Ranker::CrossEncoder(pool) => Rerank { pool, query, documents, options, top }.into_future(),
            Ranker::Embedding(pool) => Rerank { pool, query, documents, options, top }.into_future(),
        }
    }
}
