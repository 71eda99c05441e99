//! UniPC, a predictor and a corrector of any order from the same evaluations (Zhao et al., "UniPC: A Unified
//! Predictor-Corrector Framework for Fast Sampling of Diffusion Models", 2023: UniP and UniC).

use std::collections::VecDeque;

use super::error::SchedulerError;
use super::fields::Fields;
use super::limits::Limits;
use super::plan::{Algorithm, Evaluation, Plan, Solver, refuse_infinite};
use super::prediction::{Level, Prediction, combined};
use super::sigmas::{Sigmas, karras_within};
use super::spacing::Spacing;
use super::training::{Class, Training, ZeroSnr};

/// The systems of higher orders lose in f32 what the order gains.
const MOST_ORDER: usize = 3;

#[derive(Debug, Clone)]
pub(super) struct UniPc {
    training: Training,
    prediction: Prediction,
    limits: Limits,
    spacing: Spacing,
    order: usize,
    lower_order_final: bool,
    ends_at_zero: bool,
    karras: Option<(Option<f64>, Option<f64>)>,
    equation: Equation,
    /// After which evaluations nothing is corrected.
    uncorrected: Vec<usize>,
}

/// What is solved for, and with which function of the step's length.
#[derive(Debug, Clone, Copy)]
struct Equation {
    /// For the clean picture, else for the noise.
    for_picture: bool,
    function: Function,
}

/// `B(h)` of the paper.
#[derive(Debug, Clone, Copy)]
enum Function {
    /// `h`.
    Bh1,
    /// `exp(h) - 1`.
    Bh2,
}

#[derive(Debug)]
struct Steps {
    /// One for each evaluation, from `first`: the correction of its sample, and the way to the next.
    updates: Vec<(Option<Update>, Update)>,
    first: usize,
    levels: Vec<Level>,
    prediction: Prediction,
    limits: Limits,
    for_picture: bool,
    order: usize,
    /// What the last evaluations predicted, the newest first.
    predicted: VecDeque<Vec<f32>>,
    /// The last evaluation's sample, corrected.
    before: Vec<f32>,
}

/// The factors of one step, for which `differences.len() + 1` predictions are known at its beginning.
#[derive(Debug, Clone)]
struct Update {
    sample: f32,
    value: f32,
    scale: f32,
    /// Of each earlier prediction: its distance, and the weight of its difference to the newest.
    differences: Vec<(f32, f32)>,
    /// In a correction, the weight of the difference at the step's end.
    end: f32,
}

impl UniPc {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, SchedulerError> {
        for name in ["use_exponential_sigmas", "use_beta_sigmas", "use_flow_sigmas"] {
            fields.refuse(name, "use_karras_sigmas, or none of them")?;
        }
        fields.refuse("use_dynamic_shifting", "false")?;
        fields.refuse("shift_terminal", "null")?;
        fields.refuse("solver_p", "null")?;
        let others = ["midpoint", "heun", "logrho"].map(|name| (name, Function::Bh2));
        let functions = [("bh2", Function::Bh2), ("bh1", Function::Bh1), others[0], others[1], others[2]];
        let equation = Equation {
            for_picture: fields.flag("predict_x0", true)?,
            function: fields.choice("solver_type", Function::Bh2, &functions)?,
        };
        let bounds = (fields.given_sigma("sigma_min")?, fields.given_sigma("sigma_max")?);
        Ok(Self {
            training: Training::read(fields, Class::common(ZeroSnr::Floored))?,
            prediction: Prediction::read(fields, &Prediction::ALL)?,
            // As diffusers, which bounds only a picture that is solved for.
            limits: match Limits::threshold(fields)? {
                limits if equation.for_picture => limits,
                _ => Limits::Free,
            },
            spacing: Spacing::linspace(fields)?,
            order: fields.size_within("solver_order", 2, 1, MOST_ORDER)?,
            lower_order_final: fields.flag("lower_order_final", true)?,
            ends_at_zero: fields.choice(
                "final_sigmas_type",
                true,
                &[("zero", true), ("sigma_min", false)],
            )?,
            karras: fields.flag("use_karras_sigmas", false)?.then_some(bounds),
            equation,
            uncorrected: fields.sizes("disable_corrector")?,
        })
    }

    /// Timesteps, and sigmas with one more.
    fn visited(&self, known: &Sigmas, steps: usize) -> Result<(Vec<f32>, Vec<f64>), SchedulerError> {
        let (timesteps, mut sigmas): (Vec<f64>, Vec<f64>) = match self.karras {
            Some(bounds) => {
                let sigmas = karras_within(bounds, known.most(), known.least(), steps)?;
                (sigmas.iter().map(|sigma| known.timestep(*sigma).round_ties_even()).collect(), sigmas)
            }
            None => {
                let train = self.training.timesteps();
                let timesteps = self.spacing.timesteps_before_end(train, train, steps)?;
                let sigmas = timesteps.iter().map(|timestep| known.at(*timestep)).collect();
                (timesteps, sigmas)
            }
        };
        sigmas.push(match (self.ends_at_zero, self.karras) {
            (true, _) => 0.0,
            (false, Some(_)) => sigmas.last().copied().unwrap_or_default(),
            (false, None) => known.least(),
        });
        Ok((timesteps.iter().map(|timestep| *timestep as f32).collect(), sigmas))
    }

    fn order_at(&self, place: usize, count: usize, first: usize) -> usize {
        let most = if self.lower_order_final { count - place } else { self.order };
        self.order.min(most).min(place.saturating_sub(first) + 1)
    }
}

impl Algorithm for UniPc {
    fn training(&self) -> &Training {
        &self.training
    }

    fn plan(&self, steps: usize, first: usize) -> Result<Plan, SchedulerError> {
        let known = Sigmas::new(&self.training);
        let (timesteps, sigmas) = self.visited(&known, steps)?;
        let levels: Vec<Level> = sigmas.iter().map(|sigma| Level::of_sigma(*sigma as f32)).collect();
        let mut updates: Vec<(Option<Update>, Update)> = Vec::new();
        for place in first..timesteps.len() {
            let corrected = place > first && !self.uncorrected.contains(&(place - 1));
            let order_before = self.order_at(place.saturating_sub(1), timesteps.len(), first);
            let correction = corrected.then(|| self.equation.update(&levels, place - 1, order_before, true));
            let order = self.order_at(place, timesteps.len(), first);
            let update = self.equation.update(&levels, place, order, false);
            let factors = correction.iter().chain([&update]).flat_map(Update::factors);
            refuse_infinite(steps, place, factors)?;
            updates.push((correction, update));
        }
        let solver = Steps {
            updates,
            first,
            levels: levels.clone(),
            prediction: self.prediction,
            limits: self.limits,
            for_picture: self.equation.for_picture,
            order: self.order,
            predicted: VecDeque::new(),
            before: Vec::new(),
        };
        Ok(Plan {
            levels: levels[..timesteps.len()].to_vec(),
            timesteps,
            divisors: Vec::new(),
            initial_sigma: 1.0,
            solver: Box::new(solver),
        })
    }
}

impl Equation {
    /// The way from one level to the next with `order` predictions; `ended` where the prediction at its end is one more.
    fn update(self, levels: &[Level], place: usize, order: usize, ended: bool) -> Update {
        let (from, to) = (levels[place], levels[place + 1]);
        let lambda = from.lambda();
        let h = to.lambda() - lambda;
        let signed = if self.for_picture { -h } else { h };
        let growth = signed.exp_m1();
        let function = match self.function {
            Function::Bh1 => signed,
            Function::Bh2 => growth,
        };
        let (sample, part) = if self.for_picture {
            (to.noise / from.noise, to.signal)
        } else {
            (to.signal / from.signal, to.noise)
        };
        let distances: Vec<f32> =
            (1..order).map(|back| (levels[place - back].lambda() - lambda) / h).collect();
        let (weights, end) = weights(&distances, signed, growth, function, ended);
        // Nothing to scale in the first order, where the function may be infinite.
        let scale = if weights.is_empty() && !ended { 0.0 } else { part * function };
        Update {
            sample,
            value: part * growth,
            scale,
            differences: distances.into_iter().zip(weights).collect(),
            end,
        }
    }
}

/// The weights of earlier predictions' differences, and of the one at the end.
fn weights(distances: &[f32], signed: f32, growth: f32, function: f32, ended: bool) -> (Vec<f32>, f32) {
    match (distances.len(), ended) {
        (0, false) => return (Vec::new(), 0.0),
        (0, true) => return (Vec::new(), 0.5),
        (1, false) => return (vec![0.5], 0.0),
        _ => {}
    }
    let unknowns = distances.len() + usize::from(ended);
    let nodes: Vec<f32> = distances.iter().copied().chain(ended.then_some(1.0)).collect();
    let mut phi = growth / signed - 1.0;
    let mut factorial = 1.0;
    let mut rows: Vec<Vec<f32>> = Vec::new();
    for power in 0..unknowns {
        let powers = nodes.iter().map(|node| node.powi(power as i32));
        rows.push(powers.chain([phi * factorial / function]).collect());
        factorial *= (power + 2) as f32;
        phi = phi / signed - 1.0 / factorial;
    }
    let mut solution = solved(rows);
    let end = if ended { solution.pop().unwrap_or_default() } else { 0.0 };
    (solution, end)
}

/// A system of linear equations, each row with its right side last, by elimination with the largest pivot.
fn solved(mut rows: Vec<Vec<f32>>) -> Vec<f32> {
    let count = rows.len();
    for column in 0..count {
        let largest =
            (column..count).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()));
        rows.swap(column, largest.unwrap_or(column));
        let (above, below) = rows.split_at_mut(column + 1);
        let pivot = &above[column];
        for row in below {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(pivot).skip(column).for_each(|(number, pivot)| *number -= factor * pivot);
        }
    }
    let mut solution = vec![0.0; count];
    for (place, row) in rows.iter().enumerate().rev() {
        let known: f32 = (place + 1..count).map(|other| row[other] * solution[other]).sum();
        solution[place] = (row[count] - known) / row[place];
    }
    solution
}

impl Update {
    fn factors(&self) -> Vec<f32> {
        let differences = self.differences.iter().flat_map(|(distance, weight)| [distance.recip(), *weight]);
        [self.sample, self.value, self.scale, self.end].into_iter().chain(differences).collect()
    }

    /// The sample at the end of the step that began with `sample`. `predicted` at its beginning and before, the newest first;
    /// `end` is the prediction at the step's end, if there is one.
    fn apply(&self, predicted: &VecDeque<Vec<f32>>, sample: &[f32], end: Option<&[f32]>) -> Vec<f32> {
        let newest = &predicted[0];
        let mut sums = vec![0.0f32; newest.len()];
        for ((distance, weight), earlier) in self.differences.iter().zip(predicted.iter().skip(1)) {
            for ((sum, earlier), newest) in sums.iter_mut().zip(earlier).zip(newest) {
                *sum += weight * ((earlier - newest) / distance);
            }
        }
        if let Some(end) = end {
            for ((sum, end), newest) in sums.iter_mut().zip(end).zip(newest) {
                *sum += self.end * (end - newest);
            }
        }
        let straight = combined(newest, sample, |newest, sample| self.sample * sample - self.value * newest);
        combined(&sums, &straight, |sum, straight| straight - self.scale * sum)
    }
}

impl Solver for Steps {
    fn step(&mut self, at: Evaluation<'_>, _: &mut dyn FnMut(usize) -> Vec<f32>) -> Vec<f32> {
        let level = self.levels[at.place];
        let predicted = if self.for_picture {
            let mut picture = self.prediction.picture(level, at.output, at.sample);
            self.limits.apply(&mut picture, at.samples);
            picture
        } else {
            self.prediction.noise(level, at.output, at.sample)
        };
        let (correction, update) = &self.updates[at.place - self.first];
        let sample = match correction {
            Some(correction) => correction.apply(&self.predicted, &self.before, Some(&predicted)),
            None => at.sample.to_vec(),
        };
        self.predicted.truncate(self.order - 1);
        self.predicted.push_front(predicted);
        let next = update.apply(&self.predicted, &sample, None);
        self.before = sample;
        next
    }
}
