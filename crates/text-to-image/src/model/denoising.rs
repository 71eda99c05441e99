//! A job between noise and latents: what each picture's part of a pass is told, and what becomes of the model's outputs.

use std::sync::Arc;

use nn::{AddedConditions, UnetInput};

use super::edit::{self, Encoded, MaskedLatents};
use crate::noise::{Generator, NoiseDtype};
use crate::prompt::Conditioning;
use crate::scheduler::Scheduler;

/// What does not change while noise becomes pictures.
#[derive(Debug)]
pub(super) struct Told {
    /// What should not be shown, where there is guidance, then the prompt.
    pub(super) halves: Vec<Conditioning>,
    pub(super) guidance: f32,
    /// Guidance as the model takes it, where it does.
    pub(super) guidance_embedding: Option<Vec<f32>>,
    /// Sizes as the model takes them, where it does.
    pub(super) time_ids: Option<Vec<f32>>,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Channels of latents, and of what the model takes.
    pub(super) channels: usize,
    pub(super) input_channels: usize,
}

/// Latents of all pictures of a job on their way.
#[derive(Debug)]
pub(super) struct Denoising {
    told: Arc<Told>,
    scheduler: Scheduler,
    generator: Generator,
    noise: NoiseDtype,
    pictures: usize,
    latents: Vec<f32>,
    /// The latents as the model takes them at this evaluation.
    scaled: Vec<f32>,
    /// What the model made of the pictures that were in a pass so far, guided.
    outputs: Vec<f32>,
    mask: Option<Inpainting>,
}

/// How a mask is obeyed.
#[derive(Debug)]
enum Inpainting {
    /// The model takes the mask and the rest as inputs.
    Told(MaskedLatents),
    /// The model knows nothing of it: what is outside is put back, noised, after each evaluation.
    PutBack { mask: Vec<f32>, latents: Vec<f32>, noise: Vec<f32> },
}

/// What a job begins to draw with: its noise, and its latents if it begins with a picture.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) scheduler: Scheduler,
    pub(super) generator: Generator,
    pub(super) noise: NoiseDtype,
    pub(super) pictures: usize,
    pub(super) source: Option<Encoded>,
    /// How far from it: from 0 to 1.
    pub(super) strength: f64,
}

impl Denoising {
    /// Draws the noise, in the reference's order, and puts the first latents together. `scale` makes the model's latents of
    /// the VAE's.
    pub(super) fn begin(told: Told, beginning: Beginning, scale: impl Fn(&mut [f32])) -> Self {
        let Beginning { scheduler, mut generator, noise: dtype, pictures, source, strength } = beginning;
        let one = told.channels * told.height * told.width;
        let takes_mask = told.input_channels > told.channels;
        let encode = |moments: &[f32], generator: &mut Generator| {
            let mut latents = edit::sample(moments, &generator.normal(one, dtype));
            scale(&mut latents);
            latents
        };
        let (mut begun, mut masked_latents, mut drawn) = (Vec::new(), None, None);
        if let Some(Encoded { moments, masked }) = source {
            let all_new = masked.is_some() && strength >= 1.0;
            if !(all_new && takes_mask) {
                begun = encode(&moments, &mut generator);
            }
            let noise = generator.normal(one * pictures, dtype);
            if let Some(masked) = masked {
                let rest = encode(&masked.moments, &mut generator);
                masked_latents = Some(MaskedLatents { mask: masked.mask, rest });
            }
            drawn = Some((noise, all_new));
        }
        let (noise, from_noise) = drawn.unwrap_or_else(|| (generator.normal(one * pictures, dtype), true));
        let latents = match from_noise {
            true => noise.iter().map(|number| number * scheduler.initial_sigma()).collect(),
            false => scheduler.add_noise(&begun.repeat(pictures), &noise),
        };
        let mask = masked_latents.map(|masked| match takes_mask {
            true => Inpainting::Told(masked),
            false => Inpainting::PutBack { mask: masked.mask, latents: begun.repeat(pictures), noise },
        });
        let scaled = scheduler.scale_input(&latents);
        let outputs = Vec::with_capacity(latents.len());
        Self {
            told: Arc::new(told),
            scheduler,
            generator,
            noise: dtype,
            pictures,
            latents,
            scaled,
            outputs,
            mask,
        }
    }

    /// What does not change.
    pub(super) fn told(&self) -> &Arc<Told> {
        &self.told
    }

    /// Evaluations that are done, and all of them.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.scheduler.evaluated(), self.scheduler.timesteps().len())
    }

    /// Pictures that this evaluation still has to be computed of.
    pub(super) fn waiting(&self) -> usize {
        self.pictures - self.outputs.len() / self.numbers()
    }

    /// What a pass takes of the next so many pictures: for each, its sample and the timestep.
    pub(super) fn samples(&self, pictures: usize) -> Vec<(Vec<f32>, f32)> {
        let first = self.pictures - self.waiting();
        let (done, _) = self.progress();
        let timestep = self.scheduler.timesteps().get(done).copied().unwrap_or_default();
        let scaled = self.scaled.chunks_exact(self.numbers()).skip(first).take(pictures);
        scaled.map(|latents| (self.with_mask(latents), timestep)).collect()
    }

    /// Takes what the model made of the next picture, one part for each half. True when the evaluation is done, and the
    /// latents are those behind it.
    pub(super) fn take(&mut self, halves: &[&[f32]]) -> bool {
        let guidance = self.told.guidance;
        match halves {
            [without, with] => {
                let both = without.iter().zip(*with);
                self.outputs.extend(both.map(|(without, with)| without + guidance * (with - without)));
            }
            [only] => self.outputs.extend_from_slice(only),
            _ => {}
        }
        if self.outputs.len() < self.latents.len() {
            return false;
        }
        let (generator, dtype) = (&mut self.generator, self.scheduler.noise_dtype(self.noise));
        let mut draw = |count| generator.normal(count, dtype);
        self.latents = self.scheduler.step(&self.outputs, &self.latents, self.pictures, &mut draw);
        self.put_back();
        self.outputs.clear();
        self.scaled = self.scheduler.scale_input(&self.latents);
        true
    }

    /// Whether all evaluations are done.
    pub(super) fn is_done(&self) -> bool {
        let (done, all) = self.progress();
        done >= all
    }

    /// The first picture's latents as they stand, with the noise that is still in them brought to the size of what is seen.
    pub(super) fn first(&self) -> &[f32] {
        let latents = if self.is_done() { &self.latents } else { &self.scaled };
        &latents[..self.numbers()]
    }

    /// All latents.
    pub(super) fn into_latents(self) -> Vec<f32> {
        self.latents
    }

    /// Numbers of a picture's latents.
    fn numbers(&self) -> usize {
        self.latents.len() / self.pictures
    }

    fn with_mask(&self, latents: &[f32]) -> Vec<f32> {
        match &self.mask {
            Some(Inpainting::Told(masked)) => [latents, &masked.mask, &masked.rest].concat(),
            _ => latents.to_vec(),
        }
    }

    fn put_back(&mut self) {
        let Some(Inpainting::PutBack { mask, latents, noise }) = &self.mask else { return };
        let (done, all) = self.progress();
        let noised = if done < all { Some(self.scheduler.add_noise_at(done, latents, noise)) } else { None };
        edit::mix(&mut self.latents, noised.as_ref().unwrap_or(latents), mask);
    }
}

impl Told {
    /// The rows of a pass for one picture.
    pub(super) fn rows<'a>(
        &'a self,
        sample: &'a [f32],
        timestep: f32,
    ) -> impl Iterator<Item = UnetInput<'a>> {
        self.halves.iter().map(move |half| UnetInput {
            sample,
            height: self.height,
            width: self.width,
            timestep,
            context: &half.context,
            added: self
                .time_ids
                .as_deref()
                .zip(half.pooled.as_deref())
                .map(|(time_ids, pooled)| AddedConditions { pooled, time_ids }),
            guidance: self.guidance_embedding.as_deref(),
        })
    }
}
