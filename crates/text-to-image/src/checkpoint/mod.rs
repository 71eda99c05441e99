//! What a model's folder or single file says it is: configurations read and checked, tokenizers made ready, weights' headers
//! looked at.
//!
//! Every field that changes the mathematics is obeyed or refused by name. A pipeline's checker of finished pictures
//! (`safety_checker`) is not run, and no watermark is put in. Blocks; runs in the io lane.

mod asked;
mod original;
mod pipeline;
#[cfg(test)]
mod tests;
mod text;
mod tokenizer;
mod weights;

use candle_core::DType;
use model_source::{DeviceChoice, Dtype, ModelFiles};
use nn::{NnError, TextTower, Unet, UnetConfig, Vae, VaeConfig, VaeParts};
use serde_json::Value;

use self::original::Component;
pub(crate) use self::pipeline::{Family, Pipeline};
pub(crate) use self::text::{Taken, TextSide};
use self::weights::Tensors;
use crate::error::Error;
use crate::noise::NoiseDtype;
use crate::prompt::PromptTokens;
use crate::scheduler::{SchedulerConfig, SchedulerError};

/// What is computed in, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) dtype: Dtype,
    pub(crate) device: DeviceChoice,
}

/// A pipeline, read and checked; its weights can be loaded any number of times.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    files: ModelFiles,
    pub(crate) pipeline: Pipeline,
    pub(crate) unet: UnetConfig,
    pub(crate) vae: VaeConfig,
    /// One, or two of SDXL.
    pub(crate) texts: Vec<TextSide>,
    pub(crate) scheduler: SchedulerConfig,
    /// Whether the UNet sees a mask and what stays of a picture beside the latents.
    pub(crate) inpainting: bool,
    stored: NoiseDtype,
}

/// A pipeline in memory.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) unet: Unet,
    pub(crate) vae: Vae,
    /// One for each of [`Checkpoint::texts`].
    pub(crate) texts: Vec<TextTower>,
}

/// Sizes that SDXL is told beside the pooled text: of the original, where it was cut, of the picture.
const SIZES: usize = 6;

impl Checkpoint {
    /// Reads everything but the weights' data.
    pub(crate) fn read(files: ModelFiles, numbers: Numbers) -> Result<Self, Error> {
        refuse_others(&files, numbers)?;
        let pipeline = Pipeline::read(&files)?;
        let unet = config(&files, "unet", |fields| {
            let mut unet = UnetConfig::from_diffusers(fields)?;
            if pipeline.family == Family::StableDiffusion && !pipeline.latent_consistency {
                corrected_size(&mut unet, fields);
            }
            Ok(unet)
        })?;
        let vae = config(&files, "vae", VaeConfig::from_diffusers)?;
        let texts = match pipeline.family {
            Family::StableDiffusion => vec![TextSide::read(&files, 0, Taken::Last)?],
            Family::StableDiffusionXl => vec![
                TextSide::read(&files, 0, Taken::Penultimate)?,
                TextSide::read(&files, 1, Taken::PenultimateAndPooled)?,
            ],
        };
        let inpainting = unet.in_channels != vae.latent_channels;
        let scheduler = scheduler(&files, &pipeline, inpainting)?;
        let mut read =
            Self { files, pipeline, unet, vae, texts, scheduler, inpainting, stored: NoiseDtype::F32 };
        read.check_fit()?;
        read.stored = match read.tensors("unet", read.unet_component()?)?.dtype() {
            DType::F16 => NoiseDtype::F16,
            DType::BF16 => NoiseDtype::Bf16,
            _ => NoiseDtype::F32,
        };
        read.tensors("vae", read.vae_component())?;
        for text in &read.texts {
            text.open(&read.files)?;
        }
        Ok(read)
    }

    /// Loads the weights.
    pub(crate) fn load(&self) -> Result<Loaded, Error> {
        let texts = self.texts.iter().map(|text| text.load(&self.files)).collect::<Result<_, _>>()?;
        let tensors = self.tensors("vae", self.vae_component())?;
        let vae = Vae::load(self.vae.clone(), &tensors.component()?, VaeParts::Both);
        let vae = vae.map_err(at(tensors.place()))?;
        let tensors = self.tensors("unet", self.unet_component()?)?;
        let unet = Unet::load(self.unet.clone(), &tensors.component()?).map_err(at(tensors.place()))?;
        Ok(Loaded { unet, vae, texts })
    }

    /// Numbers of all weights; in f32 they take four bytes each.
    pub(crate) fn parameters(&self) -> u64 {
        let texts = self.texts.iter().map(TextSide::parameters).sum::<u64>();
        self.unet.parameters().saturating_add(self.vae.parameters(VaeParts::Both)).saturating_add(texts)
    }

    /// The number type that the UNet's weights are stored in, in which diffusers would draw its noise.
    pub(crate) fn stored_dtype(&self) -> NoiseDtype {
        self.stored
    }

    /// Width and height of the pictures that it was trained with, where the UNet says it.
    pub(crate) fn default_size(&self) -> Option<(usize, usize)> {
        let factor = self.vae.factor();
        let (height, width) = self.unet.sample_size?;
        Some((width.saturating_mul(factor), height.saturating_mul(factor)))
    }

    /// Tokens of a prompt, at most, that parity with diffusers is claimed for: those of one chunk, those around it included.
    pub(crate) fn chunk_tokens(&self) -> usize {
        self.texts.first().map_or(0, |text| text.chunk)
    }

    /// A prompt's tokens; the error says what is wrong with it. Blocks.
    pub(crate) fn prompt(&self, text: &str) -> Result<PromptTokens, Error> {
        PromptTokens::new(&self.texts, text).map_err(Error::invalid)
    }

    /// The files it was read from.
    pub(crate) fn files(&self) -> &ModelFiles {
        &self.files
    }

    fn tensors(&self, folder: &str, component: Component) -> Result<Tensors, Error> {
        Tensors::open(&self.files, folder, component)
    }

    fn vae_component(&self) -> Component {
        Component::Vae { levels: self.vae.block_out_channels.len() }
    }

    fn unet_component(&self) -> Result<Component, Error> {
        let blocks = self.unet.levels.first().map_or(0, |level| level.blocks);
        match self.unet.levels.iter().all(|level| level.blocks == blocks)
            || !weights::is_single_file(&self.files)
        {
            true => Ok(Component::Unet { blocks }),
            false => Err(Error::Unsupported {
                place: self.files.folder("unet").place().to_owned(),
                what: "a single file of a UNet with another layers_per_block on each level".to_owned(),
                supported: "use the pipeline's folders".to_owned(),
            }),
        }
    }

    /// Checks that the components belong together.
    fn check_fit(&self) -> Result<(), Error> {
        let wrong = |reason: String| Err(Error::Checkpoint { place: self.files.place().to_owned(), reason });
        let (unet, vae) = (&self.unet, &self.vae);
        if (vae.in_channels, vae.out_channels) != (3, 3) {
            return wrong(format!(
                "the VAE encodes {} colours and decodes {}, a picture has 3",
                vae.in_channels, vae.out_channels
            ));
        }
        let latents = vae.latent_channels;
        if unet.out_channels != latents {
            return wrong(format!(
                "the UNet makes {} channels, and its VAE decodes latents of {latents}: they do not belong together",
                unet.out_channels
            ));
        }
        if unet.in_channels != latents && unet.in_channels != 2 * latents + 1 {
            return wrong(format!(
                "the UNet takes {} channels: {latents} are drawn with, {} (with a mask and what stays) are filled in with, as \
                 its VAE has latents of {latents}",
                unet.in_channels,
                2 * latents + 1
            ));
        }
        let widths: Vec<usize> = self.texts.iter().map(|text| text.config.hidden_size).collect();
        if widths.iter().sum::<usize>() != unet.context_size {
            let widths: Vec<String> = widths.iter().map(usize::to_string).collect();
            return wrong(format!(
                "the UNet has cross_attention_dim {}, and the text encoders give {} numbers a token: they do not belong \
                 together",
                unet.context_size,
                widths.join(" + ")
            ));
        }
        let pooled =
            self.texts.iter().find(|text| text.outputs.embedding).map(|text| text.config.embedding_size());
        match (pooled, unet.added) {
            (None, None) => {}
            (None, Some(_)) => {
                return wrong("the UNet takes pooled texts and sizes (addition_embed_type text_time), and the pipeline \
                              has none: it is SDXL's"
                    .to_owned());
            }
            (Some(_), None) => {
                return wrong("the UNet takes no pooled texts and sizes (addition_embed_type text_time), which SDXL has"
                    .to_owned());
            }
            (Some(pooled), Some(added)) => {
                let found = pooled + SIZES * added.wave_size;
                if found != added.size {
                    return wrong(format!(
                        "the UNet has projection_class_embeddings_input_dim {}, and {SIZES} sizes of {} numbers and a pooled \
                         text of {pooled} are {found}",
                        added.size, added.wave_size
                    ));
                }
            }
        }
        match self.texts.iter().find(|text| text.chunk != self.chunk_tokens()) {
            None => Ok(()),
            Some(other) => wrong(format!(
                "one text encoder reads {} tokens and the other {}: their hidden states are put side by side",
                self.chunk_tokens(),
                other.chunk
            )),
        }
    }
}

/// Refuses what is not computed with or on.
fn refuse_others(files: &ModelFiles, numbers: Numbers) -> Result<(), Error> {
    let refused = |what: String, supported: &str| {
        Err(Error::Unsupported { place: files.place().to_owned(), what, supported: supported.to_owned() })
    };
    if !matches!(numbers.dtype, Dtype::Auto | Dtype::F32) {
        let what = format!("dtype {} for text to image", numbers.dtype);
        return refused(what, "it computes in f32, whatever the weights are stored in: use auto");
    }
    if !matches!(numbers.device, DeviceChoice::Auto | DeviceChoice::Cpu) {
        return refused(format!("device {} for text to image", numbers.device), "use cpu");
    }
    Ok(())
}

/// A component's `config.json`.
fn config<T>(
    files: &ModelFiles,
    component: &str,
    read: impl FnOnce(&Value) -> Result<T, NnError>,
) -> Result<T, Error> {
    let folder = files.folder(component);
    let label = folder.require("config.json")?.label().to_owned();
    read(&folder.json("config.json")?).map_err(at(&label))
}

/// The pipeline's own scheduler, with what the pipelines of Stable Diffusion correct in old configurations.
fn scheduler(files: &ModelFiles, pipeline: &Pipeline, inpainting: bool) -> Result<SchedulerConfig, Error> {
    let folder = files.folder("scheduler");
    let place = folder.require("scheduler_config.json")?.label().to_owned();
    let text = folder.text_if_any("scheduler_config.json")?.unwrap_or_default();
    let read = SchedulerConfig::from_json(&text);
    let corrected = pipeline.family == Family::StableDiffusion && !pipeline.latent_consistency;
    let read = match corrected {
        true => read.and_then(|read| read.corrected_for_stable_diffusion(inpainting)),
        false => read,
    };
    read.map_err(|error| match error {
        SchedulerError::Unsupported { what, supported } => Error::Unsupported { place, what, supported },
        other => Error::Checkpoint { place, reason: other.to_string() },
    })
}

/// What checkpoints of diffusers before 0.9 say of their size is wrong, where it is less than this: their pipelines' own
/// correction.
fn corrected_size(unet: &mut UnetConfig, fields: &Value) {
    const SMALLEST: usize = 64;
    let mut version = fields["_diffusers_version"].as_str().unwrap_or_default().split('.');
    let mut next = || version.next().and_then(|part| part.parse::<u32>().ok());
    let old = matches!((next(), next()), (Some(0), Some(minor)) if minor < 9);
    if old && let Some((height, width)) = unet.sample_size.filter(|size| size.0.min(size.1) < SMALLEST) {
        unet.sample_size = Some((height.max(SMALLEST), width.max(SMALLEST)));
    }
}

/// What nn says of a file.
pub(crate) fn at(place: &str) -> impl Fn(NnError) -> Error {
    move |error| match error {
        NnError::Unsupported { what, supported } => {
            Error::Unsupported { place: place.to_owned(), what, supported }
        }
        other => Error::Checkpoint { place: place.to_owned(), reason: other.to_string() },
    }
}
