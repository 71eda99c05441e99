//! Where a model's tensors come from, under the names that Hugging Face checkpoints of the Llama family use:
//! `model.layers.0.self_attn.q_proj.weight`, `lm_head.weight`, ... Those of towers are named as CLIP, SigLIP and DINOv2 name
//! them, behind `vision_model.` or `text_model.`, those of a component of a diffusers pipeline as diffusers names them.

mod component;
mod gguf;
mod recorder;
mod safetensors;
mod tower;

use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::Tensor;
use candle_core::quantized::QTensor;

pub use self::component::ComponentStore;
pub use self::gguf::GgufStore;
pub(crate) use self::recorder::Recorder;
pub use self::safetensors::SafetensorsStore;
pub use self::tower::TowerStore;
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

    /// All numbers of a tensor of those axes, the last one's one after another, as f32.
    ///
    /// # Errors
    /// [`NnError::Weights`] if it is missing, has another shape or cannot be read, [`NnError::Unsupported`] of a store that
    /// has vectors and matrices only.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, NnError> {
        let what = format!("the tensor {name:?} of the shape {shape:?}");
        Err(NnError::unsupported(what, "this store has vectors and matrices"))
    }

    /// The first tensor, as the store calls it, that belongs to one of so many layers and is not among those that were
    /// `read`: a model that has it computes something else. A store that cannot list its tensors knows none.
    fn unread(&self, read: &BTreeSet<String>, layers: usize) -> Option<String> {
        let _ = (read, layers);
        None
    }
}

/// Ends of names of tensors that change nothing: the rotary frequencies and causal masks that older checkpoints hold.
const LEFTOVERS: [&str; 5] =
    ["rotary_emb.inv_freq", "attn_rot_embd", "rope_freqs.weight", "attn.bias", "attn.masked_bias"];

/// Whether a tensor belongs to one of so many layers, by what is behind the `layers.` of its name, and is no leftover.
fn is_of_layers(behind: &str, layers: usize) -> bool {
    let number = behind.split_once('.').and_then(|(number, _)| number.parse::<usize>().ok());
    number.is_some_and(|number| number < layers) && !LEFTOVERS.iter().any(|end| behind.ends_with(end))
}

fn missing(name: &str) -> NnError {
    NnError::Weights(format!("the weights have no tensor {name:?}, which the configuration asks for"))
}

fn other_shape(name: &str, found: &[usize], wanted: &[usize]) -> NnError {
    NnError::Weights(format!(
        "the tensor {name:?} has the shape {found:?}, the configuration asks for {wanted:?}"
    ))
}
