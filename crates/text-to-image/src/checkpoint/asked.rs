//! What requests and callers ask of a checkpoint.

use pool_core::ModelId;

use super::{Checkpoint, Family};
use crate::info::{Architecture, ModelInfo};
use crate::scheduler::{Scheduler, SchedulerConfig, SchedulerError};

/// The side of a picture where no configuration says one, as diffusers has it.
const SIDE: u32 = 512;

impl Checkpoint {
    /// Bytes of all weights as they are computed with.
    pub(crate) fn weight_bytes(&self) -> u64 {
        self.parameters().saturating_mul(4)
    }

    /// Width and height of pictures for which nothing else is asked.
    pub(crate) fn usual_size(&self) -> (u32, u32) {
        let side = |side: usize| u32::try_from(side).ok().filter(|side| *side > 0);
        let size = self.default_size().and_then(|(width, height)| side(width).zip(side(height)));
        size.unwrap_or((SIDE, SIDE))
    }

    /// A job's way from a picture with noise on it: consistency models' own pipelines take all steps out of a shorter way.
    pub(crate) fn scheduler_from(
        &self,
        config: &SchedulerConfig,
        steps: usize,
        strength: f64,
    ) -> Result<Scheduler, SchedulerError> {
        match self.pipeline.latent_consistency && config.name() == "lcm" {
            true => Scheduler::with_shortened(config, steps, strength),
            false => Scheduler::with_strength(config, steps, strength),
        }
    }

    /// What SDXL is told of sizes: those of the original, where it was cut, those of the picture; height first.
    pub(crate) fn time_ids(&self, width: u32, height: u32) -> Option<Vec<f32>> {
        let (width, height) = (width as f32, height as f32);
        (self.pipeline.family == Family::StableDiffusionXl)
            .then(|| vec![height, width, 0.0, 0.0, height, width])
    }

    /// What callers are told. Steps and guidance are those of diffusers' pipelines.
    pub(crate) fn info(&self, model: &ModelId) -> ModelInfo {
        let (architecture, guidance) = match self.pipeline.family {
            Family::StableDiffusion => (Architecture::StableDiffusion, 7.5),
            Family::StableDiffusionXl => (Architecture::StableDiffusionXl, 5.0),
        };
        let (steps, guidance) = if self.pipeline.latent_consistency { (4, 8.5) } else { (50, guidance) };
        ModelInfo {
            model: model.clone(),
            source: self.files().source().clone(),
            revision: self.files().revision().to_owned(),
            architecture,
            size: self.usual_size(),
            multiple: self.vae.factor() as u32,
            inpainting: self.inpainting,
            distilled_guidance: self.unet.guidance_size.is_some(),
            steps,
            guidance,
            scheduler: self.scheduler.name().to_owned(),
        }
    }
}
