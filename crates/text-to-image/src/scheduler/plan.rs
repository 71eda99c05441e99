//! What all algorithms have in common: a list of evaluations known beforehand, and a solver that goes from one to the next.

use std::fmt::Debug;

use super::error::SchedulerError;
use super::prediction::Level;
use super::training::Training;

/// A class of schedulers with what it has read of a configuration.
pub(super) trait Algorithm: Debug + Send + Sync {
    fn training(&self) -> &Training;

    /// All evaluations of a number of steps. A job may begin with the one at `first`; those before it are never taken.
    fn plan(&self, steps: usize, first: usize) -> Result<Plan, SchedulerError>;

    /// As many steps out of the last part of those that the model was distilled into.
    fn plan_shortened(&self, steps: usize, strength: f64) -> Result<Plan, SchedulerError> {
        let reason = format!(
            "{steps} steps within {strength} of the original ones are asked for, and only the scheduler lcm has original steps"
        );
        Err(SchedulerError::Steps(reason))
    }

    /// Whether steps draw noise in f32 whatever the model computes in.
    fn draws_in_f32(&self) -> bool {
        false
    }
}

/// All evaluations of a job, and how to take them.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the model is told at each evaluation.
    pub(super) timesteps: Vec<f32>,
    /// How noisy a sample is at each evaluation.
    pub(super) levels: Vec<Level>,
    /// What the sample is divided by before the model sees it, at each evaluation; empty where it is not.
    pub(super) divisors: Vec<f32>,
    /// What normal noise is multiplied by to begin with.
    pub(super) initial_sigma: f32,
    pub(super) solver: Box<dyn Solver>,
}

/// What there is at one evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evaluation<'a> {
    /// Its place in the plan.
    pub(super) place: usize,
    /// What the model made of the sample.
    pub(super) output: &'a [f32],
    pub(super) sample: &'a [f32],
    /// How many pictures stand in the slices.
    pub(super) samples: usize,
}

/// One algorithm on its way through a plan.
pub(super) trait Solver: Debug + Send {
    /// The sample of the next evaluation, or the last one. Called once for each evaluation of the plan from the first that
    /// the job takes, in order. `draw` gives that many normal numbers.
    fn step(&mut self, at: Evaluation<'_>, draw: &mut dyn FnMut(usize) -> Vec<f32>) -> Vec<f32>;
}

/// Refuses a plan in which an evaluation has a factor that is no number: formulas divide by differences of noise levels and by
/// what is left of the picture, and those can be 0 where a configuration and a number of steps do not fit each other.
pub(super) fn refuse_infinite(
    steps: usize,
    place: usize,
    factors: impl IntoIterator<Item = f32>,
) -> Result<(), SchedulerError> {
    if factors.into_iter().all(f32::is_finite) {
        return Ok(());
    }
    Err(SchedulerError::Steps(format!(
        "with {steps} steps this scheduler has no finite step {}: it would divide by a noise level, or a difference of two, \
         that is 0; ask for another number of steps or another scheduler",
        place + 1
    )))
}
