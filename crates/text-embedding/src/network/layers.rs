//! Linear maps and layer norms, by the names checkpoints give them.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::layer_norm;
use model_source::{SourceError, Weights};

/// Weights and how to read them.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'w> {
    pub(crate) weights: &'w Weights,
    pub(crate) dtype: DType,
    pub(crate) device: &'w Device,
}

impl Reader<'_> {
    /// A tensor of that shape.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> std::result::Result<Tensor, SourceError> {
        self.weights.check_shape(name, shape)?;
        self.weights.load(name, self.dtype, self.device)
    }

    /// A linear map from `inputs` to `outputs` components.
    pub(super) fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Linear, SourceError> {
        let weight = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.tensor(&format!("{name}.bias"), &[outputs])?;
        Ok(Linear { weight, bias: Some(bias) })
    }

    /// A layer norm; old checkpoints call its weights gamma and beta.
    pub(super) fn layer_norm(
        &self,
        name: &str,
        size: usize,
        eps: f32,
    ) -> std::result::Result<LayerNorm, SourceError> {
        let either = |new: &str, old: &str| {
            let (new, old) = (format!("{name}.{new}"), format!("{name}.{old}"));
            let known = if !self.weights.contains(&new) && self.weights.contains(&old) { old } else { new };
            self.tensor(&known, &[size])
        };
        Ok(LayerNorm { weight: either("weight", "gamma")?, bias: either("bias", "beta")?, eps })
    }
}

/// `x W' + b`.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    pub(super) weight: Tensor,
    pub(super) bias: Option<Tensor>,
}

impl Linear {
    /// Of rows of inputs.
    pub(super) fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let product = xs.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }

    /// Several maps of the same input as one.
    pub(super) fn stack(maps: &[Self]) -> Result<Self> {
        let weights: Vec<&Tensor> = maps.iter().map(|map| &map.weight).collect();
        let biases: Vec<&Tensor> = maps.iter().filter_map(|map| map.bias.as_ref()).collect();
        Ok(Self { weight: Tensor::cat(&weights, 0)?, bias: Some(Tensor::cat(&biases, 0)?) })
    }
}

#[derive(Clone, Debug)]
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    pub(super) fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        layer_norm(xs, &self.weight, &self.bias, self.eps)
    }
}
