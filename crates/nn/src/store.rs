//! Where a model's tensors come from, under the names that Hugging Face checkpoints of the Llama family use:
//! `model.layers.0.self_attn.q_proj.weight`, `lm_head.weight`, ...

mod gguf;
mod safetensors;

use std::sync::Arc;

use candle_core::Tensor;
use candle_core::quantized::QTensor;

pub use self::gguf::GgufStore;
pub use self::safetensors::SafetensorsStore;
use crate::error::NnError;

/// A weight matrix as it is stored.
#[derive(Clone, Debug)]
pub enum StoredMatrix {
    /// f32 on the CPU, whatever the file has.
    Dense(Tensor),
    /// Blocks of small integers with their scales.
    Quantised(Arc<QTensor>),
}

impl StoredMatrix {
    pub(crate) fn dims(&self) -> Result<(usize, usize), NnError> {
        match self {
            Self::Dense(tensor) => Ok(tensor.dims2()?),
            Self::Quantised(tensor) => Ok(tensor.shape().dims2()?),
        }
    }
}

/// A model's tensors, by name.
pub trait TensorStore {
    /// Whether there is a tensor of that name.
    fn contains(&self, name: &str) -> bool;

    /// A small tensor (a norm's weight, a bias) of one axis of that length, as f32.
    ///
    /// # Errors
    /// [`NnError::Weights`] if it is missing, has another shape or cannot be read.
    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, NnError>;

    /// A matrix of that many rows and columns.
    ///
    /// # Errors
    /// [`NnError::Weights`] if it is missing, has another shape or cannot be read.
    fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<StoredMatrix, NnError>;
}

fn missing(name: &str) -> NnError {
    NnError::Weights(format!("the weights have no tensor {name:?}, which the configuration asks for"))
}

fn other_shape(name: &str, found: &[usize], wanted: &[usize]) -> NnError {
    NnError::Weights(format!(
        "the tensor {name:?} has the shape {found:?}, the configuration asks for {wanted:?}"
    ))
}
