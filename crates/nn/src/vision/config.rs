//! What a vision tower computes.

use crate::encoder::{
    EncoderConfig, MOST_LAYERS, MOST_NUMBERS, Names, TowerActivation, above_zero, check_size,
};
use crate::error::NnError;

/// Everything that the mathematics of a vision tower depends on, besides its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Whose conventions it was read by.
    pub architecture: VisionArchitecture,
    /// Numbers in a hidden state.
    pub hidden_size: usize,
    /// Numbers between the two halves of a feed-forward layer.
    pub intermediate_size: usize,
    /// Layers there are; how many are computed depends on what is wanted.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Edge of the square pictures that there are positions for, in pixels.
    pub image_size: usize,
    /// Edge of a patch, in pixels.
    pub patch_size: usize,
    /// Colour channels.
    pub channels: usize,
    /// What is between the halves of a feed-forward layer; of no effect where it is gated.
    pub activation: TowerActivation,
    /// What is added to the variance in a norm.
    pub norm_eps: f32,
    /// Whether query, key and value have a bias.
    pub query_key_value_bias: bool,
    /// Whether the feed-forward halves are gated (SwiGLU).
    pub gated: bool,
    /// Tokens between the class token and the patches that belong to nothing.
    pub registers: usize,
    /// Whether SigLIP's tower has its attention-pooling head; without it there is no vector of the picture.
    pub pooling_head: bool,
    /// Numbers of the vector of the picture where it is projected (`visual_projection`).
    pub projection: Option<usize>,
}

/// The vision towers that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisionArchitecture {
    /// CLIP: a class token, a norm before the first layer.
    Clip,
    /// SigLIP: patches only, pooled by attention.
    Siglip,
    /// DINOv2: a class token, scaled layers, positions for pictures of any size.
    Dinov2,
    /// DINOv2 with register tokens.
    Dinov2WithRegisters,
}

/// Tokens of a picture, at most: a side of a picture, and what attention takes, stay countable.
const MOST_TOKENS: usize = 1 << 20;

impl VisionArchitecture {
    pub(crate) fn is_dinov2(self) -> bool {
        matches!(self, Self::Dinov2 | Self::Dinov2WithRegisters)
    }

    /// Whether a row before the patches stands for the whole picture.
    #[must_use]
    pub fn has_class_token(self) -> bool {
        self != Self::Siglip
    }
}

impl VisionConfig {
    /// Tokens before the patches: the class token and the registers.
    #[must_use]
    pub fn leading_tokens(&self) -> usize {
        usize::from(self.architecture.has_class_token()) + self.registers
    }

    /// Rows and columns of patches of a picture of so many pixels; what is left over at the edges is not seen.
    ///
    /// # Errors
    /// [`NnError::InvalidCall`] for a picture smaller than a patch or too large, and, where positions are not interpolated
    /// (CLIP and SigLIP), for one of another size than the tower's own.
    pub fn patches(&self, height: usize, width: usize) -> Result<(usize, usize), NnError> {
        let own = self.image_size;
        if !self.architecture.is_dinov2() && (height, width) != (own, own) {
            return Err(NnError::InvalidCall(format!(
                "a picture of {width}x{height} pixels does not fit the tower, which sees {own}x{own}: resize it first"
            )));
        }
        let (rows, columns) = (height / self.patch_size, width / self.patch_size);
        match rows.saturating_mul(columns) {
            0 => Err(NnError::InvalidCall(format!(
                "a picture of {width}x{height} pixels is smaller than a patch of {0}x{0}: make it larger",
                self.patch_size
            ))),
            patches if patches > MOST_TOKENS => Err(NnError::InvalidCall(format!(
                "a picture of {width}x{height} pixels has {patches} patches, at most {MOST_TOKENS} are taken: make it smaller"
            ))),
            _ => Ok((rows, columns)),
        }
    }

    /// Rows of a picture's hidden states.
    ///
    /// # Errors
    /// Like [`patches`](Self::patches).
    pub fn tokens(&self, height: usize, width: usize) -> Result<usize, NnError> {
        let (rows, columns) = self.patches(height, width)?;
        Ok(rows * columns + self.leading_tokens())
    }

    /// Numbers of the vector of a picture.
    #[must_use]
    pub fn embedding_size(&self) -> usize {
        self.projection.unwrap_or(self.hidden_size)
    }

    /// Behind how many layers the hidden state is that transformers has at this place of `hidden_states`, counted from the
    /// end where it is negative: -1 is behind the last layer.
    ///
    /// # Errors
    /// [`NnError::InvalidConfig`] if there is no such place.
    pub fn hidden_layer(&self, place: i64) -> Result<usize, NnError> {
        let states = self.layers as i64 + 1;
        let layer = if place < 0 { place.saturating_add(states) } else { place };
        match (0..states).contains(&layer) {
            true => Ok(layer as usize),
            false => Err(NnError::InvalidConfig(format!(
                "there is no hidden state {place}: a tower of {} layers has those from -{states} to {}",
                self.layers, self.layers
            ))),
        }
    }

    /// How many numbers the weights are that so many layers need, and everything around them. In f32 they take four bytes each.
    #[must_use]
    pub fn parameters(&self, layers: usize) -> u64 {
        let width = self.hidden_size as u64;
        let layer = self.encoder().layer_parameters();
        let patches = (self.patch_inputs() as u64 + 1) * width;
        let positions = (self.trained_patches() + 1 + self.leading_tokens()) as u64 * width;
        let head = if self.pooling_head { layer } else { 0 };
        let projection = self.projection.unwrap_or(0) as u64 * width;
        layers as u64 * layer + patches + positions + head + projection + 4 * width
    }

    /// Bytes that pictures of so many tokens take on their way, besides weights; `hidden` hidden states are kept of them.
    #[must_use]
    pub fn activation_bytes(&self, tokens: usize, hidden: usize) -> u64 {
        // The rows, normed, as queries, keys and values, seen and as the change of a half; what is between the halves of
        // feed-forward, twice where it is gated; the pixels.
        let rows = (7 + hidden) * self.hidden_size + 2 * self.intermediate_size + self.patch_inputs();
        (tokens as u64).saturating_mul(4 * rows as u64)
    }

    /// Patches that there are trained positions for.
    pub(super) fn trained_patches(&self) -> usize {
        let side = self.image_size / self.patch_size.max(1);
        side * side
    }

    /// Numbers of a patch.
    pub(super) fn patch_inputs(&self) -> usize {
        self.channels * self.patch_size * self.patch_size
    }

    pub(super) fn encoder(&self) -> EncoderConfig {
        EncoderConfig {
            width: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.heads,
            activation: self.activation,
            norm_eps: self.norm_eps,
            query_key_value_bias: self.query_key_value_bias,
            causal: false,
            names: match self.architecture.is_dinov2() {
                true => Names::Dinov2 { gated: self.gated },
                false => Names::Clip,
            },
        }
    }

    /// Checks that sizes are there and agree.
    pub(crate) fn check(&self) -> Result<(), NnError> {
        self.encoder().check()?;
        above_zero("layer_norm_eps", self.norm_eps)?;
        check_size("number of layers", self.layers, MOST_LAYERS)?;
        check_size("patch_size", self.patch_size, 1 << 10)?;
        check_size("image_size", self.image_size, 1 << 16)?;
        check_size("number of channels", self.channels, 1 << 8)?;
        if let Some(projection) = self.projection {
            check_size("projection_dim", projection, MOST_NUMBERS)?;
        }
        if self.registers > MOST_TOKENS {
            let reason =
                format!("num_register_tokens is {}, it must be at most {MOST_TOKENS}", self.registers);
            return Err(NnError::InvalidConfig(reason));
        }
        match self.trained_patches() {
            0 => Err(NnError::InvalidConfig(format!(
                "image_size {} is smaller than patch_size {}",
                self.image_size, self.patch_size
            ))),
            patches if patches > MOST_TOKENS => Err(NnError::InvalidConfig(format!(
                "image_size {} has {patches} patches of {}, at most {MOST_TOKENS} are taken",
                self.image_size, self.patch_size
            ))),
            _ => Ok(()),
        }
    }
}
