//! What a text tower computes.

use crate::encoder::{EncoderConfig, MOST_LAYERS, MOST_NUMBERS, Names, TowerActivation, check_size};
use crate::error::NnError;

/// Everything that the mathematics of a text tower depends on, besides its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct TextTowerConfig {
    /// Whose conventions it was read by.
    pub architecture: TextArchitecture,
    /// Tokens there are embeddings for.
    pub vocab_size: usize,
    /// Numbers in a hidden state.
    pub hidden_size: usize,
    /// Numbers between the two halves of a feed-forward layer.
    pub intermediate_size: usize,
    /// Layers there are; how many are computed depends on what is wanted.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Positions there are: tokens of a text, at most.
    pub positions: usize,
    /// What is between the halves of a feed-forward layer.
    pub activation: TowerActivation,
    /// What is added to the variance in a norm.
    pub norm_eps: f32,
    /// Which row stands for the text.
    pub pooling: TextPooling,
    /// Numbers of the vector of the text where it is projected (`text_projection`, or SigLIP's `head`).
    pub projection: Option<usize>,
}

/// The text towers that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextArchitecture {
    /// CLIP: a token sees those before it.
    Clip,
    /// SigLIP: a token sees all of them, padding included.
    Siglip,
}

/// Which row of a text stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPooling {
    /// That of the largest token id, the first of them: how CLIP found the end of a text at first, and how checkpoints whose
    /// `eos_token_id` is 2 are still read.
    LargestToken,
    /// That of the first token of this id.
    FirstOf(u32),
    /// The last one.
    Last,
}

impl TextTowerConfig {
    /// Numbers of the vector of a text.
    #[must_use]
    pub fn embedding_size(&self) -> usize {
        self.projection.unwrap_or(self.hidden_size)
    }

    /// How many numbers the weights are that so many layers need, and everything around them. In f32 they take four bytes each.
    #[must_use]
    pub fn parameters(&self, layers: usize) -> u64 {
        let width = self.hidden_size as u64;
        let tables = (self.vocab_size + self.positions) as u64 * width;
        let projection = self.projection.unwrap_or(0) as u64 * (width + 1);
        layers as u64 * self.encoder().layer_parameters() + tables + projection + 2 * width
    }

    /// Bytes that texts of so many tokens take on their way, besides weights; `hidden` hidden states are kept of them.
    #[must_use]
    pub fn activation_bytes(&self, tokens: usize, hidden: usize) -> u64 {
        (tokens as u64)
            .saturating_mul(4 * ((7 + hidden) * self.hidden_size + 2 * self.intermediate_size) as u64)
    }

    pub(super) fn encoder(&self) -> EncoderConfig {
        EncoderConfig {
            width: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.heads,
            activation: self.activation,
            norm_eps: self.norm_eps,
            query_key_value_bias: true,
            causal: self.architecture == TextArchitecture::Clip,
            names: Names::Clip,
        }
    }

    /// Checks that sizes are there and agree.
    pub(crate) fn check(&self) -> Result<(), NnError> {
        self.encoder().check()?;
        check_size("vocabulary size", self.vocab_size, MOST_NUMBERS)?;
        check_size("number of layers", self.layers, MOST_LAYERS)?;
        check_size("number of positions", self.positions, 1 << 20)?;
        match self.projection {
            Some(projection) => check_size("size of the projection", projection, MOST_NUMBERS),
            None => Ok(()),
        }
    }
}
