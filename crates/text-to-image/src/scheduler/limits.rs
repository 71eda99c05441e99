//! Keeping a predicted clean picture within its range.

use super::error::SchedulerError;
use super::fields::Fields;

/// What is done to a predicted clean picture.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limits {
    /// Nothing.
    Free,
    /// Numbers beyond it are cut to it.
    Clip(f32),
    /// Dynamic thresholding (Saharia et al., "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding",
    /// 2022, section 2.3): each picture is cut to the quantile `ratio` of its magnitudes, which is held within 1 and `most`,
    /// and divided by it.
    Threshold { ratio: f32, most: f32 },
}

impl Limits {
    /// Thresholding alone, for the classes that do not clip.
    pub(super) fn threshold(fields: &Fields<'_>) -> Result<Self, SchedulerError> {
        let ratio = fields.number("dynamic_thresholding_ratio", 0.995)?;
        let most = fields.positive("sample_max_value", 1.0)?;
        if !fields.flag("thresholding", false)? {
            return Ok(Self::Free);
        }
        if !(0.0..=1.0).contains(&ratio) {
            let reason = format!("dynamic_thresholding_ratio is {ratio}, it must be 0 to 1");
            return Err(SchedulerError::Invalid(reason));
        }
        Ok(Self::Threshold { ratio: ratio as f32, most: most as f32 })
    }

    /// Thresholding, else clipping, where one of them is asked for.
    pub(super) fn threshold_or_clip(fields: &Fields<'_>, clip_default: bool) -> Result<Self, SchedulerError> {
        let range = fields.positive("clip_sample_range", 1.0)?;
        let clip = fields.flag("clip_sample", clip_default)?;
        Ok(match Self::threshold(fields)? {
            Self::Free if clip => Self::Clip(range as f32),
            limits => limits,
        })
    }

    /// `pictures` are `samples` of them, one after another.
    pub(super) fn apply(self, pictures: &mut [f32], samples: usize) {
        match self {
            Self::Free => {}
            Self::Clip(range) => cut(pictures, range),
            Self::Threshold { ratio, most } => {
                let length = (pictures.len() / samples.max(1)).max(1);
                for picture in pictures.chunks_mut(length) {
                    // As torch's clamp: the upper bound wins where it is below the lower one.
                    let threshold = quantile(picture, ratio).max(1.0).min(most);
                    cut(picture, threshold);
                    for number in picture {
                        *number /= threshold;
                    }
                }
            }
        }
    }
}

fn cut(numbers: &mut [f32], range: f32) {
    for number in numbers {
        *number = number.clamp(-range, range);
    }
}

/// The quantile of the magnitudes, interpolated linearly between neighbours.
fn quantile(numbers: &[f32], ratio: f32) -> f32 {
    let mut magnitudes: Vec<f32> = numbers.iter().map(|number| number.abs()).collect();
    magnitudes.sort_unstable_by(f32::total_cmp);
    let Some(last) = magnitudes.len().checked_sub(1) else {
        return 0.0;
    };
    let rank = (ratio * last as f32).min(last as f32);
    let low = magnitudes[rank as usize];
    let high = magnitudes[rank.ceil() as usize];
    low + rank.fract() * (high - low)
}
