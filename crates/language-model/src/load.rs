use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model_source::{DeviceChoice, Dtype, HubOptions, IntoSource, Progress, Source, SourceError, Wanted};
use pool_core::compute::ComputeError;
use pool_core::{Bytes, Engine, GroupConfig, ModelId, QueueLimits, Workers};

use crate::checkpoint::{Checkpoint, Settings};
use crate::error::Error;
use crate::language_model::LanguageModel;
use crate::modality::{Modality, ReadsPictures};
use crate::model::LanguageLoader;

/// The loading of a model, to be awaited.
///
/// The source is resolved (and downloaded, if the cache lacks it), configuration, tokenizer and chat template are read
/// and checked, and the weights are loaded, unless it is to be [`lazy`](Self::lazy). Without a hub's
/// [options](Self::hub), the environment says where the hub and its cache are, as it does for Python's
/// `huggingface_hub`.
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
pub struct Load<M: Modality> {
    engine: Option<Engine>,
    source: Result<Source, SourceError>,
    vision: Option<Result<Source, SourceError>>,
    name: Option<ModelId>,
    config: Option<GroupConfig>,
    settings: Settings,
    hub: Option<HubOptions>,
    progress: Arc<dyn Progress>,
    lazy: bool,
    modality: PhantomData<fn() -> M>,
}

impl<M: Modality> Load<M> {
    pub(crate) fn new(engine: Option<Engine>, source: impl IntoSource) -> Self {
        Self {
            engine,
            source: source.into_source(),
            vision: None,
            name: None,
            config: None,
            settings: Settings::default(),
            hub: None,
            progress: Arc::new(()),
            lazy: false,
            modality: PhantomData,
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

    /// Sets how many workers the group has, in the default configuration or the one given before. Each has a cache of its
    /// own, so one is nearly always best.
    pub fn workers(mut self, workers: Workers) -> Self {
        self.config_mut().workers = workers;
        self
    }

    /// Sets what the group's queue holds, in the default configuration or the one given before.
    pub fn limits(mut self, limits: QueueLimits) -> Self {
        self.config_mut().limits = limits;
        self
    }

    /// Sets what quantised weights are multiplied with: [`Dtype::Auto`] rounds activations to eight bits where that is fast
    /// (Q4_0, Q8_0 and the K-quants; the last product loses next to nothing all the same), and none with Q4_1, Q5_0 and Q5_1;
    /// [`Dtype::F32`] widens the weights when they are loaded, which is exact and takes much more memory. Weights that are not
    /// quantised are computed with in f32 either way. Default: auto.
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.settings.dtype = dtype;
        self
    }

    /// Sets the device to compute on. Only the CPU is supported so far, and the default.
    pub fn device(mut self, device: DeviceChoice) -> Self {
        self.settings.device = device;
        self
    }

    /// Sets what the cache of keys and values takes, for each worker. The longest conversation, how many are computed at
    /// once, and how much of earlier ones is kept for the next all follow from it. Default: eight full contexts, but 1
    /// GiB at most, or what the largest picture takes with 1,024 tokens around it. Less than one picture takes is refused.
    pub fn kv_cache(mut self, bytes: Bytes) -> Self {
        self.settings.kv_cache = Some(bytes);
        self
    }

    /// Sets the most tokens of prompt and answer together. Default: what the model was made for, which is the most.
    pub fn context(mut self, tokens: usize) -> Self {
        self.settings.context = Some(tokens);
        self
    }

    /// Sets how many sequences are computed at once, and so the most answers to one prompt. Default: 32.
    pub fn sequences(mut self, sequences: usize) -> Self {
        self.settings.sequences = sequences;
        self
    }

    /// Whether the same request gives the same answer to the last bit: alone, among others, after giving way to others,
    /// from the cache. Slower. Default: texts may part where two tokens are almost equally likely.
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.settings.deterministic = deterministic;
        self
    }

    /// Sets the chat template, in Jinja, in place of the model's own.
    pub fn chat_template(mut self, template: impl Into<String>) -> Self {
        self.settings.chat_template = Some(template.into());
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

impl<M: ReadsPictures> Load<M> {
    /// Sets where that comes from which reads pictures: a folder or repository with its weights, a GGUF file of a
    /// projector. Default: where the language model comes from.
    pub fn vision(mut self, source: impl IntoSource) -> Self {
        self.vision = Some(source.into_source());
        self
    }

    /// Sets what is kept of pictures, for each worker, so that one that is asked about again need not be computed again.
    /// It must have room for the largest; with [`deterministic`](Self::deterministic), for two of these and 62 tokens of
    /// smaller ones between them, or for a full context if that is less: 64 tokens are computed at once, with all pictures
    /// that these are part of. Default: eight of the largest, but 256 MiB at most, or the least that two take or it must
    /// have room for.
    pub fn picture_cache(mut self, bytes: Bytes) -> Self {
        self.settings.picture_cache = Some(bytes);
        self
    }
}

impl<M: Modality> IntoFuture for Load<M> {
    type Output = Result<LanguageModel<M>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut config = self.config_mut().clone();
            config.model = self.name.unwrap_or(config.model);
            let source = self.source?;
            let vision = self.vision.transpose()?;
            let engine = match self.engine {
                Some(engine) => engine,
                None => Engine::builder().build()?,
            };
            let hub = match self.hub {
                Some(hub) => hub,
                // Only the hub's sources need an environment that makes sense.
                None if is_hub(&source) || vision.as_ref().is_some_and(is_hub) => HubOptions::from_env()?,
                None => HubOptions::new(""),
            };
            let wanted = Wanted::model(M::NAME);
            let files = source.resolve(&wanted, &hub, &*self.progress).await?;
            let vision = match vision {
                Some(source) => Some(source.resolve(&wanted, &hub, &*self.progress).await?),
                None => None,
            };
            let settings = self.settings;
            let read = engine.lanes().io(move || Checkpoint::read(files, vision.as_ref(), settings)).await;
            let checkpoint = read.map_err(|error| lane_error(config.model.clone(), error))??;
            let info = checkpoint.info(&config.model);
            let tokenizer = Arc::clone(checkpoint.tokenizer());
            let vision = checkpoint.vision().cloned();
            let loader = LanguageLoader::<M>::new(config.model.clone(), checkpoint);
            let occupancies = loader.occupancies().clone();
            let group = engine.add(config, loader).await?;
            if !self.lazy {
                group.warm().await?;
            }
            Ok(LanguageModel::new(group, info, tokenizer, vision, occupancies))
        })
    }
}

fn is_hub(source: &Source) -> bool {
    matches!(source, Source::Hub(_))
}

/// The reading of a checkpoint panicked, or the runtime is going down.
fn lane_error(model: ModelId, error: ComputeError) -> Error {
    Error::Pool(match error {
        ComputeError::Gone => pool_core::Error::ShuttingDown,
        error => pool_core::Error::LoadFailed { model, cause: Arc::new(error), retry_after: Duration::ZERO },
    })
}

impl<M: Modality> fmt::Debug for Load<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load")
            .field("source", &self.source)
            .field("vision", &self.vision)
            .field("name", &self.name)
            .field("config", &self.config)
            .field("settings", &self.settings)
            .field("lazy", &self.lazy)
            .finish_non_exhaustive()
    }
}
