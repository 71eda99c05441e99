//! Sampling of latent consistency models (Luo et al., "Latent Consistency Models: Synthesizing High-Resolution Images with
//! Few-Step Inference", 2023): each step predicts the end and adds fresh noise to it.

use super::error::SchedulerError;
use super::fields::Fields;
use super::limits::Limits;
use super::plan::{Algorithm, Evaluation, Plan, Solver, refuse_infinite};
use super::prediction::{Level, Prediction, combined};
use super::training::{BetaSchedule, Class, Training, ZeroSnr};

/// The standard deviation of pictures that the boundary condition assumes.
const SIGMA_DATA: f32 = 0.5;

#[derive(Debug, Clone)]
pub(super) struct Lcm {
    training: Training,
    prediction: Prediction,
    limits: Limits,
    /// Into how many steps the model was distilled.
    original_steps: usize,
    scaling: f32,
}

#[derive(Debug)]
struct Steps {
    steps: Vec<Step>,
    prediction: Prediction,
    limits: Limits,
}

#[derive(Debug)]
struct Step {
    from: Level,
    /// None at the last step.
    to: Option<Level>,
    /// How much of the sample the result keeps.
    skip: f32,
    /// How much of the predicted picture it takes.
    out: f32,
}

impl Lcm {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, SchedulerError> {
        let class = Class {
            beta_start: 0.00085,
            beta_end: 0.012,
            betas: BetaSchedule::ScaledLinear,
            zero_snr: ZeroSnr::Exact,
        };
        let training = Training::read(fields, class)?;
        let most = training.timesteps();
        Ok(Self {
            prediction: Prediction::read(fields, &Prediction::ALL)?,
            limits: Limits::threshold_or_clip(fields, false)?,
            original_steps: fields.size_within("original_inference_steps", 50, 1, most)?,
            scaling: fields.number("timestep_scaling", 10.0)? as f32,
            training,
        })
    }
}

impl Algorithm for Lcm {
    fn training(&self) -> &Training {
        &self.training
    }

    fn plan(&self, steps: usize, _: usize) -> Result<Plan, SchedulerError> {
        self.plan_shortened(steps, 1.0)
    }

    fn plan_shortened(&self, steps: usize, strength: f64) -> Result<Plan, SchedulerError> {
        let stride = self.training.timesteps() / self.original_steps;
        let originals = (self.original_steps as f64 * strength) as usize;
        if originals < steps {
            return Err(SchedulerError::Steps(format!(
                "{steps} steps are more than the {originals} (original_inference_steps {} times strength {strength}) that this \
                 model was distilled into; ask for fewer",
                self.original_steps
            )));
        }
        let share = originals as f64 / steps as f64;
        let timesteps: Vec<usize> =
            (0..steps).map(|step| (originals - (step as f64 * share) as usize) * stride - 1).collect();
        let levels: Vec<Level> =
            timesteps.iter().map(|timestep| Level::of_product(self.training.products[*timestep])).collect();
        for (place, level) in levels.iter().enumerate() {
            refuse_infinite(steps, place, [self.prediction.divisor(*level).recip()])?;
        }
        let plan = timesteps.iter().enumerate().map(|(place, timestep)| {
            let scaled = *timestep as f32 * self.scaling;
            let sum = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
            Step {
                from: levels[place],
                to: levels.get(place + 1).copied(),
                skip: SIGMA_DATA * SIGMA_DATA / sum,
                out: scaled / sum.sqrt(),
            }
        });
        let solver = Steps { steps: plan.collect(), prediction: self.prediction, limits: self.limits };
        Ok(Plan {
            timesteps: timesteps.iter().map(|timestep| *timestep as f32).collect(),
            levels,
            divisors: Vec::new(),
            initial_sigma: 1.0,
            solver: Box::new(solver),
        })
    }
}

impl Solver for Steps {
    fn step(&mut self, at: Evaluation<'_>, draw: &mut dyn FnMut(usize) -> Vec<f32>) -> Vec<f32> {
        let Step { from, to, skip, out } = self.steps[at.place];
        let mut picture = self.prediction.picture(from, at.output, at.sample);
        self.limits.apply(&mut picture, at.samples);
        let denoised = combined(&picture, at.sample, |picture, sample| out * picture + skip * sample);
        match to {
            Some(to) => to.mix(&denoised, &draw(denoised.len())),
            None => denoised,
        }
    }
}
