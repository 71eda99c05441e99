//! Names and the models they stand for: resolved in the background, and again after a while where that failed.
//!
//! Owns who is called what, and how far each source is; loading and unloading is the engine's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use image_embedding::ImageEmbedding;
use language_model::{Load, Modality as Writing};
use llava_vision::LlavaVision;
use model_source::{Dtype, Progress};
use pool_core::{Deadline, Engine, GroupConfig};
use text_embedding::Ranker;
use text_to_image::TextToImage;
use text_to_text::TextToText;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{Modality, ModelSettings, TextSettings, read_text};
use crate::failure;

/// Every model the server was told of.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: BTreeMap<String, Arc<Entry>>,
    announced: watch::Sender<bool>,
}

/// A model and how far it is.
#[derive(Debug)]
pub(crate) struct Entry {
    settings: ModelSettings,
    standing: watch::Sender<Standing>,
    announced: watch::Receiver<bool>,
}

/// How far a model's source is.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// Its files are being looked for or downloaded.
    Resolving,
    /// It is in the engine, which loads its weights on demand.
    Ready(Served),
    /// Its files cannot be had or used; they are looked for again at that moment.
    Failed { why: Arc<str>, again: Instant },
}

/// A model as a pool.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    Ranker(Ranker),
    Image(ImageEmbedding),
    Vision(LlavaVision),
    Drawing(TextToImage),
    Text(TextToText),
}

impl Served {
    /// What it is for, to those who asked it for something else.
    pub(crate) fn purpose(&self) -> &'static str {
        match self {
            Self::Ranker(Ranker::Embedding(_)) => "embeds texts; use it with /v1/embeddings or /v1/rerank",
            Self::Ranker(_) => "is a cross-encoder, which only ranks; use it with /v1/rerank",
            Self::Image(_) => "embeds pictures and texts; use it with /v1/embeddings",
            Self::Drawing(_) => "draws pictures; use it with /v1/images/generations or /v1/images/edits",
            Self::Vision(_) | Self::Text(_) => {
                "writes text; use it with /v1/chat/completions or /v1/completions"
            }
        }
    }
}

/// Why a name stands for no model that could be used now.
#[derive(Debug)]
pub(crate) enum NotServed {
    /// No model is called so.
    Unknown { name: String, known: Vec<String> },
    /// It will not be there before so long.
    NotYet { name: String, why: String, retry_after: Duration },
    /// The caller's deadline passed while its files were looked for.
    TooLate { name: String },
}

/// The first pause after a failure; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A request waits so long for a source that is being resolved: enough for a look into a cache, not for a download.
const PATIENCE: Duration = Duration::from_secs(10);

impl Registry {
    pub(crate) fn new(models: Vec<ModelSettings>) -> Self {
        let announced = watch::Sender::new(false);
        let entry = |settings: ModelSettings| {
            let standing = watch::Sender::new(Standing::Resolving);
            let announced = announced.subscribe();
            (settings.name.clone(), Arc::new(Entry { settings, standing, announced }))
        };
        let entries = models.into_iter().map(entry).collect();
        Self { entries, announced }
    }

    /// From now on the log tells of models that cannot be served: the server starts without them. Before, they may be
    /// why it does not start, which it tells itself.
    pub(crate) fn announce(&self) {
        self.announced.send_replace(true);
    }

    /// Every model, by name.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// The model of that name.
    ///
    /// # Errors
    ///
    /// [`NotServed::Unknown`].
    pub(crate) fn find(&self, name: &str) -> Result<&Arc<Entry>, NotServed> {
        self.entries.get(name).ok_or_else(|| NotServed::Unknown {
            name: name.chars().take(200).collect(),
            known: self.entries.keys().cloned().collect(),
        })
    }

    /// The model of that name as a pool, waiting a while for its files.
    ///
    /// # Errors
    ///
    /// Every [`NotServed`].
    pub(crate) async fn served(&self, name: &str, deadline: Deadline) -> Result<Served, NotServed> {
        self.find(name)?.served(deadline).await
    }
}

impl Entry {
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(crate) fn settings(&self) -> &ModelSettings {
        &self.settings
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// The model as a pool, waiting a while for its files.
    pub(crate) async fn served(&self, deadline: Deadline) -> Result<Served, NotServed> {
        let patience = Instant::now() + PATIENCE;
        let until = deadline.instant().map_or(patience, |deadline| deadline.min(patience));
        let name = self.settings.name.clone();
        let Ok(standing) = tokio::time::timeout_at(until, self.first_attempt()).await else {
            if deadline.has_passed(Instant::now()) {
                return Err(NotServed::TooLate { name });
            }
            let why = "its files are still being downloaded".to_owned();
            return Err(NotServed::NotYet { name, why, retry_after: PATIENCE });
        };
        match standing {
            Standing::Ready(served) => Ok(served),
            Standing::Failed { why, again } => {
                let retry_after = again.saturating_duration_since(Instant::now());
                Err(NotServed::NotYet { name, why: why.to_string(), retry_after })
            }
            Standing::Resolving => {
                let why = "its files are being looked for".to_owned();
                Err(NotServed::NotYet { name, why, retry_after: FIRST_PAUSE })
            }
        }
    }

    /// How the model stands once its files were looked for at least once.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub(crate) async fn first_attempt(&self) -> Standing {
        let mut watched = self.standing.subscribe();
        // The sender lives in this entry, so the wait cannot fail while it is borrowed.
        match watched.wait_for(|standing| !matches!(standing, Standing::Resolving)).await {
            Ok(standing) => standing.clone(),
            Err(_) => Standing::Resolving,
        }
    }

    /// Brings the model into the engine, without its weights.
    async fn load(&self, engine: &Engine) -> anyhow::Result<Served> {
        let ModelSettings { name, modality, source, dtype, group, text } = self.settings.clone();
        let progress = LoggedDownload { model: name };
        match modality {
            Modality::TextEmbedding => {
                let load = Ranker::load_in(engine, source).group(group).dtype(dtype);
                Ok(Served::Ranker(load.lazy(true).progress(progress).await?))
            }
            Modality::ImageEmbedding => {
                let load = ImageEmbedding::load_in(engine, source).group(group).dtype(dtype);
                Ok(Served::Image(load.lazy(true).progress(progress).await?))
            }
            Modality::LlavaVision => {
                let mut load = told(LlavaVision::load_in(engine, source), group, dtype, &text).await?;
                if let Some(vision) = text.vision {
                    load = load.vision(vision);
                }
                if let Some(bytes) = text.picture_cache {
                    load = load.picture_cache(bytes);
                }
                Ok(Served::Vision(load.lazy(true).progress(progress).await?))
            }
            Modality::TextToImage => {
                let load = TextToImage::load_in(engine, source).group(group).dtype(dtype);
                Ok(Served::Drawing(load.lazy(true).progress(progress).await?))
            }
            Modality::TextToText => {
                let load = told(TextToText::load_in(engine, source), group, dtype, &text).await?;
                Ok(Served::Text(load.lazy(true).progress(progress).await?))
            }
        }
    }

    /// Brings the model into the engine, trying again and again.
    pub(crate) async fn resolve(self: Arc<Self>, engine: Engine) {
        let mut pause = FIRST_PAUSE;
        let mut announced = self.announced.clone();
        loop {
            match self.load(&engine).await {
                Ok(served) => {
                    tracing::info!(model = self.name(), source = %self.settings.source, "serving");
                    self.standing.send_replace(Standing::Ready(served));
                    return;
                }
                Err(error) => {
                    let why: Arc<str> = failure::told(&*error).into();
                    let again = Instant::now() + pause;
                    self.standing.send_replace(Standing::Failed { why: Arc::clone(&why), again });
                    if announced.wait_for(|announced| *announced).await.is_err() {
                        return;
                    }
                    tracing::error!(model = self.name(), error = %why, again_in = ?pause, "cannot serve a model");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The loading of a model that writes text, with what is told of those.
async fn told<M: Writing>(
    load: Load<M>,
    group: GroupConfig,
    dtype: Dtype,
    text: &TextSettings,
) -> anyhow::Result<Load<M>> {
    let mut load = load.group(group).dtype(dtype).deterministic(text.deterministic);
    if let Some(bytes) = text.kv_cache {
        load = load.kv_cache(bytes);
    }
    if let Some(tokens) = text.context {
        load = load.context(tokens);
    }
    if let Some(sequences) = text.sequences {
        load = load.sequences(sequences);
    }
    if let Some(path) = &text.chat_template {
        load = load.chat_template(read_text(path, "chat_template").await?);
    }
    Ok(load)
}

/// Tells the log of a download.
struct LoggedDownload {
    model: String,
}

impl Progress for LoggedDownload {
    fn planned(&self, files: usize, bytes: u64) {
        tracing::info!(model = self.model, files, bytes, "downloading");
    }

    fn waiting(&self, file: &str) {
        tracing::info!(model = self.model, file, "another process downloads this file; waiting for it");
    }

    fn finished(&self, file: &str) {
        tracing::info!(model = self.model, file, "downloaded");
    }
}
