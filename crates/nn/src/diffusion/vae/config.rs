//! `config.json` of an `AutoencoderKL` as diffusers reads it. What is absent has the default of the class.

use serde_json::Value;

use crate::encoder::{MOST_LAYERS, MOST_NUMBERS, check_size};
use crate::error::NnError;
use crate::fields::Fields;

/// Everything that the mathematics of an autoencoder depends on, besides its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Colour channels of what is encoded.
    pub in_channels: usize,
    /// Colour channels of what is decoded.
    pub out_channels: usize,
    /// Channels of latents.
    pub latent_channels: usize,
    /// Channels of each block; between two of them height and width are halved.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each of these when encoding, one less than when decoding.
    pub layers_per_block: usize,
    /// Groups of channels that are normed together.
    pub norm_num_groups: usize,
    /// Whether there is attention in the middle.
    pub mid_block_add_attention: bool,
    /// Whether there is a convolution behind the encoder.
    pub use_quant_conv: bool,
    /// Whether there is a convolution before the decoder.
    pub use_post_quant_conv: bool,
    /// What latents are multiplied by before a UNet sees them.
    pub scaling_factor: f32,
    /// What is taken from latents before that.
    pub shift_factor: f32,
    /// Edge of a tile in pixels, where pictures are taken in tiles.
    pub sample_size: usize,
}

/// Blocks an autoencoder may have: the edges of a latent's pixels stay countable.
const MOST_BLOCKS: usize = 16;

impl VaeConfig {
    /// Reads the content of the `config.json` of an autoencoder.
    ///
    /// `force_upcast` asks for f32, which is what everything is computed in, whatever it says.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] for another class and for any field that is not known here, [`NnError::InvalidConfig`] for
    /// fields that are no configuration.
    pub fn from_diffusers(config: &Value) -> Result<Self, NnError> {
        let fields = Fields::new(config)?;
        match fields.text("_class_name")? {
            None | Some("AutoencoderKL") => {}
            Some(other) => {
                return Err(NnError::unsupported(format!("_class_name {other:?}"), "AutoencoderKL is"));
            }
        }
        for name in ["_diffusers_version", "_name_or_path", "force_upcast"] {
            fields.skip(name);
        }
        let block_out_channels = fields.sizes("block_out_channels")?.unwrap_or_else(|| vec![64]);
        check_blocks(&fields, "down_block_types", "DownEncoderBlock2D", block_out_channels.len())?;
        check_blocks(&fields, "up_block_types", "UpDecoderBlock2D", block_out_channels.len())?;
        match fields.text("act_fn")? {
            None | Some("silu" | "swish") => {}
            Some(other) => return Err(NnError::unsupported(format!("act_fn {other:?}"), "silu is")),
        }
        for name in ["latents_mean", "latents_std"] {
            if fields.numbers(name)?.is_some() {
                return Err(NnError::unsupported(name, "scaling_factor and shift_factor are"));
            }
        }
        let read = Self {
            in_channels: fields.size("in_channels", 3)?,
            out_channels: fields.size("out_channels", 3)?,
            latent_channels: fields.size("latent_channels", 4)?,
            block_out_channels,
            layers_per_block: fields.size("layers_per_block", 1)?,
            norm_num_groups: fields.size("norm_num_groups", 32)?,
            mid_block_add_attention: fields.flag("mid_block_add_attention", true)?,
            use_quant_conv: fields.flag("use_quant_conv", true)?,
            use_post_quant_conv: fields.flag("use_post_quant_conv", true)?,
            scaling_factor: fields.number("scaling_factor", 0.18215)?,
            shift_factor: fields.number("shift_factor", 0.0)?,
            sample_size: sample_size(&fields)?,
        };
        fields.refuse_quantization()?;
        fields.refuse_all_unread()?;
        read.check()?;
        Ok(read)
    }

    /// Pixels along the edge of a latent.
    #[must_use]
    pub fn factor(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1)
    }

    /// The autoencoder's latents as a UNet sees them.
    pub fn scale(&self, latents: &mut [f32]) {
        latents.iter_mut().for_each(|latent| *latent = (*latent - self.shift_factor) * self.scaling_factor);
    }

    /// A UNet's latents as the autoencoder has them.
    pub fn unscale(&self, latents: &mut [f32]) {
        latents.iter_mut().for_each(|latent| *latent = *latent / self.scaling_factor + self.shift_factor);
    }

    /// Checks that sizes are there and agree.
    pub(super) fn check(&self) -> Result<(), NnError> {
        check_size("number of blocks (block_out_channels)", self.block_out_channels.len(), MOST_BLOCKS)?;
        check_size("layers_per_block", self.layers_per_block, MOST_LAYERS)?;
        check_size("norm_num_groups", self.norm_num_groups, MOST_NUMBERS)?;
        check_size("sample_size", self.sample_size, MOST_NUMBERS)?;
        let channels = [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("latent_channels", self.latent_channels),
        ];
        channels.into_iter().try_for_each(|(name, channels)| check_size(name, channels, MOST_CHANNELS))?;
        for channels in &self.block_out_channels {
            check_size("number of channels in block_out_channels", *channels, MOST_CHANNELS)?;
            if !channels.is_multiple_of(self.norm_num_groups) {
                return Err(NnError::InvalidConfig(format!(
                    "{channels} channels (block_out_channels) are not a multiple of norm_num_groups {}",
                    self.norm_num_groups
                )));
            }
        }
        match self.scaling_factor.is_finite() && self.scaling_factor != 0.0 && self.shift_factor.is_finite() {
            true => Ok(()),
            false => Err(NnError::InvalidConfig(format!(
                "the scaling_factor {} and the shift_factor {} must be numbers, the first not 0",
                self.scaling_factor, self.shift_factor
            ))),
        }
    }
}

/// Channels of a map: far beyond any, and numbers of weights stay countable.
const MOST_CHANNELS: usize = 1 << 16;

/// There is one kind of block, and one for each entry of `block_out_channels`.
fn check_blocks(fields: &Fields<'_>, name: &str, kind: &str, blocks: usize) -> Result<(), NnError> {
    let types = fields.texts(name)?.unwrap_or_else(|| vec![kind]);
    if let Some(other) = types.iter().find(|found| **found != kind) {
        return Err(NnError::unsupported(format!("{name} with {other:?}"), format!("{kind} is")));
    }
    match types.len() == blocks {
        true => Ok(()),
        false => Err(NnError::InvalidConfig(format!(
            "{name} has {} entries, block_out_channels has {blocks}",
            types.len()
        ))),
    }
}

fn sample_size(fields: &Fields<'_>) -> Result<usize, NnError> {
    match fields.pair("sample_size")? {
        None => Ok(32),
        Some((height, width)) if height == width => Ok(height),
        Some((height, width)) => Err(NnError::unsupported(
            format!("sample_size [{height}, {width}]"),
            "one number is, or two that are equal",
        )),
    }
}
