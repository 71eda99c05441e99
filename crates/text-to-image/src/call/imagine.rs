use std::future::IntoFuture;
use std::sync::Arc;

use futures::future::BoxFuture;
use imaging::EncodedImage;
use pool_core::{Deadline, Principal, Priority};

use super::{CallOptions, DrawingStream};
use crate::drawing::Drawing;
use crate::error::Error;
use crate::noise::NoiseDtype;
use crate::picture::PictureFormat;
use crate::text_to_image::TextToImage;

/// The drawing of pictures, to be awaited or [streamed](Self::stream).
///
/// # Errors
///
/// Awaiting gives [`Error::Pool`]: a parameter is out of range, the queue is full, the deadline passed.
///
/// # Cancel safety
///
/// Dropping it, awaited or not, cancels the job, in the middle of a pass through the model if need be.
#[derive(Clone, Debug)]
#[must_use = "nothing is drawn unless it is awaited or streamed"]
pub struct Imagine {
    pool: TextToImage,
    prompt: Arc<str>,
    options: CallOptions,
}

impl Imagine {
    pub(crate) fn new(pool: TextToImage, prompt: Arc<str>) -> Self {
        Self { pool, prompt, options: CallOptions::default() }
    }

    pub(crate) fn edit(pool: TextToImage, image: EncodedImage, prompt: Arc<str>) -> Self {
        let mut imagine = Self::new(pool, prompt);
        imagine.options.image = Some(image);
        imagine
    }

    /// Sets what the pictures should not show. Not read where there is no guidance; refused by models that take guidance as a
    /// number. Default: nothing.
    pub fn negative(mut self, prompt: impl Into<Arc<str>>) -> Self {
        self.options.negative = Some(prompt.into());
        self
    }

    /// Sets the scheduler's steps, from 1 to as many as the model was trained with. Default: [`ModelInfo::steps`].
    ///
    /// [`ModelInfo::steps`]: crate::ModelInfo::steps
    pub fn steps(mut self, steps: usize) -> Self {
        self.options.steps = Some(steps);
        self
    }

    /// Sets the guidance scale: how much more the prompt counts than what should not be shown (classifier-free guidance,
    /// <https://arxiv.org/abs/2207.12598>). At 1 or below there is none, and a step is half the work. Default:
    /// [`ModelInfo::guidance`].
    ///
    /// [`ModelInfo::guidance`]: crate::ModelInfo::guidance
    pub fn guidance(mut self, scale: f32) -> Self {
        self.options.guidance = Some(scale);
        self
    }

    /// Sets the seed of the noise, which is that of diffusers with a generator on the CPU. Default: a random one.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Sets the size in pixels, multiples of [`ModelInfo::multiple`]. Default: [`ModelInfo::size`], or that of the picture
    /// to begin with, rounded down.
    ///
    /// [`ModelInfo::multiple`]: crate::ModelInfo::multiple
    /// [`ModelInfo::size`]: crate::ModelInfo::size
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.options.size = Some((width, height));
        self
    }

    /// Sets how many pictures are drawn, each of noise of its own. Default: 1.
    pub fn pictures(mut self, pictures: usize) -> Self {
        self.options.pictures = pictures;
        self
    }

    /// Sets the scheduler: `ddim`, `pndm`, `euler`, `euler_a`, `dpm++2m`, `lcm` or `unipc`, with what else the model's
    /// configuration says of its own. Default: the model's.
    pub fn scheduler(mut self, name: impl Into<String>) -> Self {
        self.options.scheduler = Some(name.into());
        self
    }

    /// Sets the number type that noise is drawn in, to which the same numbers are rounded. Default: the type that the
    /// checkpoint is stored in.
    pub fn noise(mut self, dtype: NoiseDtype) -> Self {
        self.options.noise = Some(dtype);
        self
    }

    /// Sets what the pictures are written as. Default: PNG.
    pub fn format(mut self, format: PictureFormat) -> Self {
        self.options.format = format;
        self
    }

    /// Whether each step comes with a small picture of how far the first one is, where it is streamed. Default: it does not.
    pub fn previews(mut self, previews: bool) -> Self {
        self.options.previews = previews;
        self
    }

    /// Sets which part of the picture to begin with is drawn anew: where the mask is white. It is resized to the picture's size.
    pub fn mask(mut self, mask: impl Into<EncodedImage>) -> Self {
        self.options.mask = Some(mask.into());
        self
    }

    /// Sets how far the result may go from the picture it begins with, above 0 and at most 1. Default: 0.8, and 1 with
    /// a mask.
    pub fn strength(mut self, strength: f64) -> Self {
        self.options.strength = Some(strength);
        self
    }

    /// Sets the class of the job. Default: normal.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.job.priority = priority;
        self
    }

    /// Sets when the answer stops being of use: a moment, or so long from now. Default: never.
    pub fn deadline(mut self, deadline: impl Into<Deadline>) -> Self {
        self.options.job.deadline = deadline.into();
        self
    }

    /// Sets on whose behalf the job runs: what fair sharing goes by. Default: nobody's.
    pub fn principal(mut self, principal: Principal) -> Self {
        self.options.job.principal = principal;
        self
    }

    /// Whether to wait for room in a full queue, until the deadline, rather than be refused at once.
    pub fn wait(mut self, wait: bool) -> Self {
        self.options.wait = wait;
        self
    }

    /// Submits the job, and tells of each step as it is taken.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] where the job is refused at once. What else goes wrong is an item of the stream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the stream, cancels the job.
    pub async fn stream(self) -> Result<DrawingStream, Error> {
        let request = self.pool.request(self.prompt, &self.options)?;
        self.pool.stream(request, &self.options).await
    }
}

impl IntoFuture for Imagine {
    type Output = Result<Drawing, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(mut self) -> Self::IntoFuture {
        // Nobody would see them.
        self.options.previews = false;
        Box::pin(async move {
            let request = self.pool.request(self.prompt, &self.options)?;
            Ok(self.pool.submit(request, &self.options).await?.await?)
        })
    }
}
