//! What a stack of layers computes and what is wanted of it.

use crate::error::NnError;

use super::activation::TowerActivation;

/// What is wanted of a tower. It is loaded for this: weights behind the last layer that is wanted are never read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TowerOutputs {
    /// Hidden states, in the order in which they are handed out.
    pub hidden: Vec<HiddenState>,
    /// The vector of the whole picture or text.
    pub embedding: bool,
}

/// The rows of all tokens behind a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HiddenState {
    /// Behind how many layers: 0 is what enters the first (`hidden_states[layer]` of transformers).
    pub layer: usize,
    /// Whether they pass the norm that stands behind the last layer.
    pub normed: bool,
}

impl TowerOutputs {
    /// The vector of the whole picture or text, and nothing else.
    #[must_use]
    pub fn embedding() -> Self {
        Self { hidden: Vec::new(), embedding: true }
    }

    /// Rows behind some layers, not normed.
    #[must_use]
    pub fn hidden(layers: impl IntoIterator<Item = usize>) -> Self {
        let hidden = layers.into_iter().map(|layer| HiddenState { layer, normed: false }).collect();
        Self { hidden, embedding: false }
    }

    /// How many of so many layers have to be computed.
    pub(crate) fn layers_of(&self, layers: usize) -> Result<usize, NnError> {
        let last = self.hidden.iter().map(|hidden| hidden.layer).max();
        match last {
            Some(last) if last > layers => Err(NnError::InvalidConfig(format!(
                "the hidden state behind layer {last} is wanted, the tower has {layers} layers"
            ))),
            None if !self.embedding => {
                Err(NnError::InvalidConfig("nothing is wanted of the tower: name a hidden state".to_owned()))
            }
            last => Ok(if self.embedding { layers } else { last.unwrap_or(layers) }),
        }
    }

    /// Whether anything is wanted that passes the last norm.
    pub(crate) fn needs_norm(&self) -> bool {
        self.embedding || self.hidden.iter().any(|hidden| hidden.normed)
    }
}

/// The mathematics of a stack of layers.
#[derive(Clone, Debug)]
pub(crate) struct EncoderConfig {
    pub(crate) width: usize,
    pub(crate) intermediate: usize,
    pub(crate) heads: usize,
    pub(crate) activation: TowerActivation,
    pub(crate) norm_eps: f32,
    /// Whether query, key and value have a bias; all other maps do.
    pub(crate) query_key_value_bias: bool,
    /// Whether a position sees those behind it.
    pub(crate) causal: bool,
    pub(crate) names: Names,
}

/// How the tensors of a layer are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// CLIP and SigLIP.
    Clip,
    /// DINOv2, with the scales behind each half.
    Dinov2 {
        /// Whether the feed-forward half is gated.
        gated: bool,
    },
}

/// Layers a tower may have, numbers of a row, positions: far beyond any, and products of these stay below what an address
/// can count.
pub(crate) const MOST_LAYERS: usize = 4096;
pub(crate) const MOST_NUMBERS: usize = 1 << 24;

/// Refuses a size that is not there or cannot be meant.
pub(crate) fn check_size(name: &str, size: usize, most: usize) -> Result<(), NnError> {
    match size {
        0 => Err(NnError::InvalidConfig(format!("the {name} is 0, it must be at least 1"))),
        size if size > most => {
            Err(NnError::InvalidConfig(format!("the {name} is {size}, it must be at most {most}")))
        }
        _ => Ok(()),
    }
}

/// Refuses what is no number above 0.
pub(crate) fn above_zero(name: &str, number: f32) -> Result<(), NnError> {
    match number.is_finite() && number > 0.0 {
        true => Ok(()),
        false => Err(NnError::InvalidConfig(format!("the {name} is {number}, it must be a number above 0"))),
    }
}

impl EncoderConfig {
    pub(crate) fn head_dim(&self) -> usize {
        self.width / self.heads
    }

    /// Numbers of a layer's weights.
    pub(crate) fn layer_parameters(&self) -> u64 {
        let (width, intermediate) = (self.width as u64, self.intermediate as u64);
        let maps = match self.names {
            Names::Dinov2 { gated: true } => 3,
            _ => 2,
        };
        4 * width * (width + 1) + maps * (width + 1) * intermediate + 6 * width
    }

    pub(crate) fn check(&self) -> Result<(), NnError> {
        check_size("hidden size", self.width, MOST_NUMBERS)?;
        check_size("intermediate size", self.intermediate, MOST_NUMBERS)?;
        check_size("number of attention heads", self.heads, self.width)?;
        above_zero("layer_norm_eps", self.norm_eps)?;
        match self.width.is_multiple_of(self.heads) {
            true => Ok(()),
            false => Err(NnError::InvalidConfig(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                self.width, self.heads
            ))),
        }
    }
}
