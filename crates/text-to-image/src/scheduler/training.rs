//! The noise that the model was trained with: betas, and what is left of a picture at each timestep.

use std::f64::consts::FRAC_PI_2;

use super::error::SchedulerError;
use super::fields::Fields;

/// A bound on what a configuration can make us allocate, far above any model's.
const MOST_TIMESTEPS: usize = 100_000;

/// What is put in the place of a last product of 0 where sigmas are to stay finite: sigma becomes 4096.
const LEAST_PRODUCT: f32 = 1.0 / 16_777_216.0;

/// The timesteps of a model's training.
#[derive(Debug, Clone)]
pub(super) struct Training {
    /// The product of all alphas up to each timestep, falling.
    pub(super) products: Vec<f32>,
    pub(super) betas: BetaSchedule,
}

/// How betas grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BetaSchedule {
    Linear,
    /// Their square roots grow linearly.
    ScaledLinear,
    /// By the products, which fall as a squared cosine (Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic
    /// Models", 2021, section 3.2).
    Cosine,
}

/// What a class takes for the fields that are absent, and what it makes of a last timestep without any signal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Class {
    pub(super) beta_start: f64,
    pub(super) beta_end: f64,
    pub(super) betas: BetaSchedule,
    pub(super) zero_snr: ZeroSnr,
}

/// What `rescale_betas_zero_snr` comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZeroSnr {
    /// The class does not have it.
    Absent,
    /// The last product is 0.
    Exact,
    /// The last product is a little above 0.
    Floored,
}

impl Class {
    /// Of most classes.
    pub(super) const fn common(zero_snr: ZeroSnr) -> Self {
        Self { beta_start: 0.0001, beta_end: 0.02, betas: BetaSchedule::Linear, zero_snr }
    }
}

impl Training {
    pub(super) fn read(fields: &Fields<'_>, class: Class) -> Result<Self, SchedulerError> {
        let count = fields.size_within("num_train_timesteps", 1000, 2, MOST_TIMESTEPS)?;
        let start = fields.number("beta_start", class.beta_start)?;
        let end = fields.number("beta_end", class.beta_end)?;
        let schedules = [
            ("linear", BetaSchedule::Linear),
            ("scaled_linear", BetaSchedule::ScaledLinear),
            ("squaredcos_cap_v2", BetaSchedule::Cosine),
        ];
        let schedule = fields.choice("beta_schedule", class.betas, &schedules)?;
        let mut betas = match fields.given_numbers("trained_betas")? {
            Some(betas) if betas.len() == count => betas.iter().map(|beta| *beta as f32).collect(),
            Some(betas) => {
                let reason = format!("trained_betas are {}, num_train_timesteps says {count}", betas.len());
                return Err(SchedulerError::Invalid(reason));
            }
            None => schedule.betas(start, end, count),
        };
        let rescaled = class.zero_snr != ZeroSnr::Absent && fields.flag("rescale_betas_zero_snr", false)?;
        if rescaled {
            betas = rescaled_to_zero_snr(&betas);
        }
        let mut products = products(&betas);
        let signal_left = &products[..count - usize::from(rescaled)];
        let falls = products.windows(2).all(|pair| pair[1] < pair[0]);
        if !falls || products[0] >= 1.0 || signal_left.iter().any(|product| *product <= 0.0) {
            return Err(SchedulerError::Invalid(format!(
                "these betas (beta_schedule, beta_start {start}, beta_end {end}, trained_betas) do not make a picture fade \
                 steadily and not wholly over {count} timesteps"
            )));
        }
        if rescaled && class.zero_snr == ZeroSnr::Floored {
            products[count - 1] = LEAST_PRODUCT;
        }
        Ok(Self { products, betas: schedule })
    }

    pub(super) fn timesteps(&self) -> usize {
        self.products.len()
    }

    /// The product at a timestep; `end` where it is before the first.
    pub(super) fn product(&self, timestep: i64, end: f32) -> f32 {
        usize::try_from(timestep).map_or(end, |timestep| self.products[timestep.min(self.timesteps() - 1)])
    }
}

impl BetaSchedule {
    fn betas(self, start: f64, end: f64, count: usize) -> Vec<f32> {
        match self {
            Self::Linear => linspace(start, end, count),
            Self::ScaledLinear => {
                linspace(start.sqrt(), end.sqrt(), count).iter().map(|root| root * root).collect()
            }
            Self::Cosine => {
                let product = |place: usize| {
                    let time = place as f64 / count as f64;
                    ((time + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2)
                };
                (0..count)
                    .map(|place| (1.0 - product(place + 1) / product(place)).min(0.999) as f32)
                    .collect()
            }
        }
    }
}

/// As torch: from both ends to the middle, in f32.
fn linspace(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let step = (end - start) / (count - 1) as f32;
    (0..count)
        .map(|place| {
            if place < count / 2 {
                step.mul_add(place as f32, start)
            } else {
                (-step).mul_add((count - 1 - place) as f32, end)
            }
        })
        .collect()
}

/// Products of `1 - beta`, summed up in f64 as torch does on the CPU.
fn products(betas: &[f32]) -> Vec<f32> {
    let mut product = 1.0f64;
    betas
        .iter()
        .map(|beta| {
            product *= f64::from(1.0 - beta);
            product as f32
        })
        .collect()
}

/// Betas by which nothing of the picture is left at the last timestep (Lin et al., "Common Diffusion Noise Schedules and
/// Sample Steps are Flawed", 2023, algorithm 1).
fn rescaled_to_zero_snr(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = products(betas).iter().map(|product| product.sqrt()).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    let mut before = 1.0;
    roots
        .iter()
        .map(|root| {
            let root = (root - last) * scale;
            let product = root * root;
            let alpha = product / before;
            before = product;
            1.0 - alpha
        })
        .collect()
}
