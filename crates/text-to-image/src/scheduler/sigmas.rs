//! Noise levels as standard deviations beside a picture of scale 1, for the classes that integrate over them.

use super::error::SchedulerError;
use super::training::Training;

/// How sharply Karras' sigmas gather at the end.
const RHO: f64 = 7.0;

/// The sigma of each timestep of the training, rising.
#[derive(Debug)]
pub(super) struct Sigmas {
    sigmas: Vec<f32>,
    logarithms: Vec<f32>,
}

impl Sigmas {
    pub(super) fn new(training: &Training) -> Self {
        let sigmas: Vec<f32> =
            training.products.iter().map(|product| ((1.0 - product) / product).sqrt()).collect();
        let logarithms = sigmas.iter().map(|sigma| sigma.ln()).collect();
        Self { sigmas, logarithms }
    }

    pub(super) fn least(&self) -> f64 {
        f64::from(self.sigmas[0])
    }

    pub(super) fn most(&self) -> f64 {
        f64::from(self.sigmas[self.sigmas.len() - 1])
    }

    /// Between two timesteps interpolated, beyond them the last one.
    pub(super) fn at(&self, timestep: f64) -> f64 {
        let low = (timestep.max(0.0) as usize).min(self.sigmas.len() - 1);
        let high = (low + 1).min(self.sigmas.len() - 1);
        let (from, to) = (f64::from(self.sigmas[low]), f64::from(self.sigmas[high]));
        (to - from) * (timestep - low as f64) + from
    }

    /// The timestep of a sigma, by its logarithm.
    pub(super) fn timestep(&self, sigma: f64) -> f64 {
        let logarithm = sigma.max(1e-10).ln();
        let below = self.logarithms.partition_point(|other| f64::from(*other) <= logarithm);
        let low = below.saturating_sub(1).min(self.logarithms.len() - 2);
        let (from, to) = (self.logarithms[low], self.logarithms[low + 1]);
        let weight = ((f64::from(from) - logarithm) / f64::from(from - to)).clamp(0.0, 1.0);
        (1.0 - weight) * low as f64 + weight * (low + 1) as f64
    }
}

/// Sigmas from the most to the least, denser towards the end (Karras et al., "Elucidating the Design Space of Diffusion-Based
/// Generative Models", 2022, equation 5).
pub(super) fn karras(most: f64, least: f64, count: usize) -> Vec<f64> {
    let (from, to) = (most.powf(1.0 / RHO), least.powf(1.0 / RHO));
    let gaps = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|place| (from + place as f64 / gaps * (to - from)).powf(RHO)).collect()
}

/// Karras' sigmas within the bounds that a configuration gives, the least and the most, else within those given here.
pub(super) fn karras_within(
    (least_given, most_given): (Option<f64>, Option<f64>),
    most: f64,
    least: f64,
    count: usize,
) -> Result<Vec<f64>, SchedulerError> {
    let (most, least) = (most_given.unwrap_or(most), least_given.unwrap_or(least));
    if most < least {
        let reason = format!("sigmas would rise from sigma_max {most} to sigma_min {least}");
        return Err(SchedulerError::Invalid(reason));
    }
    Ok(karras(most, least, count))
}
