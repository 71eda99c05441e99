//! DPM-Solver and DPM-Solver++ as multistep methods of up to three evaluations, and their stochastic forms (Lu et al.,
//! "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps", 2022, and "DPM-Solver++: Fast
//! Solver for Guided Sampling of Diffusion Probabilistic Models", 2022; the latter's algorithm 2 is 2M).

use std::collections::VecDeque;

use serde_json::Value;

use super::error::SchedulerError;
use super::fields::{Fields, wrong};
use super::limits::Limits;
use super::plan::{Algorithm, Evaluation, Plan, Solver, refuse_infinite};
use super::prediction::{Level, Prediction, combined};
use super::sigmas::{Sigmas, karras};
use super::spacing::Spacing;
use super::training::{BetaSchedule, Class, Training, ZeroSnr};

/// With fewer steps than this, the last ones are of a lower order where that is asked for.
const FEW_STEPS: usize = 15;

#[derive(Debug, Clone)]
pub(super) struct Dpm {
    training: Training,
    prediction: Prediction,
    limits: Limits,
    spacing: Spacing,
    form: Form,
    shape: Shape,
    order: usize,
    lower_order_final: bool,
    euler_at_final: bool,
    ends_at_zero: bool,
    karras: bool,
    /// Timesteps with less half logarithmic signal-to-noise ratio than this are not visited.
    least_lambda: f32,
}

/// Which differential equation is solved, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// For the clean picture.
    PlusPlus,
    /// For the noise.
    Noise,
    /// With noise, for the clean picture.
    StochasticPlusPlus,
    /// With noise, for the noise.
    StochasticNoise,
}

/// Where the second order takes the slope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Midpoint,
    Heun,
}

#[derive(Debug)]
struct Steps {
    /// One for each evaluation, from `first`.
    updates: Vec<Update>,
    first: usize,
    levels: Vec<Level>,
    prediction: Prediction,
    limits: Limits,
    form: Form,
    order: usize,
    /// What the last evaluations predicted, the newest first.
    predicted: VecDeque<Vec<f32>>,
}

/// The factors of one step.
#[derive(Debug, Clone, Copy)]
struct Update {
    order: usize,
    sample: f32,
    /// Of the prediction, its slope and its curvature.
    value: f32,
    slope: f32,
    curvature: f32,
    noise: f32,
    /// The last two steps' lengths beside this one's.
    before: [f32; 2],
}

impl Dpm {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, SchedulerError> {
        let forms = [
            ("dpmsolver++", Form::PlusPlus),
            ("dpmsolver", Form::Noise),
            ("sde-dpmsolver++", Form::StochasticPlusPlus),
            ("sde-dpmsolver", Form::StochasticNoise),
            // What another class calls it.
            ("deis", Form::PlusPlus),
        ];
        let others = ["logrho", "bh1", "bh2"].map(|name| (name, Shape::Midpoint));
        let shapes = [("midpoint", Shape::Midpoint), ("heun", Shape::Heun), others[0], others[1], others[2]];
        refuse_what_is_not_done(fields)?;
        let scheduler = Self {
            training: Training::read(fields, Class::common(ZeroSnr::Floored))?,
            prediction: Prediction::read(fields, &Prediction::ALL)?,
            limits: Limits::threshold(fields)?,
            spacing: Spacing::linspace(fields)?,
            form: fields.choice("algorithm_type", Form::PlusPlus, &forms)?,
            shape: fields.choice("solver_type", Shape::Midpoint, &shapes)?,
            order: fields.size_within("solver_order", 2, 1, 3)?,
            lower_order_final: fields.flag("lower_order_final", true)?,
            euler_at_final: fields.flag("euler_at_final", false)?,
            ends_at_zero: fields.choice(
                "final_sigmas_type",
                true,
                &[("zero", true), ("sigma_min", false)],
            )?,
            karras: fields.flag("use_karras_sigmas", false)?,
            least_lambda: least_lambda(fields)?,
        };
        if scheduler.ends_at_zero && matches!(scheduler.form, Form::Noise | Form::StochasticNoise) {
            return Err(SchedulerError::unsupported(
                "final_sigmas_type \"zero\" with algorithm_type dpmsolver or sde-dpmsolver",
                "\"sigma_min\", or dpmsolver++",
            ));
        }
        if scheduler.order == 3 && scheduler.form == Form::StochasticNoise {
            return Err(SchedulerError::unsupported(
                "solver_order 3 with algorithm_type sde-dpmsolver",
                "1 and 2",
            ));
        }
        Ok(scheduler)
    }

    fn visited(&self, known: &Sigmas, steps: usize) -> Result<(Vec<f32>, Vec<f64>), SchedulerError> {
        if self.karras {
            let sigmas = karras(known.most(), known.least(), steps);
            let rounded = |timestep: f64| match self.training.betas {
                BetaSchedule::Cosine => timestep.trunc(),
                _ => timestep.round_ties_even(),
            };
            let timesteps = sigmas.iter().map(|sigma| rounded(known.timestep(*sigma)) as f32).collect();
            return Ok((timesteps, sigmas));
        }
        let products = &self.training.products;
        let clipped =
            products.iter().filter(|product| Level::of_product(**product).lambda() < self.least_lambda);
        let end = products.len() - clipped.count();
        if end < 2 {
            let reason = format!("lambda_min_clipped {} leaves no timestep", self.least_lambda);
            return Err(SchedulerError::Invalid(reason));
        }
        let timesteps = self.spacing.timesteps_before_end(products.len(), end, steps)?;
        let sigmas = timesteps.iter().map(|timestep| known.at(*timestep)).collect();
        Ok((timesteps.iter().map(|timestep| *timestep as f32).collect(), sigmas))
    }

    /// Of how many predictions a step is made, `taken` evaluations after the first.
    fn order_at(&self, place: usize, count: usize, taken: usize) -> usize {
        let few = self.lower_order_final && count < FEW_STEPS;
        let last = place + 1 == count && (self.euler_at_final || few || self.ends_at_zero);
        let last_but_one = place + 2 == count && few;
        let most = if last {
            1
        } else if last_but_one {
            2
        } else {
            3
        };
        self.order.min(taken + 1).min(most)
    }

    fn update(&self, levels: &[Level], place: usize, order: usize) -> Update {
        let (from, to) = (levels[place], levels[place + 1]);
        let h = to.lambda() - from.lambda();
        let length = |back: usize| levels[place - back + 1].lambda() - levels[place - back].lambda();
        let before = [1, 2].map(|back| if back < order { length(back) / h } else { 1.0 });
        let (noise_ratio, signal_ratio) = (to.noise / from.noise, to.signal / from.signal);
        let (sample, value, slope, curvature, noise) = match self.form {
            Form::PlusPlus => {
                let fall = (-h).exp() - 1.0;
                let slope = to.signal * (fall / h + 1.0);
                let curvature = -(to.signal * ((fall + h) / (h * h) - 0.5));
                (noise_ratio, -(to.signal * fall), slope, curvature, 0.0)
            }
            Form::Noise => {
                let rise = h.exp() - 1.0;
                let slope = -(to.noise * (rise / h - 1.0));
                let curvature = -(to.noise * ((rise - h) / (h * h) - 0.5));
                (signal_ratio, -(to.noise * rise), slope, curvature, 0.0)
            }
            Form::StochasticPlusPlus => {
                let fall = 1.0 - (-2.0 * h).exp();
                let slope = to.signal * (fall / (-2.0 * h) + 1.0);
                let curvature = to.signal * ((fall - 2.0 * h) / (2.0 * h * (2.0 * h)) - 0.5);
                (noise_ratio * (-h).exp(), to.signal * fall, slope, curvature, to.noise * fall.sqrt())
            }
            Form::StochasticNoise => {
                let rise = h.exp() - 1.0;
                let slope = -2.0 * (to.noise * (rise / h - 1.0));
                (
                    signal_ratio,
                    -2.0 * (to.noise * rise),
                    slope,
                    0.0,
                    to.noise * ((2.0 * h).exp() - 1.0).sqrt(),
                )
            }
        };
        let slope = match (order, self.shape) {
            (1, _) => 0.0,
            (2, Shape::Midpoint) => 0.5 * value,
            _ => slope,
        };
        let curvature = if order == 3 { curvature } else { 0.0 };
        Update { order, sample, value, slope, curvature, noise, before }
    }
}

impl Algorithm for Dpm {
    fn training(&self) -> &Training {
        &self.training
    }

    fn plan(&self, steps: usize, first: usize) -> Result<Plan, SchedulerError> {
        let known = Sigmas::new(&self.training);
        let (timesteps, mut sigmas) = self.visited(&known, steps)?;
        sigmas.push(if self.ends_at_zero { 0.0 } else { known.least() });
        let levels: Vec<Level> = sigmas.iter().map(|sigma| Level::of_sigma(*sigma as f32)).collect();
        let mut updates = Vec::new();
        for place in first..timesteps.len() {
            let order = self.order_at(place, timesteps.len(), place - first);
            let update = self.update(&levels, place, order);
            refuse_infinite(steps, place, update.factors())?;
            updates.push(update);
        }
        let solver = Steps {
            updates,
            first,
            levels: levels.clone(),
            prediction: self.prediction,
            limits: self.limits,
            form: self.form,
            order: self.order,
            predicted: VecDeque::new(),
        };
        Ok(Plan {
            levels: levels[..timesteps.len()].to_vec(),
            timesteps,
            divisors: Vec::new(),
            initial_sigma: 1.0,
            solver: Box::new(solver),
        })
    }

    fn draws_in_f32(&self) -> bool {
        matches!(self.form, Form::StochasticPlusPlus | Form::StochasticNoise)
    }
}

fn refuse_what_is_not_done(fields: &Fields<'_>) -> Result<(), SchedulerError> {
    for name in ["use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas"] {
        fields.refuse(name, "use_karras_sigmas, or none of them")?;
    }
    fields.refuse("use_dynamic_shifting", "false")?;
    // Others stand in files of classes that have variances of their own, and change nothing here.
    if let Some(variance @ ("learned" | "learned_range")) =
        fields.value("variance_type").and_then(Value::as_str)
    {
        return Err(SchedulerError::unsupported(
            format!("variance_type {variance:?}"),
            "models that predict no variance",
        ));
    }
    if fields.flag("use_karras_sigmas", false)? {
        fields.refuse("sigma_min", "the least sigma of the training")?;
        fields.refuse("sigma_max", "the largest sigma of the training")?;
    }
    Ok(())
}

/// `lambda_min_clipped`, which Python writes as `-Infinity` where nothing is clipped.
fn least_lambda(fields: &Fields<'_>) -> Result<f32, SchedulerError> {
    match fields.value("lambda_min_clipped") {
        None => Ok(f32::NEG_INFINITY),
        Some(Value::String(text)) if text == "-Infinity" => Ok(f32::NEG_INFINITY),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(number as f32),
            None => Err(wrong("lambda_min_clipped", value, "a number")),
        },
    }
}

impl Update {
    fn factors(self) -> [f32; 7] {
        let Self { sample, value, slope, curvature, noise, before: [first, second], .. } = self;
        [sample, value, slope, curvature, noise, first.recip(), second.recip()]
    }

    /// The sample of the next level, from what the last evaluations predicted, the newest first.
    fn apply(self, predicted: &VecDeque<Vec<f32>>, sample: &[f32]) -> Vec<f32> {
        let newest = &predicted[0];
        let mut next = combined(newest, sample, |newest, sample| self.sample * sample + self.value * newest);
        if self.order == 1 {
            return next;
        }
        let [first, second] = self.before;
        let inverse = 1.0 / first;
        let slopes = combined(newest, &predicted[1], |newest, before| inverse * (newest - before));
        if self.order == 2 {
            next.iter_mut().zip(&slopes).for_each(|(next, slope)| *next += self.slope * slope);
            return next;
        }
        let inverse = 1.0 / second;
        let share = first / (first + second);
        let total = 1.0 / (first + second);
        let earlier = combined(&predicted[1], &predicted[2], |before, last| inverse * (before - last));
        for ((next, slope), earlier) in next.iter_mut().zip(slopes).zip(earlier) {
            let difference = slope - earlier;
            *next += self.slope * (slope + share * difference);
            *next += self.curvature * (total * difference);
        }
        next
    }
}

impl Steps {
    /// The clean picture, or the noise, whichever the equation is solved for.
    fn predict(&self, at: Evaluation<'_>) -> Vec<f32> {
        let level = self.levels[at.place];
        if matches!(self.form, Form::PlusPlus | Form::StochasticPlusPlus) {
            let mut picture = self.prediction.picture(level, at.output, at.sample);
            self.limits.apply(&mut picture, at.samples);
            return picture;
        }
        let noise = self.prediction.noise(level, at.output, at.sample);
        if matches!(self.limits, Limits::Free) {
            return noise;
        }
        let mut picture = Prediction::Epsilon.picture(level, &noise, at.sample);
        self.limits.apply(&mut picture, at.samples);
        Prediction::Sample.noise(level, &picture, at.sample)
    }
}

impl Solver for Steps {
    fn step(&mut self, at: Evaluation<'_>, draw: &mut dyn FnMut(usize) -> Vec<f32>) -> Vec<f32> {
        let predicted = self.predict(at);
        self.predicted.truncate(self.order - 1);
        self.predicted.push_front(predicted);
        let update = self.updates[at.place - self.first];
        let mut next = update.apply(&self.predicted, at.sample);
        if matches!(self.form, Form::StochasticPlusPlus | Form::StochasticNoise) {
            for (next, noise) in next.iter_mut().zip(draw(at.sample.len())) {
                *next += update.noise * noise;
            }
        }
        next
    }
}
