//! Trajectories beside diffusers', what is refused, and what holds for any configuration.

mod parity;
mod properties;
mod refusals;

use serde_json::{Value, json};

use super::*;

/// Stable Diffusion's training, in the class of that name, with some fields more.
fn config(class: &str, more: Value) -> Value {
    let mut config = json!({
        "_class_name": class,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
    });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

/// The model of the fixtures, which `xtask/python/parity_schedulers.py` has, too.
fn model(sample: &[f32], timestep: f32, evaluation: usize) -> Vec<f32> {
    let output = |(place, number): (usize, &f32)| {
        let wave = 0.05 * f64::from(timestep) + 1.3 * place as f64 + 0.7 * evaluation as f64;
        (wave.cos() + 0.3 * f64::from(*number).sin()) as f32
    };
    sample.iter().enumerate().map(output).collect()
}

/// Stands for a picture or for noise.
fn ramp(scale: f64, count: usize) -> Vec<f32> {
    (0..count).map(|place| ((1.0 + scale * place as f64).sin() * 1.5) as f32).collect()
}

fn no_noise(_: usize) -> Vec<f32> {
    panic!("this algorithm draws no noise")
}
