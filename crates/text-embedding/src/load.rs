use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model_source::{
    DeviceChoice, Dtype, HubOptions, IntoSource, ModelFile, ModelFiles, Progress, Source, SourceError, Wanted,
};
use pool_core::compute::{Claim, ComputeError};
use pool_core::{Engine, Group, GroupConfig, Loader, ModelId, QueueLimits, Workers};

use crate::checkpoint::{CrossEncoder, Encoder, is_cross_encoder};
use crate::embedding::TextEmbedding;
use crate::error::Error;
use crate::model::{EmbeddingLoader, RerankLoader};
use crate::rerank::{Ranker, Reranker};

/// The modality as configuration spells it.
const MODALITY: &str = "text-embedding";

/// A pool that [`Load`] makes: [`TextEmbedding`], [`Reranker`], or whichever of them a checkpoint is for: [`Ranker`].
pub trait Pool: sealed::Build + Clone + Send + Sync + Sized + 'static {}

impl Pool for TextEmbedding {}
impl Pool for Reranker {}
impl Pool for Ranker {}

/// The loading of a model, to be awaited.
///
/// The source is resolved (and downloaded, if the cache lacks it), configuration and tokenizer are read and checked, and
/// the weights are loaded, unless it is to be [`lazy`](Self::lazy). Without a hub's [options](Self::hub), the environment
/// says where the hub and its cache are, as it does for Python's `huggingface_hub`.
///
/// # Errors
///
/// Awaiting gives [`Error::Source`] where the files cannot be had, [`Error::Unsupported`] and [`Error::Checkpoint`] for
/// what is in them, [`Error::Pool`] where the weights do not load or the name is taken.
///
/// # Cancel safety
///
/// Dropping it keeps what was downloaded. A model added to a given engine stays there.
#[must_use = "nothing is loaded unless it is awaited"]
pub struct Load<P> {
    engine: Option<Engine>,
    source: Result<Source, SourceError>,
    name: Option<ModelId>,
    config: Option<GroupConfig>,
    dtype: Dtype,
    device: DeviceChoice,
    hub: Option<HubOptions>,
    progress: Arc<dyn Progress>,
    lazy: bool,
    pool: PhantomData<fn() -> P>,
}

impl<P> Load<P> {
    pub(crate) fn new(engine: Option<Engine>, source: impl IntoSource) -> Self {
        Self {
            engine,
            source: source.into_source(),
            name: None,
            config: None,
            dtype: Dtype::Auto,
            device: DeviceChoice::Auto,
            hub: None,
            progress: Arc::new(()),
            lazy: false,
            pool: PhantomData,
        }
    }

    /// Names the model's group in the engine. Default: the source's spelling.
    pub fn name(mut self, name: impl Into<ModelId>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how the group is run: workers, queue, eviction. Its name holds unless [`name`](Self::name) gives another.
    pub fn group(mut self, config: GroupConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// Sets how many workers the group has, in the default configuration or the one given before.
    pub fn workers(mut self, workers: Workers) -> Self {
        self.config_mut().workers = workers;
        self
    }

    /// Sets what the group's queue holds, in the default configuration or the one given before.
    pub fn limits(mut self, limits: QueueLimits) -> Self {
        self.config_mut().limits = limits;
        self
    }

    /// Sets the number type to compute in. Default: f32 on a CPU, the stored one elsewhere.
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Sets the device to compute on. Default: the first accelerator there is, else the CPU.
    pub fn device(mut self, device: DeviceChoice) -> Self {
        self.device = device;
        self
    }

    /// Sets where the hub and its cache are. Default: as the environment says.
    pub fn hub(mut self, hub: HubOptions) -> Self {
        self.hub = Some(hub);
        self
    }

    /// Sets who hears of a download.
    pub fn progress(mut self, progress: impl Progress + 'static) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// Whether to leave the weights to the first job. Configuration and tokenizer are checked all the same.
    pub fn lazy(mut self, lazy: bool) -> Self {
        self.lazy = lazy;
        self
    }

    fn config_mut(&mut self) -> &mut GroupConfig {
        let spelling = self.source.as_ref().map_or_else(|_| String::new(), Source::to_string);
        self.config.get_or_insert_with(|| GroupConfig::new(spelling.as_str()))
    }
}

impl<P: Pool> IntoFuture for Load<P> {
    type Output = Result<P, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut config = self.config_mut().clone();
            config.model = self.name.unwrap_or(config.model);
            let source = self.source?;
            let engine = match self.engine {
                Some(engine) => engine,
                None => Engine::builder().build()?,
            };
            let hub = match self.hub {
                Some(hub) => hub,
                // Only the hub's sources need an environment that makes sense.
                None if matches!(source, Source::Hub(_)) => HubOptions::from_env()?,
                None => HubOptions::new(""),
            };
            let files = source.resolve(&Wanted::model(MODALITY), &hub, &*self.progress).await?;
            let numbers = Numbers { dtype: self.dtype, device: self.device };
            P::build(sealed::Parts { engine, config, files, numbers, lazy: self.lazy }).await
        })
    }
}

/// What the weights are loaded as, and where to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) dtype: Dtype,
    pub(crate) device: DeviceChoice,
}

mod sealed {
    use super::{BoxFuture, Engine, Error, GroupConfig, ModelFiles, Numbers};

    /// How a pool comes about.
    pub trait Build: Sized {
        /// Reads and checks configuration and tokenizer, adds the model to the engine, and loads it.
        fn build(parts: Parts) -> BoxFuture<'static, Result<Self, Error>>;
    }

    /// What a pool is made of.
    #[derive(Debug)]
    pub struct Parts {
        pub(super) engine: Engine,
        pub(super) config: GroupConfig,
        pub(super) files: ModelFiles,
        pub(super) numbers: Numbers,
        pub(super) lazy: bool,
    }
}

impl sealed::Build for TextEmbedding {
    fn build(parts: sealed::Parts) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(async move {
            let encoder = parts.read(Encoder::read).await?;
            let info = encoder.info(&parts.config.model);
            Ok(Self::new(parts.add(EmbeddingLoader::new(encoder)).await?, info))
        })
    }
}

impl sealed::Build for Reranker {
    fn build(parts: sealed::Parts) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(async move {
            let encoder = parts.read(CrossEncoder::read).await?;
            let info = encoder.info(&parts.config.model);
            Ok(Self::new(parts.add(RerankLoader::new(encoder)).await?, info))
        })
    }
}

impl sealed::Build for Ranker {
    fn build(parts: sealed::Parts) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(async move {
            if parts.read(|files, _| is_cross_encoder(&files)).await? {
                Ok(Self::CrossEncoder(Reranker::build(parts).await?))
            } else {
                Ok(Self::Embedding(TextEmbedding::build(parts).await?))
            }
        })
    }
}

impl sealed::Parts {
    /// Looks into the model's files, in the io lane.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(ModelFiles, Numbers) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (files, numbers) = (self.files.clone(), self.numbers);
        let claim = Claim::new(self.config.model.clone()).estimate(reading_time(&files));
        let outcome = self.engine.lanes().io_for(&claim, move || read(files, numbers)).await;
        outcome.map_err(|error| lane_error(self.config.model.clone(), error))?
    }

    /// Adds the model to the engine, and loads it unless that is left to the first job.
    async fn add<L: Loader>(self, loader: L) -> Result<Group<L::Model>, Error> {
        let group = self.engine.add(self.config, loader).await?;
        if !self.lazy {
            group.warm().await?;
        }
        Ok(group)
    }
}

/// How long it takes to look into these files on a slow disk: 100 MB a second for all of them but the weights, of which
/// only the heads are read.
fn reading_time(files: &ModelFiles) -> Duration {
    let all: u64 = files.names().filter_map(|name| files.get(name)).map(ModelFile::size).sum();
    Duration::from_micros(all.saturating_sub(files.weight_bytes()) / 100)
}

/// The reading of a checkpoint panicked or does not return, or the runtime is going down.
pub(crate) fn lane_error(model: ModelId, error: ComputeError) -> Error {
    Error::Pool(match error {
        ComputeError::Gone => pool_core::Error::ShuttingDown,
        error => pool_core::Error::LoadFailed { model, cause: Arc::new(error), retry_after: Duration::ZERO },
    })
}

impl<P> fmt::Debug for Load<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load")
            .field("source", &self.source)
            .field("name", &self.name)
            .field("config", &self.config)
            .field("dtype", &self.dtype)
            .field("device", &self.device)
            .field("lazy", &self.lazy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use pool_core::compute::{Lane, Scripted, ScriptedCompute};

    use super::*;

    const CHECKPOINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/checkpoints/pool-mean");

    /// Two models on a disk that hangs take every slot of the io lane; the third is on another disk.
    #[tokio::test(start_paused = true)]
    async fn files_that_cannot_be_read_hold_up_nobody_else() {
        let compute = ScriptedCompute::new(|lane, ordinal| match lane {
            Lane::Io if ordinal < 2 => Scripted::Hang,
            _ => Scripted::NOW,
        });
        let engine = Engine::builder().compute(compute).build().unwrap();
        let load = |name: &str| TextEmbedding::load_in(&engine, CHECKPOINT).name(name).into_future();
        // Which of them come first is the file system's to say.
        let (one, other, third) = tokio::join!(load("one"), load("other"), load("third"));
        let mut loaded = 0;
        for outcome in [one, other, third] {
            match outcome {
                Ok(pool) => {
                    loaded += 1;
                    assert_eq!(pool.embed("a").await.unwrap().len(), 24);
                }
                Err(Error::Pool(error @ pool_core::Error::LoadFailed { .. })) => {
                    assert!(error.to_string().contains("has not returned for"), "{error}");
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(loaded, 1);
        assert_eq!(engine.lanes().stats().io.lost, 2);
    }
}
