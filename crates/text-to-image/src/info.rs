use std::fmt;

use model_source::Source;
use pool_core::ModelId;

/// What a text-to-image model is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The name of its group.
    pub model: ModelId,
    /// Where it comes from.
    pub source: Source,
    /// What identifies its content: a commit, a version, a fingerprint of the files.
    pub revision: String,
    /// What kind of model it is.
    pub architecture: Architecture,
    /// The size of a picture for which nothing else is asked: pixels a row, and rows.
    pub size: (u32, u32),
    /// Sides of pictures are multiples of this.
    pub multiple: u32,
    /// Whether it was trained to fill in what a mask leaves out, and so needs a picture and a mask.
    pub inpainting: bool,
    /// Whether guidance is an input of the model, which then is computed once a step, not twice.
    pub distilled_guidance: bool,
    /// Steps where nothing else is asked.
    pub steps: usize,
    /// Guidance scale where nothing else is asked.
    pub guidance: f32,
    /// The scheduler where nothing else is asked.
    pub scheduler: String,
}

/// The kinds of models that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// Stable Diffusion 1.x and 2.x and what was made of them (<https://arxiv.org/abs/2112.10752>).
    StableDiffusion,
    /// Stable Diffusion XL (<https://arxiv.org/abs/2307.01952>).
    StableDiffusionXl,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StableDiffusion => "Stable Diffusion",
            Self::StableDiffusionXl => "Stable Diffusion XL",
        })
    }
}
