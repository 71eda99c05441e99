//! Euler's method over sigmas (Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022,
//! algorithm 1 without the correction).

use super::error::SchedulerError;
use super::fields::Fields;
use super::plan::{Algorithm, Evaluation, Plan, Solver, refuse_infinite};
use super::prediction::{Level, Prediction, combined};
use super::sigmas::{Sigmas, karras_within};
use super::spacing::Spacing;
use super::training::{Class, Training, ZeroSnr};

#[derive(Debug, Clone)]
pub(super) struct Euler {
    training: Training,
    prediction: Prediction,
    spacing: Spacing,
    /// Karras' sigmas within the bounds that are given, else within those of the timesteps.
    karras: Option<(Option<f64>, Option<f64>)>,
    ends_at_zero: bool,
}

#[derive(Debug)]
struct Steps {
    sigmas: Vec<f32>,
    prediction: Prediction,
}

impl Euler {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, SchedulerError> {
        let [epsilon, sample, velocity] = Prediction::ALL;
        let predictions = [epsilon, sample, ("original_sample", Prediction::Sample), velocity];
        let prediction = Prediction::read(fields, &predictions)?;
        fields.choice("interpolation_type", (), &[("linear", ())])?;
        // Continuous timesteps are only those of a velocity.
        let types: &[_] = if prediction == Prediction::Velocity {
            &[("discrete", ())]
        } else {
            &[("discrete", ()), ("continuous", ())]
        };
        fields.choice("timestep_type", (), types)?;
        fields.refuse("use_exponential_sigmas", "use_karras_sigmas, or neither")?;
        fields.refuse("use_beta_sigmas", "use_karras_sigmas, or neither")?;
        let bounds = (fields.given_sigma("sigma_min")?, fields.given_sigma("sigma_max")?);
        Ok(Self {
            training: Training::read(fields, Class::common(ZeroSnr::Floored))?,
            prediction,
            spacing: Spacing::linspace(fields)?,
            karras: fields.flag("use_karras_sigmas", false)?.then_some(bounds),
            ends_at_zero: fields.choice(
                "final_sigmas_type",
                true,
                &[("zero", true), ("sigma_min", false)],
            )?,
        })
    }
}

impl Algorithm for Euler {
    fn training(&self) -> &Training {
        &self.training
    }

    fn plan(&self, steps: usize, _: usize) -> Result<Plan, SchedulerError> {
        let known = Sigmas::new(&self.training);
        let mut timesteps = self.spacing.timesteps(self.training.timesteps(), steps)?;
        let mut sigmas: Vec<f64> =
            timesteps.iter().map(|timestep| known.at(f64::from(*timestep as f32))).collect();
        if let (Some(bounds), [most, .., least] | [most @ least]) = (self.karras, &sigmas[..]) {
            sigmas = karras_within(bounds, *most, *least, steps)?;
            timesteps = sigmas.iter().map(|sigma| known.timestep(*sigma)).collect();
        }
        sigmas.push(if self.ends_at_zero { 0.0 } else { known.least() });
        let sigmas: Vec<f32> = sigmas.iter().map(|sigma| *sigma as f32).collect();
        let solver = Steps { sigmas: sigmas.clone(), prediction: self.prediction };
        plan(&timesteps, &sigmas, self.spacing, steps, Box::new(solver))
    }
}

/// The plan of a solver over sigmas, one more than timesteps.
pub(super) fn plan(
    timesteps: &[f64],
    sigmas: &[f32],
    spacing: Spacing,
    steps: usize,
    solver: Box<dyn Solver>,
) -> Result<Plan, SchedulerError> {
    let evaluated = &sigmas[..timesteps.len()];
    for (place, sigma) in evaluated.iter().enumerate() {
        refuse_infinite(steps, place, [sigma.recip()])?;
    }
    let most = sigmas.iter().copied().fold(0.0, f32::max);
    Ok(Plan {
        timesteps: timesteps.iter().map(|timestep| *timestep as f32).collect(),
        levels: evaluated.iter().map(|sigma| Level { signal: 1.0, noise: *sigma }).collect(),
        divisors: evaluated.iter().map(|sigma| (sigma * sigma + 1.0).sqrt()).collect(),
        initial_sigma: if spacing.starts_at_pure_noise() { most } else { (most * most + 1.0).sqrt() },
        solver,
    })
}

/// The sample moved from `sigma` to `to` in the direction of the clean picture.
pub(super) fn moved(prediction: Prediction, sigma: f32, to: f32, at: Evaluation<'_>) -> Vec<f32> {
    let variance = sigma * sigma + 1.0;
    let picture = match prediction {
        Prediction::Velocity => combined(at.output, at.sample, |output, sample| {
            output * (-sigma / variance.sqrt()) + sample / variance
        }),
        other => other.picture(Level { signal: 1.0, noise: sigma }, at.output, at.sample),
    };
    combined(&picture, at.sample, |picture, sample| sample + (sample - picture) / sigma * (to - sigma))
}

impl Solver for Steps {
    fn step(&mut self, at: Evaluation<'_>, _: &mut dyn FnMut(usize) -> Vec<f32>) -> Vec<f32> {
        moved(self.prediction, self.sigmas[at.place], self.sigmas[at.place + 1], at)
    }
}
