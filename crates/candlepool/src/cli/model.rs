//! The one model of a command: which it is, and loading it.

use std::fmt;

use clap::Args;
use image_embedding::ImageEmbedding;
use llava_vision::LlavaVision;
use model_source::{Dtype, Source};
use pool_core::{Engine, GroupConfig};
use text_embedding::Ranker;
use text_to_image::TextToImage;
use text_to_text::TextToText;

use crate::failure::Usage;
use crate::progress::DownloadBar;

/// Which embedding model or cross-encoder a command uses.
#[derive(Args, Debug)]
pub(super) struct ModelArgs {
    /// The model: hf:owner/name, a folder, a .safetensors file, or builtin
    #[arg(long, value_name = "SOURCE", default_value = "builtin", value_parser = clap::value_parser!(Source))]
    model: Source,
    /// The numbers to compute with: auto, f32, f16 or bf16; int8 for static models stored so, such as builtin
    #[arg(long, value_name = "DTYPE", default_value = "auto", value_parser = clap::value_parser!(Dtype))]
    dtype: Dtype,
}

impl ModelArgs {
    /// Loads it, whatever it is for, and shows its download.
    pub(super) async fn load(&self, engine: &Engine) -> anyhow::Result<Ranker> {
        let load = Ranker::load_in(engine, &self.model).group(for_one_caller(&self.model)).dtype(self.dtype);
        Ok(load.progress(DownloadBar::new()).await?)
    }
}

impl fmt::Display for ModelArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)
    }
}

/// Small enough to be downloaded without being asked for.
const SMALL_CHAT_MODEL: &str = "hf:HuggingFaceTB/SmolLM2-135M-Instruct";

/// Which language model a command uses.
#[derive(Args, Debug)]
pub(super) struct LanguageModelArgs {
    /// The language model: hf:owner/name, a folder, or a .gguf file
    #[arg(long, value_name = "SOURCE", default_value = SMALL_CHAT_MODEL, value_parser = clap::value_parser!(Source))]
    model: Source,
    /// How quantised weights are computed with: f32 is exact and takes much memory; auto is faster and nearly so
    #[arg(long, value_name = "DTYPE", default_value = "auto", value_parser = clap::value_parser!(Dtype))]
    dtype: Dtype,
}

impl LanguageModelArgs {
    /// Loads it and shows its download.
    pub(super) async fn load(&self, engine: &Engine) -> anyhow::Result<TextToText> {
        let load = TextToText::load_in(engine, &self.model).group(for_one_caller(&self.model));
        Ok(load.dtype(self.dtype).progress(DownloadBar::new()).await?)
    }
}

impl fmt::Display for LanguageModelArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)
    }
}

/// Small enough for most machines.
const SMALL_VISION_MODEL: &str = "hf:llava-hf/llava-interleave-qwen-0.5b-hf";

/// Which vision model a command uses.
#[derive(Args, Debug)]
pub(super) struct VisionModelArgs {
    /// The LLaVA model: hf:owner/name, a folder, or a .gguf file of its language model
    #[arg(long, value_name = "SOURCE", default_value = SMALL_VISION_MODEL, value_parser = clap::value_parser!(Source))]
    model: Source,
    /// Where its vision tower is, if it is not with the language model: an mmproj .gguf file, a folder or hf:owner/name
    #[arg(long, value_name = "SOURCE", value_parser = clap::value_parser!(Source))]
    vision: Option<Source>,
    /// How quantised weights are computed with: f32 is exact and takes much memory; auto is faster and nearly so
    #[arg(long, value_name = "DTYPE", default_value = "auto", value_parser = clap::value_parser!(Dtype))]
    dtype: Dtype,
}

impl VisionModelArgs {
    /// Loads it and shows its download.
    pub(super) async fn load(&self, engine: &Engine) -> anyhow::Result<LlavaVision> {
        let mut load = LlavaVision::load_in(engine, &self.model).group(for_one_caller(&self.model));
        if let Some(vision) = &self.vision {
            load = load.vision(vision);
        }
        Ok(load.dtype(self.dtype).progress(DownloadBar::new()).await?)
    }
}

/// Small enough to be downloaded without being asked for.
const SMALL_IMAGE_MODEL: &str = "hf:openai/clip-vit-base-patch32";

/// Which image embedding model a command uses.
#[derive(Args, Debug)]
pub(super) struct ImageModelArgs {
    /// The model: hf:owner/name, or a folder
    #[arg(long, value_name = "SOURCE", default_value = SMALL_IMAGE_MODEL, value_parser = clap::value_parser!(Source))]
    model: Source,
}

impl ImageModelArgs {
    /// Loads it and shows its download.
    pub(super) async fn load(&self, engine: &Engine) -> anyhow::Result<ImageEmbedding> {
        let load = ImageEmbedding::load_in(engine, &self.model).group(for_one_caller(&self.model));
        Ok(load.progress(DownloadBar::new()).await?)
    }
}

impl fmt::Display for ImageModelArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)
    }
}

/// Which text-to-image model a command uses.
#[derive(Args, Debug)]
pub(super) struct DrawingModelArgs {
    /// The model: hf:owner/name, a folder in the layout of diffusers, or a .safetensors file in such a folder
    #[arg(long, value_name = "SOURCE", value_parser = clap::value_parser!(Source))]
    model: Option<Source>,
    /// The numbers to compute with: auto or f32
    #[arg(long, value_name = "DTYPE", default_value = "auto", value_parser = clap::value_parser!(Dtype))]
    dtype: Dtype,
}

impl DrawingModelArgs {
    /// Where the model is.
    ///
    /// # Errors
    ///
    /// None is named: all are several gigabytes, which nobody downloads without having asked for them.
    pub(super) fn source(&self) -> Result<&Source, Usage> {
        self.model.as_ref().ok_or_else(|| {
            Usage::new(
                "no text-to-image model is built in, and all are too large to download unasked: give --model hf:owner/name, \
                 or a folder in the layout of diffusers",
            )
        })
    }

    /// Looks into it, and shows its download. Its weights are loaded by the first job, which is checked before.
    pub(super) async fn load(&self, source: &Source, engine: &Engine) -> anyhow::Result<TextToImage> {
        let load = TextToImage::load_in(engine, source);
        let mut group = for_one_caller(source);
        group.limits.cost = text_to_image::usual_limits().cost;
        let load = load.group(group);
        Ok(load.dtype(self.dtype).lazy(true).progress(DownloadBar::new()).await?)
    }
}

/// A group named after its source, for one caller, who waits as long as it takes.
fn for_one_caller(model: &Source) -> GroupConfig {
    let mut group = GroupConfig::new(model.to_string().as_str());
    group.limits.max_wait = None;
    group
}
