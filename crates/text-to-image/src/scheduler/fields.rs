//! The fields of `scheduler_config.json`, and which of them the class has read: one that nobody read is refused, unless it
//! is switched off or belongs to another class, which diffusers passes over, too.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::error::SchedulerError;

/// A configuration in the eyes of one class.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    read: RefCell<BTreeSet<&'static str>>,
}

/// What any of diffusers' schedulers that can stand for one another takes. Files carry the fields of several classes, as they
/// are written by one and read by another, and each class passes over what it does not take.
const OTHER_CLASSES: [&str; 48] = [
    "algorithm_type",
    "beta_end",
    "beta_schedule",
    "beta_start",
    "clip_sample",
    "clip_sample_range",
    "disable_corrector",
    "dynamic_thresholding_ratio",
    "euler_at_final",
    "final_sigmas_type",
    "flow_shift",
    "interpolation_type",
    "lambda_min_clipped",
    "lower_order_final",
    "noise_sampler_seed",
    "num_train_timesteps",
    "original_inference_steps",
    "predict_x0",
    "prediction_type",
    "rescale_betas_zero_snr",
    "rho",
    "sample_max_value",
    "set_alpha_to_one",
    "shift_terminal",
    "sigma_data",
    "sigma_max",
    "sigma_min",
    "sigma_schedule",
    "skip_prk_steps",
    "solver_order",
    "solver_p",
    "solver_type",
    "steps_offset",
    "thresholding",
    "time_shift_type",
    "timestep_scaling",
    "timestep_spacing",
    "timestep_type",
    "trained_betas",
    "use_beta_sigmas",
    "use_dynamic_shifting",
    "use_exponential_sigmas",
    "use_flow_sigmas",
    "use_karras_sigmas",
    "use_lu_lambdas",
    "variance_type",
    // Of versions that are gone.
    "tensor_format",
    "timestep_values",
];

impl<'a> Fields<'a> {
    pub(super) fn new(object: &'a Map<String, Value>) -> Self {
        Self { object, read: RefCell::default() }
    }

    /// A whole number; the default where it is absent or null.
    pub(super) fn size(&self, name: &'static str, default: usize) -> Result<usize, SchedulerError> {
        match self.value(name) {
            None => Ok(default),
            Some(value) => whole(value).ok_or_else(|| wrong(name, value, "a whole number")),
        }
    }

    /// A whole number within a range.
    pub(super) fn size_within(
        &self,
        name: &'static str,
        default: usize,
        least: usize,
        most: usize,
    ) -> Result<usize, SchedulerError> {
        match self.size(name, default)? {
            size if (least..=most).contains(&size) => Ok(size),
            size => Err(SchedulerError::Invalid(format!("{name} is {size}, it must be {least} to {most}"))),
        }
    }

    /// Whole numbers; none where they are absent or null.
    pub(super) fn sizes(&self, name: &'static str) -> Result<Vec<usize>, SchedulerError> {
        let Some(value) = self.value(name) else {
            return Ok(Vec::new());
        };
        let sizes = value.as_array().and_then(|items| items.iter().map(whole).collect());
        sizes.ok_or_else(|| wrong(name, value, "a list of whole numbers"))
    }

    /// A finite number; the default where it is absent or null.
    pub(super) fn number(&self, name: &'static str, default: f64) -> Result<f64, SchedulerError> {
        Ok(self.given_number(name)?.unwrap_or(default))
    }

    /// A finite number above 0.
    pub(super) fn positive(&self, name: &'static str, default: f64) -> Result<f64, SchedulerError> {
        match self.number(name, default)? {
            number if number > 0.0 => Ok(number),
            number => Err(SchedulerError::Invalid(format!("{name} is {number}, it must be above 0"))),
        }
    }

    /// A finite number, if it is there and not null.
    pub(super) fn given_number(&self, name: &'static str) -> Result<Option<f64>, SchedulerError> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(wrong(name, value, "a number")),
            },
        }
    }

    /// A sigma, if it is there and not null.
    pub(super) fn given_sigma(&self, name: &'static str) -> Result<Option<f64>, SchedulerError> {
        match self.given_number(name)? {
            Some(sigma) if sigma <= 0.0 => {
                Err(SchedulerError::Invalid(format!("{name} is {sigma}, it must be above 0")))
            }
            sigma => Ok(sigma),
        }
    }

    /// Numbers, if they are there and not null.
    pub(super) fn given_numbers(&self, name: &'static str) -> Result<Option<Vec<f64>>, SchedulerError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let numbers = value.as_array().and_then(|items| items.iter().map(Value::as_f64).collect());
        numbers.map(Some).ok_or_else(|| wrong(name, value, "a list of numbers"))
    }

    /// The default where it is absent; null is false, as in Python.
    pub(super) fn flag(&self, name: &'static str, default: bool) -> Result<bool, SchedulerError> {
        match self.value(name) {
            None => Ok(default && !self.object.contains_key(name)),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong(name, other, "true or false")),
        }
    }

    /// One of a few words; the default where it is absent or null.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> Result<T, SchedulerError> {
        let Some(value) = self.value(name) else {
            return Ok(default);
        };
        let chosen = choices.iter().find(|(word, _)| value.as_str() == Some(word));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            SchedulerError::unsupported(format!("{name} {}", shortened(value)), words.join(", "))
        })
    }

    /// A field that may be anything, if it is there and not null. It counts as read.
    pub(super) fn value(&self, name: &'static str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Refuses a field that the class obeys and that is not computed here, unless it is switched off.
    pub(super) fn refuse(&self, name: &'static str, supported: &str) -> Result<(), SchedulerError> {
        match self.value(name) {
            Some(value) if !is_off(value) => {
                Err(SchedulerError::unsupported(format!("{name} {}", shortened(value)), supported))
            }
            _ => Ok(()),
        }
    }

    /// Refuses whatever no class takes, unless it is switched off.
    pub(super) fn refuse_unknown(&self) -> Result<(), SchedulerError> {
        let read = self.read.borrow();
        let unknown =
            |name: &str| !name.starts_with('_') && !read.contains(name) && !OTHER_CLASSES.contains(&name);
        match self.object.iter().find(|(name, value)| unknown(name) && !is_off(value)) {
            None => Ok(()),
            Some((name, value)) => Err(SchedulerError::unsupported(
                format!("{name} {}", shortened(value)),
                "steps are computed without it",
            )),
        }
    }
}

fn whole(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

/// Whether a field says that something is not there.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

pub(super) fn wrong(name: &str, value: &Value, wanted: &str) -> SchedulerError {
    SchedulerError::Invalid(format!("{name} is {}, it must be {wanted}", shortened(value)))
}

/// A value on one line, cut where it is long.
pub(super) fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
