use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model_source::{
    DeviceChoice, Dtype, HubOptions, IntoSource, ModelFile, ModelFiles, Progress, Source, SourceError, Wanted,
};
use pool_core::compute::{Claim, ComputeError};
use pool_core::{Bytes, Cost, Engine, GroupConfig, ModelId, QueueLimits, Workers};

use crate::checkpoint::{Checkpoint, Numbers};
use crate::error::Error;
use crate::model::ImagineLoader;
use crate::text_to_image::TextToImage;

/// The modality as configuration spells it.
const MODALITY: &str = "text-to-image";

/// The loading of a model, to be awaited.
///
/// The source is resolved (and downloaded, if the cache lacks it), configurations and tokenizers are read and checked, and
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
pub struct Load {
    engine: Option<Engine>,
    source: Result<Source, SourceError>,
    name: Option<ModelId>,
    config: Option<GroupConfig>,
    dtype: Dtype,
    device: DeviceChoice,
    hub: Option<HubOptions>,
    progress: Arc<dyn Progress>,
    lazy: bool,
}

impl Load {
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

    /// Sets the number type to compute in: so far f32 in any case, which `auto` and `f32` stand for.
    pub fn dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Sets the device to compute on: so far `auto` or `cpu`, which are the same.
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

    /// Whether to leave the weights to the first job. Configurations and tokenizers are checked all the same.
    pub fn lazy(mut self, lazy: bool) -> Self {
        self.lazy = lazy;
        self
    }

    fn config_mut(&mut self) -> &mut GroupConfig {
        let spelling = self.source.as_ref().map_or_else(|_| String::new(), Source::to_string);
        self.config.get_or_insert_with(|| {
            let mut config = GroupConfig::new(spelling.as_str());
            config.limits = usual_limits();
            config
        })
    }
}

/// What a queue of pictures holds, unless something else is said: as others do, but a wait of ten minutes, since a picture takes
/// minutes by itself, and 4 GiB, since one that is larger than the model's own is charged what it takes beyond that.
#[must_use]
pub fn usual_limits() -> QueueLimits {
    let usual = QueueLimits::default();
    let cost = Cost { bytes: Bytes(4 << 30), ..usual.cost };
    QueueLimits { max_wait: Some(Duration::from_secs(600)), cost, ..usual }
}

impl IntoFuture for Load {
    type Output = Result<TextToImage, Error>;
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
            let checkpoint = Arc::new(read(&engine, &config.model, files, numbers).await?);
            let info = checkpoint.info(&config.model);
            let group = engine.add(config, ImagineLoader::new(Arc::clone(&checkpoint))).await?;
            if !self.lazy {
                group.warm().await?;
            }
            Ok(TextToImage::new(group, checkpoint, info))
        })
    }
}

/// Looks into the model's files, in the io lane.
async fn read(
    engine: &Engine,
    model: &ModelId,
    files: ModelFiles,
    numbers: Numbers,
) -> Result<Checkpoint, Error> {
    let claim = Claim::new(model.clone()).estimate(reading_time(&files));
    let outcome = engine.lanes().io_for(&claim, move || Checkpoint::read(files, numbers)).await;
    outcome.map_err(|error| lane_error(model.clone(), error))?
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

impl fmt::Debug for Load {
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
