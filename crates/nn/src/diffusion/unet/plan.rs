//! What a UNet does, one after another.

use super::config::{UnetConfig, UnetMiddle};
use crate::diffusion::transformer::{Transformer, TransformerShape};
use crate::diffusion::{
    Conv2d, ConvShape, NormShape, NormedConv, Padding, Resampler, ResnetBlock, ResnetShape,
};
use crate::error::NnError;
use crate::store::TensorStore;

/// One of the things a UNet does with its maps. Large ones are done in pieces.
#[derive(Debug)]
pub(super) enum Step {
    /// Samples become maps.
    First(Conv2d),
    /// The maps are also wanted on the way up.
    Keep,
    Block(ResnetBlock),
    /// The maps, and what was kept last, become one.
    Join(ResnetBlock),
    Transformer(Transformer),
    Down(Resampler),
    /// To the size of what was kept last.
    Up(Resampler),
    /// Maps become results.
    Last(NormedConv),
}

/// A step, by its configuration alone.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// What the names of its tensors begin with.
    name: String,
    pub(super) shape: StepShape,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum StepShape {
    First(ConvShape),
    Keep,
    Block(ResnetShape),
    Join(ResnetShape),
    Transformer(TransformerShape),
    Down(ConvShape),
    Up(ConvShape),
    Last(ConvShape),
}

impl UnetConfig {
    /// The steps, of a configuration that has been checked.
    pub(super) fn plan(&self) -> Vec<Planned> {
        let highest = self.levels[0].channels;
        let mut plan = Plan { config: self, steps: Vec::new() };
        plan.push("conv_in".to_owned(), StepShape::First(ConvShape::same(self.in_channels, highest, 3)));
        plan.keep();
        plan.down();
        plan.middle();
        plan.up();
        plan.push(String::new(), StepShape::Last(ConvShape::same(highest, self.out_channels, 3)));
        plan.steps
    }
}

struct Plan<'a> {
    config: &'a UnetConfig,
    steps: Vec<Planned>,
}

impl Plan<'_> {
    fn down(&mut self) {
        let mut channels = self.config.levels[0].channels;
        for (number, level) in self.config.levels.iter().enumerate() {
            let prefix = format!("down_blocks.{number}.");
            for block in 0..level.blocks {
                let shape = self.block(std::mem::replace(&mut channels, level.channels), channels);
                self.push(format!("{prefix}resnets.{block}."), StepShape::Block(shape));
                if let Some(layers) = level.down_layers.get(block) {
                    self.transformer(&prefix, block, channels, level.heads, *layers);
                }
                self.keep();
            }
            if number < self.config.halvings() {
                let shape = ConvShape { stride: 2, ..ConvShape::same(channels, channels, 3) };
                self.push(format!("{prefix}downsamplers.0"), StepShape::Down(shape));
                self.keep();
            }
        }
    }

    fn middle(&mut self) {
        let lowest = &self.config.levels[self.config.halvings()];
        let block = StepShape::Block(self.block(lowest.channels, lowest.channels));
        match self.config.middle {
            UnetMiddle::Absent => {}
            UnetMiddle::Block => self.push("mid_block.resnets.0.".to_owned(), block),
            UnetMiddle::Transformer { layers } => {
                self.push("mid_block.resnets.0.".to_owned(), block);
                self.transformer("mid_block.", 0, lowest.channels, lowest.heads, layers);
                self.push("mid_block.resnets.1.".to_owned(), block);
            }
        }
    }

    fn up(&mut self) {
        let levels = self.config.levels.iter().enumerate().rev();
        let mut below = self.config.levels[self.config.halvings()].channels;
        for (up, (number, level)) in levels.enumerate() {
            let prefix = format!("up_blocks.{up}.");
            let above = self.config.levels[number.saturating_sub(1)].channels;
            for block in 0..=level.blocks {
                // What entered the level on the way down is kept, too.
                let kept = if block == level.blocks { above } else { level.channels };
                let inputs = std::mem::replace(&mut below, level.channels) + kept;
                let shape = self.block(inputs, level.channels);
                self.push(format!("{prefix}resnets.{block}."), StepShape::Join(shape));
                if let Some(layers) = level.up_layers.get(block) {
                    self.transformer(&prefix, block, level.channels, level.heads, *layers);
                }
            }
            if number > 0 {
                let shape = ConvShape::same(level.channels, level.channels, 3);
                self.push(format!("{prefix}upsamplers.0"), StepShape::Up(shape));
            }
        }
    }

    fn block(&self, inputs: usize, outputs: usize) -> ResnetShape {
        ResnetShape { inputs, outputs, norm: self.config.norm(), time: Some(self.config.time_size) }
    }

    fn transformer(&mut self, prefix: &str, number: usize, channels: usize, heads: usize, layers: usize) {
        let UnetConfig { norm_groups: groups, context_size: context, .. } = *self.config;
        let shape = TransformerShape { channels, heads, layers, context, groups };
        self.push(format!("{prefix}attentions.{number}."), StepShape::Transformer(shape));
    }

    fn keep(&mut self) {
        self.push(String::new(), StepShape::Keep);
    }

    fn push(&mut self, name: String, shape: StepShape) {
        self.steps.push(Planned { name, shape });
    }
}

impl UnetConfig {
    /// Of residual blocks and at the end.
    fn norm(&self) -> NormShape {
        NormShape { groups: self.norm_groups, eps: self.norm_eps }
    }
}

impl Planned {
    pub(super) fn load(&self, config: &UnetConfig, store: &dyn TensorStore) -> Result<Step, NnError> {
        let name = &self.name;
        Ok(match self.shape {
            StepShape::First(shape) => Step::First(Conv2d::load(store, name, shape)?),
            StepShape::Keep => Step::Keep,
            StepShape::Block(shape) => Step::Block(ResnetBlock::load(store, name, shape)?),
            StepShape::Join(shape) => Step::Join(ResnetBlock::load(store, name, shape)?),
            StepShape::Transformer(shape) => Step::Transformer(Transformer::load(store, name, shape)?),
            StepShape::Down(shape) => Step::Down(Resampler::down(store, name, shape.outputs, Padding::Even)?),
            StepShape::Up(shape) => Step::Up(Resampler::up(store, name, shape.outputs)?),
            StepShape::Last(shape) => {
                Step::Last(NormedConv::load(store, ("conv_norm_out", "conv_out"), shape, config.norm())?)
            }
        })
    }
}

impl StepShape {
    /// Numbers of its weights.
    pub(super) fn parameters(self) -> u64 {
        match self {
            Self::Keep => 0,
            Self::First(shape) | Self::Down(shape) | Self::Up(shape) => shape.parameters(),
            Self::Block(shape) | Self::Join(shape) => shape.parameters(),
            Self::Transformer(shape) => shape.parameters(),
            Self::Last(shape) => 2 * shape.inputs as u64 + shape.parameters(),
        }
    }
}
