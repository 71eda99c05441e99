//! Euler's method with ancestral sampling: each step goes below the next sigma and adds noise up to it (the split of a step is
//! that of Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", 2021, appendix F, in the
//! form of k-diffusion's `get_ancestral_step`).

use super::error::SchedulerError;
use super::euler;
use super::fields::Fields;
use super::plan::{Algorithm, Evaluation, Plan, Solver};
use super::prediction::Prediction;
use super::sigmas::Sigmas;
use super::spacing::Spacing;
use super::training::{Class, Training, ZeroSnr};

#[derive(Debug, Clone)]
pub(super) struct EulerAncestral {
    training: Training,
    prediction: Prediction,
    spacing: Spacing,
}

#[derive(Debug)]
struct Steps {
    sigmas: Vec<f32>,
    prediction: Prediction,
}

impl EulerAncestral {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, SchedulerError> {
        let predictions = [("epsilon", Prediction::Epsilon), ("v_prediction", Prediction::Velocity)];
        Ok(Self {
            training: Training::read(fields, Class::common(ZeroSnr::Floored))?,
            prediction: Prediction::read(fields, &predictions)?,
            spacing: Spacing::linspace(fields)?,
        })
    }
}

impl Algorithm for EulerAncestral {
    fn training(&self) -> &Training {
        &self.training
    }

    fn plan(&self, steps: usize, _: usize) -> Result<Plan, SchedulerError> {
        let known = Sigmas::new(&self.training);
        let timesteps = self.spacing.timesteps(self.training.timesteps(), steps)?;
        let sigmas: Vec<f32> = timesteps
            .iter()
            .map(|timestep| known.at(f64::from(*timestep as f32)) as f32)
            .chain([0.0])
            .collect();
        let solver = Steps { sigmas: sigmas.clone(), prediction: self.prediction };
        euler::plan(&timesteps, &sigmas, self.spacing, steps, Box::new(solver))
    }
}

impl Solver for Steps {
    fn step(&mut self, at: Evaluation<'_>, draw: &mut dyn FnMut(usize) -> Vec<f32>) -> Vec<f32> {
        let (from, to) = (self.sigmas[at.place], self.sigmas[at.place + 1]);
        let (from_squared, to_squared) = (from * from, to * to);
        let up = (to_squared * (from_squared - to_squared) / from_squared).sqrt();
        let down = (to_squared - up * up).max(0.0).sqrt();
        let mut sample = euler::moved(self.prediction, from, down, at);
        // At the last step, too, where it is multiplied by 0: the generator moves on.
        for (sample, noise) in sample.iter_mut().zip(draw(at.sample.len())) {
            *sample += noise * up;
        }
        sample
    }
}
