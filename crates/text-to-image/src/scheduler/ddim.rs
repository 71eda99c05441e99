//! DDIM without noise of its own (Song et al., "Denoising Diffusion Implicit Models", 2021, equation 12 with eta 0).

use super::error::SchedulerError;
use super::fields::Fields;
use super::limits::Limits;
use super::plan::{Algorithm, Evaluation, Plan, Solver, refuse_infinite};
use super::prediction::{Level, Prediction, combined};
use super::spacing::Spacing;
use super::training::{Class, Training, ZeroSnr};

#[derive(Debug, Clone)]
pub(super) struct Ddim {
    training: Training,
    prediction: Prediction,
    limits: Limits,
    spacing: Spacing,
    alpha_to_one: bool,
}

#[derive(Debug)]
struct Steps {
    /// From which level to which.
    steps: Vec<(Level, Level)>,
    prediction: Prediction,
    limits: Limits,
}

impl Ddim {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, SchedulerError> {
        Ok(Self {
            training: Training::read(fields, Class::common(ZeroSnr::Exact))?,
            prediction: Prediction::read(fields, &Prediction::ALL)?,
            limits: Limits::threshold_or_clip(fields, true)?,
            spacing: Spacing::leading(fields)?,
            alpha_to_one: fields.flag("set_alpha_to_one", true)?,
        })
    }
}

impl Algorithm for Ddim {
    fn training(&self) -> &Training {
        &self.training
    }

    fn plan(&self, steps: usize, _: usize) -> Result<Plan, SchedulerError> {
        let training = &self.training;
        let train = training.timesteps();
        let rounded: Vec<i64> = self
            .spacing
            .timesteps(train, steps)?
            .iter()
            .map(|timestep| timestep.round_ties_even() as i64)
            .collect();
        let end = if self.alpha_to_one { 1.0 } else { training.products[0] };
        // Not the next of the list: evenly spread timesteps are further apart than this.
        let stride = (train / steps) as i64;
        let level = |timestep| Level::of_product(training.product(timestep, end));
        let pairs: Vec<(Level, Level)> =
            rounded.iter().map(|timestep| (level(*timestep), level(timestep - stride))).collect();
        for (place, (from, _)) in pairs.iter().enumerate() {
            refuse_infinite(steps, place, [self.prediction.divisor(*from).recip()])?;
        }
        Ok(Plan {
            timesteps: rounded.iter().map(|timestep| *timestep as f32).collect(),
            levels: pairs.iter().map(|(from, _)| *from).collect(),
            divisors: Vec::new(),
            initial_sigma: 1.0,
            solver: Box::new(Steps { steps: pairs, prediction: self.prediction, limits: self.limits }),
        })
    }
}

impl Solver for Steps {
    fn step(&mut self, at: Evaluation<'_>, _: &mut dyn FnMut(usize) -> Vec<f32>) -> Vec<f32> {
        let (from, to) = self.steps[at.place];
        // Noise as predicted: it is not derived anew from a picture that was cut.
        let noise = self.prediction.noise(from, at.output, at.sample);
        let mut picture = self.prediction.picture(from, at.output, at.sample);
        self.limits.apply(&mut picture, at.samples);
        combined(&picture, &noise, |picture, noise| to.signal * picture + to.noise * noise)
    }
}
