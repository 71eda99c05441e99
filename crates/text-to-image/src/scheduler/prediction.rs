//! What a model predicts, and what the clean picture and the noise are by it.

use super::error::SchedulerError;
use super::fields::Fields;

/// How much of a sample is the clean picture and how much is noise: `sample = signal * picture + noise * normal`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) signal: f32,
    pub(super) noise: f32,
}

/// What the model's output is (Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022,
/// section 4, for the velocity).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prediction {
    /// The noise.
    Epsilon,
    /// The clean picture.
    Sample,
    /// `signal * noise - noise * picture`.
    Velocity,
}

impl Level {
    /// Of a product of all alphas so far.
    pub(super) fn of_product(product: f32) -> Self {
        Self { signal: product.sqrt(), noise: (1.0 - product).sqrt() }
    }

    /// Of a standard deviation of the noise where the picture's part is scaled to 1, brought back to variance 1.
    pub(super) fn of_sigma(sigma: f32) -> Self {
        let signal = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { signal, noise: sigma * signal }
    }

    /// Half the logarithm of the signal-to-noise ratio.
    pub(super) fn lambda(self) -> f32 {
        self.signal.ln() - self.noise.ln()
    }

    pub(super) fn mix(self, picture: &[f32], normal: &[f32]) -> Vec<f32> {
        picture
            .iter()
            .zip(normal)
            .map(|(picture, normal)| self.signal * picture + self.noise * normal)
            .collect()
    }
}

impl Prediction {
    /// One of those that the class has.
    pub(super) fn read(fields: &Fields<'_>, of_class: &[(&str, Self)]) -> Result<Self, SchedulerError> {
        fields.choice("prediction_type", Self::Epsilon, of_class)
    }

    pub(super) const ALL: [(&'static str, Self); 3] =
        [("epsilon", Self::Epsilon), ("sample", Self::Sample), ("v_prediction", Self::Velocity)];

    /// What `picture` and `noise` divide by.
    pub(super) fn divisor(self, level: Level) -> f32 {
        match self {
            Self::Epsilon => level.signal,
            Self::Sample => level.noise,
            Self::Velocity => 1.0,
        }
    }

    /// The clean picture.
    pub(super) fn picture(self, level: Level, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let Level { signal, noise } = level;
        match self {
            Self::Epsilon => combined(output, sample, |output, sample| (sample - noise * output) / signal),
            Self::Sample => output.to_vec(),
            Self::Velocity => combined(output, sample, |output, sample| signal * sample - noise * output),
        }
    }

    /// The noise.
    pub(super) fn noise(self, level: Level, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let Level { signal, noise } = level;
        match self {
            Self::Epsilon => output.to_vec(),
            Self::Sample => combined(output, sample, |output, sample| (sample - signal * output) / noise),
            Self::Velocity => combined(output, sample, |output, sample| signal * output + noise * sample),
        }
    }
}

/// Two equally long slices, number by number.
pub(super) fn combined(output: &[f32], sample: &[f32], combine: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    output.iter().zip(sample).map(|(output, sample)| combine(*output, *sample)).collect()
}
