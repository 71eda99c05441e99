//! PNDM (Liu et al., "Pseudo Numerical Methods for Diffusion Models on Manifolds", 2022): four evaluations of Runge-Kutta kind for each of the
//! first three steps, and linear multistep after them; or, as Stable Diffusion has it, linear multistep alone, whose first
//! step is taken twice. There are more evaluations than steps.

use super::error::SchedulerError;
use super::fields::Fields;
use super::plan::{Algorithm, Evaluation, Plan, Solver, refuse_infinite};
use super::prediction::{Level, Prediction, combined};
use super::spacing::Spacing;
use super::training::{Class, Training, ZeroSnr};

#[derive(Debug, Clone)]
pub(super) struct Pndm {
    training: Training,
    prediction: Prediction,
    spacing: Spacing,
    alpha_to_one: bool,
    multistep_alone: bool,
}

#[derive(Debug)]
struct Steps {
    /// One for each evaluation, from `first`.
    transfers: Vec<Transfer>,
    /// The evaluation that the job begins with.
    first: usize,
    runge_kutta: usize,
    prediction: Prediction,
    /// Outputs of the last evaluations, the newest last; at most four.
    outputs: Vec<Vec<f32>>,
    /// The weighted sum of a Runge-Kutta step's outputs so far.
    sum: Vec<f32>,
    /// The sample that the step began with.
    beginning: Vec<f32>,
}

/// From one timestep to another: the factors of the paper's transfer function.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    from: Level,
    sample: f32,
    difference: f32,
    denominator: f32,
}

impl Pndm {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, SchedulerError> {
        let predictions = [("epsilon", Prediction::Epsilon), ("v_prediction", Prediction::Velocity)];
        Ok(Self {
            training: Training::read(fields, Class::common(ZeroSnr::Absent))?,
            prediction: Prediction::read(fields, &predictions)?,
            spacing: Spacing::leading(fields)?,
            alpha_to_one: fields.flag("set_alpha_to_one", false)?,
            multistep_alone: fields.flag("skip_prk_steps", false)?,
        })
    }

    fn transfer(&self, from: i64, to: i64) -> Transfer {
        let end = if self.alpha_to_one { 1.0 } else { self.training.products[0] };
        let (from, to) = (self.training.product(from, end), self.training.product(to, end));
        Transfer {
            from: Level::of_product(from),
            sample: (to / from).sqrt(),
            difference: to - from,
            denominator: from * (1.0 - to).sqrt() + (from * (1.0 - from) * to).sqrt(),
        }
    }
}

impl Algorithm for Pndm {
    fn training(&self) -> &Training {
        &self.training
    }

    fn plan(&self, steps: usize, first: usize) -> Result<Plan, SchedulerError> {
        let falling: Vec<i64> = self
            .spacing
            .timesteps(self.training.timesteps(), steps)?
            .iter()
            .map(|timestep| timestep.round_ties_even() as i64)
            .collect();
        let stride = (self.training.timesteps() / steps) as i64;
        let runge_kutta = if self.multistep_alone { Vec::new() } else { runge_kutta(&falling, stride / 2)? };
        let timesteps: Vec<i64> = match &runge_kutta[..] {
            [] => multistep_twice_at_first(&falling),
            _ => runge_kutta.iter().chain(&falling[3..]).copied().collect(),
        };
        let mut transfers = Vec::with_capacity(timesteps.len());
        for (count, timestep) in timesteps.iter().skip(first).enumerate() {
            let (from, to) = if count < runge_kutta.len() {
                let half = if count % 2 == 0 { stride / 2 } else { 0 };
                (runge_kutta[count / 4 * 4], timestep - half)
            } else if count == 1 {
                (timestep + stride, *timestep)
            } else {
                (*timestep, timestep - stride)
            };
            let transfer = self.transfer(from, to);
            refuse_infinite(steps, first + count, [transfer.sample, transfer.denominator.recip()])?;
            transfers.push(transfer);
        }
        let level = |timestep: &i64| Level::of_product(self.training.product(*timestep, 1.0));
        Ok(Plan {
            levels: timesteps.iter().map(level).collect(),
            timesteps: timesteps.iter().map(|timestep| *timestep as f32).collect(),
            divisors: Vec::new(),
            initial_sigma: 1.0,
            solver: Box::new(Steps {
                transfers,
                first,
                runge_kutta: runge_kutta.len(),
                prediction: self.prediction,
                outputs: Vec::new(),
                sum: Vec::new(),
                beginning: Vec::new(),
            }),
        })
    }
}

/// Timesteps of the first three steps, each evaluated at its beginning, twice in its middle and at its end.
fn runge_kutta(falling: &[i64], half: i64) -> Result<Vec<i64>, SchedulerError> {
    if falling.len() < 4 {
        return Err(SchedulerError::Steps(format!(
            "{} steps are too few for PNDM with skip_prk_steps false, it takes at least 4",
            falling.len()
        )));
    }
    let steps = falling.windows(2).take(3);
    Ok(steps.flat_map(|pair| [pair[0], pair[1] + half, pair[1] + half, pair[1]]).collect())
}

/// The second timestep stands twice: the first step is taken again with the mean of both its ends.
fn multistep_twice_at_first(falling: &[i64]) -> Vec<i64> {
    match falling {
        [first, second, rest @ ..] => {
            [*first, *second, *second].into_iter().chain(rest.iter().copied()).collect()
        }
        one => one.to_vec(),
    }
}

impl Steps {
    fn transferred(&self, transfer: Transfer, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let noise = self.prediction.noise(transfer.from, output, sample);
        combined(&noise, sample, |noise, sample| {
            transfer.sample * sample - transfer.difference * noise / transfer.denominator
        })
    }

    fn remember(&mut self, output: &[f32]) {
        if self.outputs.len() == 4 {
            self.outputs.remove(0);
        }
        self.outputs.push(output.to_vec());
    }

    fn runge_kutta(&mut self, count: usize, output: &[f32], sample: &[f32]) -> Vec<f32> {
        const THIRD: f32 = 1.0 / 3.0;
        const SIXTH: f32 = 1.0 / 6.0;
        let add = |sum: &mut Vec<f32>, weight: f32| {
            sum.iter_mut().zip(output).for_each(|(sum, output)| *sum += weight * output);
        };
        match count % 4 {
            0 => {
                self.sum = output.iter().map(|output| SIXTH * output).collect();
                self.remember(output);
                self.beginning = sample.to_vec();
            }
            3 => {
                add(&mut self.sum, SIXTH);
                return self.transferred(self.transfers[count], &self.sum, &self.beginning);
            }
            _ => add(&mut self.sum, THIRD),
        }
        self.transferred(self.transfers[count], output, &self.beginning)
    }

    fn multistep(&mut self, count: usize, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let transfer = self.transfers[count];
        if count == 1 {
            let before = self.outputs.last().map_or(output, Vec::as_slice);
            let mean = combined(output, before, |output, before| (output + before) / 2.0);
            return self.transferred(transfer, &mean, &self.beginning);
        }
        if count == 0 {
            self.beginning = sample.to_vec();
        }
        self.remember(output);
        let output = adams_bashforth(&self.outputs);
        self.transferred(transfer, &output, sample)
    }
}

/// What the last outputs come to, the newest last.
fn adams_bashforth(outputs: &[Vec<f32>]) -> Vec<f32> {
    const TWENTY_FOURTH: f32 = 1.0 / 24.0;
    let places = 0..outputs.last().map_or(0, Vec::len);
    match outputs {
        [d, c, b, a] => {
            places.map(|i| TWENTY_FOURTH * (55.0 * a[i] - 59.0 * b[i] + 37.0 * c[i] - 9.0 * d[i])).collect()
        }
        [c, b, a] => places.map(|i| (23.0 * a[i] - 16.0 * b[i] + 5.0 * c[i]) / 12.0).collect(),
        [b, a] => places.map(|i| (3.0 * a[i] - b[i]) / 2.0).collect(),
        _ => places.map(|i| outputs[0][i]).collect(),
    }
}

impl Solver for Steps {
    fn step(&mut self, at: Evaluation<'_>, _: &mut dyn FnMut(usize) -> Vec<f32>) -> Vec<f32> {
        let count = at.place - self.first;
        if count < self.runge_kutta {
            self.runge_kutta(count, at.output, at.sample)
        } else {
            self.multistep(count, at.output, at.sample)
        }
    }
}
