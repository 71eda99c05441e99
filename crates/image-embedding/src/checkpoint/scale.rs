//! How a model turns the cosine of a picture and a text into a score.

use candle_core::{DType, Device};
use model_source::{ModelFiles, Weights};
use nn::VisionArchitecture;

use crate::error::Error;

/// What a cosine is multiplied with and what is added, and what becomes of that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    factor: f64,
    /// SigLIP's; there each text stands for itself.
    bias: Option<f64>,
}

impl Scale {
    /// `logit_scale`, and `logit_bias` of SigLIP. `None` if there is none.
    pub(crate) fn read(files: &ModelFiles, architecture: VisionArchitecture) -> Result<Option<Self>, Error> {
        let weights = Weights::open(files)?;
        let number = |name: &str| -> Result<f64, Error> {
            let wrong = |reason: String| Error::Checkpoint { place: files.place().to_owned(), reason };
            let tensor = weights.load(name, DType::F32, &Device::Cpu)?;
            let numbers = tensor.flatten_all().and_then(|tensor| tensor.to_vec1::<f32>());
            match numbers.as_deref() {
                Ok([number]) if number.is_finite() => Ok(f64::from(*number)),
                _ => Err(wrong(format!("the tensor {name:?} is not one finite number"))),
            }
        };
        if !weights.contains("logit_scale") {
            return Ok(None);
        }
        let bias = match architecture {
            VisionArchitecture::Siglip => Some(number("logit_bias")?),
            _ => None,
        };
        Ok(Some(Self { factor: number("logit_scale")?.exp(), bias }))
    }

    /// How well each of some texts fits a picture.
    pub(crate) fn scores<'a>(
        self,
        picture: &[f32],
        texts: impl IntoIterator<Item = &'a Vec<f32>>,
    ) -> Vec<f32> {
        let logits: Vec<f64> = texts
            .into_iter()
            .map(|text| self.factor * cosine(picture, text) + self.bias.unwrap_or(0.0))
            .collect();
        if self.bias.is_some() {
            return logits.into_iter().map(|logit| (1.0 / (1.0 + (-logit).exp())) as f32).collect();
        }
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = logits.into_iter().map(|logit| (logit - largest).exp()).collect();
        let sum: f64 = shares.iter().sum();
        shares.into_iter().map(|share| (share / sum) as f32).collect()
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt()).max(1e-30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_one_and_sigmoids_stand_alone() {
        let (picture, texts) = ([1.0, 0.0], [vec![2.0, 0.0], vec![0.0, 3.0], vec![-1.0, 0.0]]);
        let scores = Scale { factor: 100.0, bias: None }.scores(&picture, &texts);
        assert_eq!(scores, [1.0, (-100.0_f64).exp() as f32, (-200.0_f64).exp() as f32]);
        let scores = Scale { factor: 2.0, bias: Some(-1.0) }.scores(&picture, &texts);
        let sigmoid = |x: f64| (1.0 / (1.0 + (-x).exp())) as f32;
        assert_eq!(scores, [sigmoid(1.0), sigmoid(-1.0), sigmoid(-3.0)]);
    }
}
