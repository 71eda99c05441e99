//! A UNet's weights, and how samples pass it.

use std::sync::Arc;

use super::config::UnetConfig;
use super::pass::{Maps, Sample, UnetPass, Work};
use super::plan::Step;
use crate::diffusion::time::{Conditions, TimeEmbedding};
use crate::diffusion::transformer::Contexts;
use crate::diffusion::{MapSize, NormedRun, Part, Start};
use crate::error::NnError;
use crate::store::{Recorder, TensorStore};

/// A UNet of Stable Diffusion (UNet2DConditionModel of diffusers). Its weights never change and are shared; the state of
/// samples is in a [`UnetPass`].
#[derive(Debug)]
pub struct Unet {
    config: UnetConfig,
    time: TimeEmbedding,
    steps: Vec<Step>,
}

/// A sample, and what it is denoised by.
#[derive(Clone, Copy, Debug)]
pub struct UnetInput<'a> {
    /// Channel by channel, each row by row: `in_channels` times height times width numbers.
    pub sample: &'a [f32],
    /// Rows of the sample.
    pub height: usize,
    /// Columns of the sample.
    pub width: usize,
    /// How noisy the sample is, in steps of the training.
    pub timestep: f32,
    /// Token by token: `cross_attention_dim` numbers of each.
    pub context: &'a [f32],
    /// Conditions beside the context: there where the configuration has [`AddedConfig`](super::AddedConfig).
    pub added: Option<AddedConditions<'a>>,
    /// The embedded guidance scale ([`guidance_embedding`](crate::guidance_embedding)), for a UNet that takes one. Where it does
    /// and none is given it computes without.
    pub guidance: Option<&'a [f32]>,
}

/// What SDXL is told beside the context.
#[derive(Clone, Copy, Debug)]
pub struct AddedConditions<'a> {
    /// The vector of the whole text.
    pub pooled: &'a [f32],
    /// Sizes and places, in pixels.
    pub time_ids: &'a [f32],
}

impl Unet {
    /// Checks the configuration and loads the weights. Blocks.
    ///
    /// Tensors are asked for by diffusers' names (`down_blocks.0.resnets.0.conv1.weight`).
    ///
    /// # Errors
    /// [`NnError::InvalidConfig`], [`NnError::Weights`] if a tensor is missing or has another shape than the configuration
    /// says, [`NnError::Unsupported`] if there are tensors that are not computed with.
    pub fn load(config: UnetConfig, store: &dyn TensorStore) -> Result<Self, NnError> {
        config.check()?;
        let recorder = Recorder::new(store);
        let time = TimeEmbedding::load(&config, &recorder)?;
        let steps =
            config.plan().iter().map(|step| step.load(&config, &recorder)).collect::<Result<_, _>>()?;
        recorder.refuse_unread(usize::MAX)?;
        Ok(Self { config, time, steps })
    }

    /// What it computes.
    #[must_use]
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Samples at the beginning of their way, all of one size; timesteps and contexts are each one's own. They share the matrix
    /// products, which is faster where samples are small.
    ///
    /// # Errors
    /// [`NnError::InvalidCall`] if sizes differ, or a number of values does not fit the size or the configuration.
    pub fn begin(&self, inputs: &[UnetInput<'_>]) -> Result<UnetPass, NnError> {
        let Some(first) = inputs.first() else {
            return Ok(UnetPass::empty());
        };
        let size = MapSize { maps: inputs.len(), height: first.height, width: first.width };
        let mut samples = Vec::with_capacity(inputs.len());
        for input in inputs {
            if (input.height, input.width) != (first.height, first.width) {
                return Err(NnError::InvalidCall(format!(
                    "samples of {}x{} and {}x{} in one pass: they must have one size",
                    first.width, first.height, input.width, input.height
                )));
            }
            samples.push(self.sample(input)?);
        }
        Ok(UnetPass::new(samples, size))
    }

    /// Computes piece by piece, at least one, until all is done (true) or `go_on`, which is asked between pieces, says to
    /// stop (false). The results are the same to the last bit wherever it paused, and whatever other samples are in the
    /// pass. Blocks.
    ///
    /// A pass belongs to the UNet that began it; with another one's it may panic.
    pub fn advance(&self, pass: &mut UnetPass, go_on: &mut dyn FnMut() -> bool) -> bool {
        while pass.step < self.steps.len() && !pass.samples.is_empty() {
            if self.piece(pass) {
                pass.step += 1;
            }
            if pass.step < self.steps.len() && !go_on() {
                return false;
            }
        }
        true
    }

    /// A piece of the step at hand; true when the step is done.
    fn piece(&self, pass: &mut UnetPass) -> bool {
        let step = &self.steps[pass.step];
        let mut work = std::mem::replace(&mut pass.work, Work::None);
        if matches!(work, Work::None) {
            work = self.start(step, pass);
        }
        let done = match (&mut work, step) {
            (Work::Block(run), Step::Block(block) | Step::Join(block)) => block.advance(run),
            (Work::Transformer(run), Step::Transformer(transformer)) => {
                transformer.advance(run, Contexts { numbers: &pass.contexts, tokens: &pass.tokens })
            }
            (Work::Resample(run), Step::Down(resampler) | Step::Up(resampler)) => resampler.advance(run),
            (Work::Last { run, outputs }, Step::Last(last)) => {
                let (part, size) = (Part::of(&pass.maps.numbers, pass.size), pass.size);
                last.advance(run, &[part], size, Start::Bias, outputs)
            }
            _ => true,
        };
        if done {
            pass.finish(work);
        } else {
            pass.work = work;
        }
        done
    }

    /// The work of a step, which is over already where it is little.
    fn start(&self, step: &Step, pass: &mut UnetPass) -> Work {
        match step {
            Step::First(convolution) => {
                let size = pass.size;
                let samples = self.enter(pass);
                pass.maps = Maps { numbers: Arc::new(convolution.apply(&samples, size)), size };
                Work::None
            }
            Step::Keep => {
                pass.kept.push(pass.maps.clone());
                Work::None
            }
            Step::Block(block) => Work::Block(block.begin(vec![pass.take()], pass.maps.size, &pass.times)),
            Step::Join(block) => {
                let parts = [Some(pass.take()), pass.take_kept()].into_iter().flatten().collect();
                Work::Block(block.begin(parts, pass.maps.size, &pass.times))
            }
            Step::Transformer(transformer) => {
                Work::Transformer(transformer.begin(pass.take(), pass.maps.size))
            }
            Step::Down(resampler) => Work::Resample(resampler.begin(pass.take(), pass.maps.size, None)),
            Step::Up(resampler) => {
                let wanted = pass.kept.last().map(|kept| (kept.size.height, kept.size.width));
                Work::Resample(resampler.begin(pass.take(), pass.maps.size, wanted))
            }
            Step::Last(last) => {
                let outputs = vec![0.0; pass.size.positions() * last.outputs()];
                Work::Last { run: NormedRun::default(), outputs }
            }
        }
    }

    /// Pixels of all samples as rows; what comes of the other conditions stays in the pass.
    fn enter(&self, pass: &mut UnetPass) -> Vec<f32> {
        let channels = self.config.in_channels;
        let mut rows = vec![0.0; channels * pass.size.positions()];
        let positions = pass.size.height * pass.size.width;
        for (sample, rows) in pass.samples.iter_mut().zip(rows.chunks_exact_mut(channels * positions)) {
            for (channel, plane) in std::mem::take(&mut sample.numbers).chunks_exact(positions).enumerate() {
                for (row, number) in rows.chunks_exact_mut(channels).zip(plane) {
                    row[channel] = if self.config.center_input { 2.0 * number - 1.0 } else { *number };
                }
            }
            pass.times.extend(self.time.apply(&Conditions {
                timestep: sample.timestep,
                guidance: sample.guidance.as_deref(),
                added: sample.added.as_ref().map(|(vector, numbers)| (&**vector, &**numbers)),
            }));
            pass.tokens.push(sample.context.len() / self.config.context_size);
            pass.contexts.extend(std::mem::take(&mut sample.context));
        }
        rows
    }

    fn sample(&self, input: &UnetInput<'_>) -> Result<Sample, NnError> {
        let UnetConfig { in_channels, context_size, .. } = self.config;
        let UnetInput { sample, height, width, timestep, context, added, guidance } = *input;
        let wanted = in_channels.checked_mul(height).and_then(|numbers| numbers.checked_mul(width));
        if sample.is_empty() || wanted != Some(sample.len()) {
            return Err(NnError::InvalidCall(format!(
                "{} numbers for a sample of {width}x{height} in {in_channels} channels",
                sample.len()
            )));
        }
        if !timestep.is_finite() {
            return Err(NnError::InvalidCall(format!("the timestep is {timestep}, it must be a number")));
        }
        if context.is_empty() || !context.len().is_multiple_of(context_size) {
            return Err(NnError::InvalidCall(format!(
                "a context of {} numbers, it must have {context_size} for each of its tokens",
                context.len()
            )));
        }
        self.check_guidance(guidance)?;
        self.check_added(added)?;
        Ok(Sample {
            numbers: sample.to_vec(),
            timestep,
            context: context.to_vec(),
            added: added.map(|added| (added.pooled.to_vec(), added.time_ids.to_vec())),
            guidance: guidance.map(<[f32]>::to_vec),
        })
    }

    fn check_guidance(&self, guidance: Option<&[f32]>) -> Result<(), NnError> {
        match (self.config.guidance_size, guidance.map(<[f32]>::len)) {
            (_, None) => Ok(()),
            (Some(size), Some(given)) if size == given => Ok(()),
            (Some(size), Some(given)) => Err(NnError::InvalidCall(format!(
                "an embedded guidance scale of {given} numbers, this UNet takes {size}"
            ))),
            (None, Some(_)) => Err(NnError::InvalidCall(
                "an embedded guidance scale for a UNet that takes none: it has no time_cond_proj_dim"
                    .to_owned(),
            )),
        }
    }

    fn check_added(&self, added: Option<AddedConditions<'_>>) -> Result<(), NnError> {
        match (self.config.added, added) {
            (None, None) => Ok(()),
            (Some(config), Some(added)) => {
                let waves = added.time_ids.len().saturating_mul(config.wave_size);
                match added.pooled.len() + waves == config.size {
                    true => Ok(()),
                    false => Err(NnError::InvalidCall(format!(
                        "added conditions of {} numbers and {} time ids of {} waves each, this UNet takes {} together",
                        added.pooled.len(),
                        added.time_ids.len(),
                        config.wave_size,
                        config.size
                    ))),
                }
            }
            (Some(_), None) => Err(NnError::InvalidCall(
                "this UNet takes added conditions (addition_embed_type \"text_time\") and has got none"
                    .to_owned(),
            )),
            (None, Some(_)) => Err(NnError::InvalidCall(
                "added conditions for a UNet that takes none: it has no addition_embed_type".to_owned(),
            )),
        }
    }
}
