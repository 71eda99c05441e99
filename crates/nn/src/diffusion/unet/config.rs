//! What a UNet computes.

use crate::diffusion::time::TimeEmbedding;
use crate::encoder::{MOST_NUMBERS, above_zero, check_size};
use crate::error::NnError;

/// The mathematics of a UNet. [`from_diffusers`](Self::from_diffusers) reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct UnetConfig {
    /// Channels of a sample: those of the latents, and for inpainting a mask and the latents of what stays.
    pub in_channels: usize,
    /// Channels of a result.
    pub out_channels: usize,
    /// Height and width of the samples it was trained with, where the configuration says them.
    pub sample_size: Option<(usize, usize)>,
    /// Numbers of each token of a context.
    pub context_size: usize,
    /// From the full resolution down, each of half the sides of the one before.
    pub levels: Vec<UnetLevel>,
    /// What is between the way down and the way up.
    pub middle: UnetMiddle,
    /// Groups of the group norms.
    pub norm_groups: usize,
    /// What keeps a norm from dividing by zero, in residual blocks and at the end.
    pub norm_eps: f32,
    /// Whether a transformer's first and last map are stored as matrices; else as convolutions of one pixel. They compute
    /// the same.
    pub linear_projection: bool,
    /// Whether a sample is doubled and lowered by one first.
    pub center_input: bool,
    /// How numbers become waves.
    pub waves: Waves,
    /// Numbers of the embedding that timesteps become.
    pub time_size: usize,
    /// Numbers of an embedded guidance scale, for a UNet that was distilled to take it.
    pub guidance_size: Option<usize>,
    /// Conditions beside the context, if it takes any.
    pub added: Option<AddedConfig>,
}

/// One level of a UNet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnetLevel {
    /// Channels of its maps.
    pub channels: usize,
    /// Residual blocks on the way down; on the way up there is one more.
    pub blocks: usize,
    /// Attention heads of its transformers.
    pub heads: usize,
    /// Layers of the transformer behind each residual block on the way down; empty where there are none.
    pub down_layers: Vec<usize>,
    /// The same on the way up.
    pub up_layers: Vec<usize>,
}

/// What is between the way down and the way up of a UNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnetMiddle {
    /// Nothing.
    Absent,
    /// A residual block.
    Block,
    /// A transformer of so many layers between two residual blocks.
    Transformer {
        /// Its layers.
        layers: usize,
    },
}

/// How a number becomes sines and cosines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waves {
    /// Whether the cosines are before the sines.
    pub cosines_first: bool,
    /// How many fewer steps than waves there are from the shortest wave to ten thousand times that.
    pub shift: f32,
}

/// Conditions beside the context: a vector for the whole text, and numbers that become waves (sizes, in SDXL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedConfig {
    /// Waves that each of the numbers becomes.
    pub wave_size: usize,
    /// Numbers of the vector and of all waves together.
    pub size: usize,
}

/// Far beyond any.
pub(super) const MOST_LEVELS: usize = 16;
pub(super) const MOST_BLOCKS: usize = 64;
pub(super) const MOST_LAYERS: usize = 256;

impl UnetConfig {
    /// How many times a side is halved on the way down, at most.
    #[must_use]
    pub fn halvings(&self) -> usize {
        self.levels.len().saturating_sub(1)
    }

    /// Numbers of the weights. None of a configuration without levels, which cannot be loaded.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        if self.levels.is_empty() {
            return 0;
        }
        let steps = self.plan().into_iter().map(|step| step.shape.parameters());
        steps.sum::<u64>() + TimeEmbedding::parameters(self)
    }

    pub(super) fn check(&self) -> Result<(), NnError> {
        check_size("number of blocks of a UNet", self.levels.len(), MOST_LEVELS)?;
        check_size("in_channels", self.in_channels, MOST_NUMBERS)?;
        check_size("out_channels", self.out_channels, MOST_NUMBERS)?;
        check_size("cross_attention_dim", self.context_size, MOST_NUMBERS)?;
        check_size("time_embedding_dim", self.time_size, MOST_NUMBERS)?;
        check_size("norm_num_groups", self.norm_groups, MOST_NUMBERS)?;
        above_zero("norm_eps", self.norm_eps)?;
        if let Some(size) = self.guidance_size {
            check_size("time_cond_proj_dim", size, MOST_NUMBERS)?;
            if size < 4 {
                return Err(NnError::InvalidConfig(format!(
                    "time_cond_proj_dim is {size}, it must be at least 4: waves are between two of them"
                )));
            }
        }
        for (number, level) in self.levels.iter().enumerate() {
            check_size("layers_per_block", level.blocks, MOST_BLOCKS)?;
            check_size("block_out_channels", level.channels, MOST_NUMBERS)?;
            check_size("attention_head_dim, the number of heads,", level.heads, MOST_NUMBERS)?;
            level.check_layers()?;
            if !level.channels.is_multiple_of(self.norm_groups) {
                return Err(NnError::InvalidConfig(format!(
                    "block_out_channels {} is not a multiple of norm_num_groups {}",
                    level.channels, self.norm_groups
                )));
            }
            let last = number + 1 == self.levels.len();
            let middle = last && matches!(self.middle, UnetMiddle::Transformer { .. });
            let attends = middle || !level.down_layers.is_empty() || !level.up_layers.is_empty();
            if attends && !level.channels.is_multiple_of(level.heads) {
                return Err(NnError::InvalidConfig(format!(
                    "block_out_channels {} is not a multiple of attention_head_dim {}, which counts the heads",
                    level.channels, level.heads
                )));
            }
        }
        if let UnetMiddle::Transformer { layers } = self.middle {
            at_most("transformer_layers_per_block", layers, MOST_LAYERS)?;
        }
        self.waves.check("block_out_channels", self.levels[0].channels)?;
        match self.added {
            Some(added) => added.check(self.waves),
            None => Ok(()),
        }
    }
}

impl UnetLevel {
    /// As many transformers as there are residual blocks, or none.
    fn check_layers(&self) -> Result<(), NnError> {
        for (way, layers, blocks) in
            [("down", &self.down_layers, self.blocks), ("up", &self.up_layers, self.blocks + 1)]
        {
            if !layers.is_empty() && layers.len() != blocks {
                return Err(NnError::InvalidConfig(format!(
                    "{} transformers and {blocks} residual blocks of a level on the way {way}",
                    layers.len()
                )));
            }
            if let Some(most) = layers.iter().max() {
                at_most("transformer_layers_per_block", *most, MOST_LAYERS)?;
            }
        }
        Ok(())
    }
}

/// Refuses a count that cannot be meant; none may be.
pub(super) fn at_most(name: &str, count: usize, most: usize) -> Result<(), NnError> {
    match count <= most {
        true => Ok(()),
        false => Err(NnError::InvalidConfig(format!("{name} is {count}, it must be at most {most}"))),
    }
}

impl Waves {
    fn check(self, name: &str, size: usize) -> Result<(), NnError> {
        check_size(name, size, MOST_NUMBERS)?;
        match size / 2 {
            0 => Err(NnError::InvalidConfig(format!("{name} is {size}, there is no wave of one number"))),
            half if half as f32 == self.shift => Err(NnError::InvalidConfig(format!(
                "freq_shift {} leaves no step between the {half} waves of {name} {size}",
                self.shift
            ))),
            _ => Ok(()),
        }
    }
}

impl AddedConfig {
    fn check(self, waves: Waves) -> Result<(), NnError> {
        waves.check("addition_time_embed_dim", self.wave_size)?;
        check_size("projection_class_embeddings_input_dim", self.size, MOST_NUMBERS)
    }
}
