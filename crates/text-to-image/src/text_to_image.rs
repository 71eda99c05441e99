use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use imaging::EncodedImage;
use model_source::IntoSource;
use pool_core::{DrainReport, Engine, Group, Ticket};

use crate::call::{CallOptions, DrawingStream, Imagine};
use crate::checkpoint::Checkpoint;
use crate::drawing::Drawing;
use crate::error::Error;
use crate::info::ModelInfo;
use crate::load::Load;
use crate::model::{ImagineRequest, TextToImageModel};

/// A text-to-image model in an engine. Cheap to clone; every clone keeps the engine alive.
#[derive(Clone)]
pub struct TextToImage {
    inner: Arc<Inner>,
}

struct Inner {
    group: Group<TextToImageModel>,
    checkpoint: Arc<Checkpoint>,
    info: ModelInfo,
}

/// Steps that wait for their reader: enough for one that is busy for a moment, and few previews.
const UNREAD_STEPS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

impl TextToImage {
    /// Loads a model into an engine of its own: `hf:owner/name`, a folder in the layout of diffusers, or a `.safetensors` file
    /// in the original naming in such a folder, in the place of its components' own. Await it.
    pub fn load(source: impl IntoSource) -> Load {
        Load::new(None, source)
    }

    /// Loads a model into an engine. Await it.
    pub fn load_in(engine: &Engine, source: impl IntoSource) -> Load {
        Load::new(Some(engine.clone()), source)
    }

    pub(crate) fn new(group: Group<TextToImageModel>, checkpoint: Arc<Checkpoint>, info: ModelInfo) -> Self {
        Self { inner: Arc::new(Inner { group, checkpoint, info }) }
    }

    /// Draws pictures of what a prompt says. Await or stream it.
    pub fn imagine(&self, prompt: impl Into<Arc<str>>) -> Imagine {
        Imagine::new(self.clone(), prompt.into())
    }

    /// Draws pictures of what a prompt says, beginning with a picture (image-to-image), or within it where a
    /// [mask](Imagine::mask) is white (inpainting). Await or stream it.
    pub fn edit(&self, image: impl Into<EncodedImage>, prompt: impl Into<Arc<str>>) -> Imagine {
        Imagine::edit(self.clone(), image.into(), prompt.into())
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.inner.info
    }

    /// Its group in the engine: statistics, eviction, loading ahead of the first job.
    pub fn group(&self) -> &Group<TextToImageModel> {
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
    pub(crate) fn request(&self, prompt: Arc<str>, options: &CallOptions) -> Result<ImagineRequest, Error> {
        ImagineRequest::new(&self.inner.checkpoint, self.info(), prompt, options)
    }

    pub(crate) async fn submit(
        &self,
        request: ImagineRequest,
        options: &CallOptions,
    ) -> Result<Ticket<Drawing>, Error> {
        let (group, job) = (self.group(), options.job.clone());
        Ok(if options.wait { group.submit(request, job).await? } else { group.try_submit(request, job)? })
    }

    pub(crate) async fn stream(
        &self,
        request: ImagineRequest,
        options: &CallOptions,
    ) -> Result<DrawingStream, Error> {
        let (group, job) = (self.group(), options.job.clone());
        let (ticket, steps) = match options.wait {
            true => group.submit_streaming(request, job, UNREAD_STEPS).await?,
            false => group.try_submit_streaming(request, job, UNREAD_STEPS)?,
        };
        Ok(DrawingStream::new(ticket, steps))
    }
}

impl fmt::Debug for TextToImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextToImage").field("info", &self.inner.info).finish_non_exhaustive()
    }
}
