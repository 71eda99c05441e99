use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model_source::IntoSource;
use pool_core::{DrainReport, Engine, Group};

use super::{Ranking, Rerank, Score};
use crate::call::CallOptions;
use crate::embedding::{in_order, make_requests, submit_all};
use crate::error::Error;
use crate::info::RerankerInfo;
use crate::load::Load;
use crate::model::{RerankModel, RerankRequest};

/// A cross-encoder in an engine: reads query and document together. Cheap to clone; every clone keeps the engine alive.
#[derive(Clone)]
pub struct Reranker {
    inner: Arc<Inner>,
}

struct Inner {
    group: Group<RerankModel>,
    info: RerankerInfo,
}

impl Reranker {
    /// Loads a cross-encoder into an engine of its own: `hf:owner/name`, a folder, a file. Await it.
    pub fn load(source: impl IntoSource) -> Load<Self> {
        Load::new(None, source)
    }

    /// Loads a cross-encoder into an engine. Await it.
    pub fn load_in(engine: &Engine, source: impl IntoSource) -> Load<Self> {
        Load::new(Some(engine.clone()), source)
    }

    pub(crate) fn new(group: Group<RerankModel>, info: RerankerInfo) -> Self {
        Self { inner: Arc::new(Inner { group, info }) }
    }

    /// Ranks documents by a query. Await it. Refused if the model gives a pair more than one score.
    pub fn rerank<I>(&self, query: impl Into<Arc<str>>, documents: I) -> Rerank<Self>
    where
        I: IntoIterator,
        I::Item: Into<Arc<str>>,
    {
        Rerank::new(self.clone(), query.into(), documents.into_iter().map(Into::into).collect())
    }

    /// Scores one pair. Await it.
    pub fn score(&self, query: impl Into<Arc<str>>, document: impl Into<Arc<str>>) -> Score {
        Score::new(self.clone(), query.into(), document.into())
    }

    /// What the model is.
    pub fn info(&self) -> &RerankerInfo {
        &self.inner.info
    }

    /// Its group in the engine: statistics, eviction, loading ahead of the first job.
    pub fn group(&self) -> &Group<RerankModel> {
        &self.inner.group
    }

    /// The engine it runs in.
    pub fn engine(&self) -> &Engine {
        self.inner.group.engine()
    }

    /// Ends the engine: refuses new work, finishes what was accepted, and reports. See [`Engine::drain`].
    pub async fn drain(&self, within: Duration) -> DrainReport {
        self.engine().drain(within).await
    }

    pub(super) fn request(
        &self,
        query: Arc<str>,
        document: Arc<str>,
        options: &CallOptions,
    ) -> RerankRequest {
        RerankRequest::new(query, document, options.truncation, self.info().max_tokens)
    }

    /// The query with each of the documents.
    async fn requests(
        &self,
        query: Arc<str>,
        documents: Vec<Arc<str>>,
        options: &CallOptions,
    ) -> Result<Vec<RerankRequest>, Error> {
        let bytes = documents.iter().map(|document| query.len() + document.len()).sum();
        let (pool, options) = (self.clone(), options.clone());
        let pair = move |document| pool.request(Arc::clone(&query), document, &options);
        make_requests(self.group(), bytes, move || documents.into_iter().map(pair).collect()).await
    }
}

impl IntoFuture for Rerank<Reranker> {
    type Output = Result<Ranking, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { pool, query, documents, options, top } = self;
            let labels = pool.info().labels;
            if labels != 1 {
                return Err(Error::invalid(format!(
                    "model {} gives each pair {labels} scores and cannot rank; use a model with one label",
                    pool.info().model
                )));
            }
            let requests = pool.requests(query, documents, &options).await?;
            let tickets = submit_all(pool.group(), requests, &options).await?;
            let scores = in_order(tickets).await?;
            let tokens = scores.iter().map(|scores| scores.tokens).sum();
            let scores = scores.iter().map(|scores| scores.first().copied().unwrap_or(f32::NAN));
            Ok(Ranking::new(scores, tokens).cut(top))
        })
    }
}

impl fmt::Debug for Reranker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reranker").field("info", &self.inner.info).finish_non_exhaustive()
    }
}
