use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use model_source::IntoSource;
use pool_core::compute::Claim;
use pool_core::{DrainReport, Engine, Group, Ticket};

use crate::call::{CallOptions, Embed, EmbedAll, EmbedStream, Input, PromptChoice};
use crate::error::Error;
use crate::info::ModelInfo;
use crate::load::{Load, lane_error};
use crate::model::{EmbedRequest, EmbeddingModel};
use crate::rerank::Rerank;

/// Lists of more bytes are gone through in a lane: it would take a runtime thread too long.
const HEAVY: usize = 64 << 10;

/// A vector that stands for an input.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Embedding {
    /// Its components.
    pub values: Vec<f32>,
    /// Tokens that were computed for it, special ones and the prompt's included.
    pub tokens: usize,
}

impl Deref for Embedding {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl AsRef<[f32]> for Embedding {
    fn as_ref(&self) -> &[f32] {
        &self.values
    }
}

impl From<Embedding> for Vec<f32> {
    fn from(embedding: Embedding) -> Self {
        embedding.values
    }
}

/// A text embedding model in an engine. Cheap to clone; every clone keeps the engine alive.
#[derive(Clone)]
pub struct TextEmbedding {
    inner: Arc<Inner>,
}

struct Inner {
    group: Group<EmbeddingModel>,
    info: ModelInfo,
}

impl TextEmbedding {
    /// Loads a model into an engine of its own: `hf:owner/name`, a folder, a file, `builtin`. Await it.
    pub fn load(source: impl IntoSource) -> Load<Self> {
        Load::new(None, source)
    }

    /// Loads a model into an engine. Await it.
    pub fn load_in(engine: &Engine, source: impl IntoSource) -> Load<Self> {
        Load::new(Some(engine.clone()), source)
    }

    pub(crate) fn new(group: Group<EmbeddingModel>, info: ModelInfo) -> Self {
        Self { inner: Arc::new(Inner { group, info }) }
    }

    /// Embeds one input. Await it.
    pub fn embed(&self, input: impl Into<Input>) -> Embed {
        Embed::new(self.clone(), input.into())
    }

    /// Embeds token ids as they are. Await it.
    pub fn embed_tokens(&self, ids: impl Into<Vec<u32>>) -> Embed {
        self.embed(ids.into())
    }

    /// Embeds a list: whole or not at all, answers in order. Await it.
    pub fn embed_all<I>(&self, inputs: I) -> EmbedAll
    where
        I: IntoIterator,
        I::Item: Into<Input>,
    {
        EmbedAll::new(self.clone(), inputs.into_iter().map(Into::into).collect())
    }

    /// Embeds a stream of any length in bounded memory; answers in order, failures as items.
    pub fn embed_stream<S>(&self, inputs: S) -> EmbedStream<S>
    where
        S: Stream + Unpin,
        S::Item: Into<Input>,
    {
        EmbedStream::new(self.clone(), inputs)
    }

    /// Ranks documents by how alike their vectors are to the query's, as the model compares vectors. Await it.
    ///
    /// The model's prompts named `query`, and `document` or `passage`, are put before them, if it has such. A
    /// [`Reranker`](crate::Reranker) is slower and better.
    pub fn rerank<I>(&self, query: impl Into<Arc<str>>, documents: I) -> Rerank<Self>
    where
        I: IntoIterator,
        I::Item: Into<Arc<str>>,
    {
        Rerank::new(self.clone(), query.into(), documents.into_iter().map(Into::into).collect())
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.inner.info
    }

    /// Its group in the engine: statistics, eviction, loading ahead of the first job.
    pub fn group(&self) -> &Group<EmbeddingModel> {
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

    /// Checks a call against the model.
    pub(crate) fn request(&self, input: Input, options: &CallOptions) -> Result<EmbedRequest, Error> {
        let info = self.info();
        let prompt = match (&input, &options.prompt) {
            (Input::Tokens(_), PromptChoice::Default) => None,
            (Input::Tokens(_), _) => {
                return Err(Error::invalid(
                    "a prompt cannot be put before token ids; send text, or no prompt",
                ));
            }
            (Input::Text(_), choice) => find_prompt(info, choice)?,
        };
        if let Some(dimensions) = options.dimensions
            && !(1..=info.full_dimensions).contains(&dimensions)
        {
            return Err(Error::invalid(format!(
                "dimensions is {dimensions}; model {} has 1 to {}",
                info.model, info.full_dimensions
            )));
        }
        let dimensions = (options.dimensions.unwrap_or(info.dimensions), options.dimensions.is_some());
        Ok(EmbedRequest::new(input, prompt, options.truncation, dimensions, info.max_tokens))
    }

    /// Checks a list's calls against the model.
    pub(crate) async fn requests(
        &self,
        inputs: Vec<Input>,
        options: &CallOptions,
    ) -> Result<Vec<EmbedRequest>, Error> {
        let bytes = inputs.iter().map(Input::bytes).sum();
        let (pool, options) = (self.clone(), options.clone());
        let check = move || inputs.into_iter().map(|input| pool.request(input, &options)).collect();
        make_requests(self.group(), bytes, check).await?
    }

    pub(crate) async fn submit(
        &self,
        request: EmbedRequest,
        options: &CallOptions,
    ) -> Result<Ticket<Embedding>, Error> {
        let group = self.group();
        let job = options.job.clone();
        Ok(if options.wait { group.submit(request, job).await? } else { group.try_submit(request, job)? })
    }

    pub(crate) async fn submit_all(
        &self,
        requests: Vec<EmbedRequest>,
        options: &CallOptions,
    ) -> Result<Vec<Ticket<Embedding>>, Error> {
        submit_all(self.group(), requests, options).await
    }
}

/// Makes a list's requests, of so many bytes in all: where it is long, in a lane, since each of them is hashed.
pub(crate) async fn make_requests<M: pool_core::Model, T: Send + 'static>(
    group: &Group<M>,
    bytes: usize,
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if bytes <= HEAVY {
        return Ok(make());
    }
    let model = group.model().clone();
    let made = group.engine().lanes().prepare(&Claim::new(model.clone()), make).await;
    made.map_err(|error| lane_error(model, error))
}

/// Admits a list whole or not at all, or each part of it when there is room.
pub(crate) async fn submit_all<M: pool_core::Model>(
    group: &Group<M>,
    requests: Vec<M::Request>,
    options: &CallOptions,
) -> Result<Vec<Ticket<M::Output>>, Error> {
    if !options.wait {
        return Ok(group.try_submit_all(requests, options.job.clone()).await?);
    }
    let mut tickets = Vec::with_capacity(requests.len());
    for (index, request) in requests.into_iter().enumerate() {
        tickets.push(group.submit(request, options.job.clone()).await.map_err(Error::at(index))?);
    }
    Ok(tickets)
}

/// Waits for all tickets; the first failure cancels the others.
pub(crate) async fn in_order<T>(tickets: Vec<Ticket<T>>) -> Result<Vec<T>, Error> {
    let indexed = tickets.into_iter().enumerate();
    let waits = indexed.map(|(index, ticket)| async move { ticket.await.map_err(Error::at(index)) });
    futures::future::try_join_all(waits).await
}

fn find_prompt(info: &ModelInfo, choice: &PromptChoice) -> Result<Option<Arc<str>>, Error> {
    let name = match choice {
        PromptChoice::Text(text) => {
            return Ok(Some(text.as_str()).filter(|text| !text.is_empty()).map(Into::into));
        }
        PromptChoice::Named(name) => name,
        PromptChoice::Default => match &info.default_prompt {
            Some(name) => name,
            None => return Ok(None),
        },
    };
    match info.prompts.get(name) {
        Some(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty()).map(Into::into)),
        None if info.prompts.is_empty() => {
            Err(Error::invalid(format!("unknown prompt {name:?}: model {} has no prompts", info.model)))
        }
        None => {
            let known: Vec<&str> = info.prompts.keys().map(String::as_str).collect();
            Err(Error::invalid(format!(
                "unknown prompt {name:?}: model {} has {}",
                info.model,
                known.join(", ")
            )))
        }
    }
}

impl fmt::Debug for TextEmbedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextEmbedding").field("info", &self.inner.info).finish_non_exhaustive()
    }
}
