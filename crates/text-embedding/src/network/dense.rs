//! A fully connected layer behind the pooling, as sentence-transformers' `Dense`.

use candle_core::{Result, Tensor};
use model_source::SourceError;

use super::activation::Activation;
use super::layers::{Linear, Reader};

/// The layer's sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DenseConfig {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) bias: bool,
    pub(crate) activation: Activation,
}

/// The layer.
#[derive(Debug)]
pub(crate) struct Dense {
    linear: Linear,
    activation: Activation,
}

impl Dense {
    pub(crate) fn load(reader: &Reader<'_>, config: &DenseConfig) -> std::result::Result<Self, SourceError> {
        let weight = reader.tensor("linear.weight", &[config.outputs, config.inputs])?;
        let bias = config.bias.then(|| reader.tensor("linear.bias", &[config.outputs])).transpose()?;
        Ok(Self { linear: Linear { weight, bias }, activation: config.activation })
    }

    /// Of one vector.
    pub(crate) fn forward(&self, vector: Vec<f32>) -> Result<Vec<f32>> {
        let length = vector.len();
        let weight = &self.linear.weight;
        let row = Tensor::from_vec(vector, (1, length), weight.device())?.to_dtype(weight.dtype())?;
        let row = self.activation.apply(self.linear.forward(&row)?)?;
        row.to_dtype(candle_core::DType::F32)?.squeeze(0)?.to_vec1()
    }
}
