//! A model as this program runs it: which pool its checkpoint asks for, and what can be asked of it.
//!
//! Owns the choice of the pool; what the pool does is the modality crate's.

use std::sync::Arc;

use model_source::{Dtype, HubOptions, Progress, Source, SourceError, Wanted};
use pool_core::{Engine, GroupConfig};
use serde::Deserialize;
use text_embedding::{Reranker, TextEmbedding};

use crate::config::Modality;

/// A model in an engine.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    /// Makes vectors, and ranks by their likeness.
    Embedding(TextEmbedding),
    /// A cross-encoder: ranks, and makes no vectors.
    Reranker(Reranker),
}

/// Which model, and how it is to be run.
#[derive(Clone)]
pub(crate) struct Loading {
    pub(crate) source: Source,
    pub(crate) dtype: Dtype,
    pub(crate) group: GroupConfig,
    /// Whether to leave the weights to the first job.
    pub(crate) lazy: bool,
    pub(crate) progress: Arc<dyn Progress>,
}

impl Served {
    /// Resolves a source and adds its model to the engine.
    pub(crate) async fn load(engine: &Engine, loading: Loading) -> Result<Self, text_embedding::Error> {
        let hub = hub_options(&loading.source)?;
        let progress = Shared(Arc::clone(&loading.progress));
        if is_cross_encoder(engine, &loading.source, &hub, &progress).await? {
            let load = Reranker::load_in(engine, &loading.source).group(loading.group).dtype(loading.dtype);
            return load.hub(hub).progress(progress).lazy(loading.lazy).await.map(Self::Reranker);
        }
        let load = TextEmbedding::load_in(engine, &loading.source).group(loading.group).dtype(loading.dtype);
        load.hub(hub).progress(progress).lazy(loading.lazy).await.map(Self::Embedding)
    }
}

/// The hub as the environment says. Sources that are not the hub's need no environment that makes sense.
pub(crate) fn hub_options(source: &Source) -> Result<HubOptions, SourceError> {
    match source {
        Source::Hub(_) => HubOptions::from_env(),
        _ => Ok(HubOptions::new("")),
    }
}

/// The part of `config.json` that tells a cross-encoder from an encoder.
#[derive(Deserialize)]
struct Architectures {
    #[serde(default)]
    architectures: Option<Vec<String>>,
}

async fn is_cross_encoder(
    engine: &Engine,
    source: &Source,
    hub: &HubOptions,
    progress: &Shared,
) -> Result<bool, text_embedding::Error> {
    let wanted = Wanted::without_weights(Modality::TextEmbedding.as_str());
    let files = source.resolve(&wanted, hub, progress).await?;
    // What cannot be read here is told by the pool, which reads it too and knows what it needs of it.
    let read = engine.lanes().io(move || files.json_if_any::<Architectures>("config.json")).await;
    let architectures = match read {
        Ok(Ok(Some(config))) => config.architectures.unwrap_or_default(),
        _ => Vec::new(),
    };
    Ok(architectures.iter().any(|name| name.ends_with("ForSequenceClassification")))
}

/// One listener for the several downloads of a model.
struct Shared(Arc<dyn Progress>);

impl Clone for Shared {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Progress for Shared {
    fn planned(&self, files: usize, bytes: u64) {
        self.0.planned(files, bytes);
    }

    fn received(&self, file: &str, done: u64, total: u64) {
        self.0.received(file, done, total);
    }

    fn waiting(&self, file: &str) {
        self.0.waiting(file);
    }

    fn finished(&self, file: &str) {
        self.0.finished(file);
    }
}
