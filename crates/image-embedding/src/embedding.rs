use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use imaging::EncodedImage;
use model_source::IntoSource;
use pool_core::compute::Claim;
use pool_core::{DrainReport, Engine, Group, Ticket};

use crate::call::{CallOptions, Classify, Embed, EmbedAll, Input};
use crate::checkpoint::{Checkpoint, Scale};
use crate::error::Error;
use crate::info::ModelInfo;
use crate::load::{Load, lane_error};
use crate::model::{EmbedRequest, ImageEmbeddingModel};

/// Lists of more bytes are gone through in a lane: it would take a runtime thread too long.
const HEAVY: usize = 64 << 10;

/// A vector that stands for a picture or a text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Embedding {
    /// Its components.
    pub values: Vec<f32>,
    /// Patches or tokens that were computed for it, special ones and padding included.
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

/// An image embedding model in an engine. Cheap to clone; every clone keeps the engine alive.
#[derive(Clone)]
pub struct ImageEmbedding {
    inner: Arc<Inner>,
}

struct Inner {
    group: Group<ImageEmbeddingModel>,
    checkpoint: Arc<Checkpoint>,
    info: ModelInfo,
}

impl ImageEmbedding {
    /// Loads a model into an engine of its own: `hf:owner/name` or a folder. Await it.
    pub fn load(source: impl IntoSource) -> Load {
        Load::new(None, source)
    }

    /// Loads a model into an engine. Await it.
    pub fn load_in(engine: &Engine, source: impl IntoSource) -> Load {
        Load::new(Some(engine.clone()), source)
    }

    pub(crate) fn new(
        group: Group<ImageEmbeddingModel>,
        checkpoint: Arc<Checkpoint>,
        info: ModelInfo,
    ) -> Self {
        Self { inner: Arc::new(Inner { group, checkpoint, info }) }
    }

    /// Embeds a picture. Await it.
    pub fn embed_image(&self, image: impl Into<EncodedImage>) -> Embed {
        self.embed(image.into())
    }

    /// Embeds a text, into the space that pictures are in. Await it.
    ///
    /// CLIP reads 77 tokens and SigLIP 64, their special ones included; what is longer is cut at its end.
    pub fn embed_text(&self, text: impl Into<Arc<str>>) -> Embed {
        self.embed(text.into())
    }

    /// Embeds a picture or a text. Await it.
    pub fn embed(&self, input: impl Into<Input>) -> Embed {
        Embed::new(self.clone(), input.into())
    }

    /// Embeds a list of pictures and texts: whole or not at all, answers in order. Await it.
    pub fn embed_all<I>(&self, inputs: I) -> EmbedAll
    where
        I: IntoIterator,
        I::Item: Into<Input>,
    {
        EmbedAll::new(self.clone(), inputs.into_iter().map(Into::into).collect())
    }

    /// Says how well each of some labels in words fits a picture, the best first. Await it.
    pub fn classify<I>(&self, image: impl Into<EncodedImage>, labels: I) -> Classify
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Classify::new(self.clone(), image.into(), labels.into_iter().map(Into::into).collect())
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.inner.info
    }

    /// Its group in the engine: statistics, eviction, loading ahead of the first job.
    pub fn group(&self) -> &Group<ImageEmbeddingModel> {
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

    /// How the model turns a cosine into a score.
    pub(crate) fn scale(&self) -> Result<Scale, Error> {
        self.inner.checkpoint.reads_texts()?;
        self.inner.checkpoint.scale().ok_or_else(|| {
            Error::invalid(format!("model {} has no logit_scale to classify with", self.info().model))
        })
    }

    /// Checks a call against the model.
    pub(crate) fn request(&self, input: Input, options: &CallOptions) -> Result<EmbedRequest, Error> {
        EmbedRequest::new(&self.inner.checkpoint, input, options.normalize, options.job.priority)
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

    /// A list's embeddings, in order; the first failure cancels the others.
    pub(crate) async fn run_all(
        &self,
        inputs: Vec<Input>,
        options: &CallOptions,
    ) -> Result<Vec<Embedding>, Error> {
        let requests = self.requests(inputs, options).await?;
        let indexed = self.submit_all(requests, options).await?.into_iter().enumerate();
        let waits = indexed.map(|(index, ticket)| async move { ticket.await.map_err(Error::at(index)) });
        futures::future::try_join_all(waits).await
    }

    /// Checks a list's calls against the model; where it is long, in a lane.
    async fn requests(&self, inputs: Vec<Input>, options: &CallOptions) -> Result<Vec<EmbedRequest>, Error> {
        let bytes: usize = inputs.iter().map(Input::bytes).sum();
        let (pool, options) = (self.clone(), options.clone());
        let check = move || {
            let indexed = inputs.into_iter().enumerate();
            let checked = indexed.map(|(index, input)| {
                pool.request(input, &options).map_err(|error| match error {
                    Error::Pool(error) => Error::Item { index, error },
                    other => other,
                })
            });
            checked.collect()
        };
        if bytes <= HEAVY {
            return check();
        }
        let model = self.group().model().clone();
        let made = self.engine().lanes().prepare(&Claim::new(model.clone()), check).await;
        made.map_err(|error| lane_error(model, error))?
    }

    async fn submit_all(
        &self,
        requests: Vec<EmbedRequest>,
        options: &CallOptions,
    ) -> Result<Vec<Ticket<Embedding>>, Error> {
        let group = self.group();
        if !options.wait {
            return Ok(group.try_submit_all(requests, options.job.clone()).await?);
        }
        let mut tickets = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            tickets.push(group.submit(request, options.job.clone()).await.map_err(Error::at(index))?);
        }
        Ok(tickets)
    }
}

impl fmt::Debug for ImageEmbedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageEmbedding").field("info", &self.inner.info).finish_non_exhaustive()
    }
}
