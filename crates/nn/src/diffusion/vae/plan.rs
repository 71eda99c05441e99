//! Which layers an autoencoder has, by its configuration alone: what is loaded, how many weights there are and what a pass
//! takes all follow from this list.

use super::config::VaeConfig;
use crate::diffusion::conv::{ConvShape, Padding};
use crate::diffusion::resnet::{NormShape, ResnetShape};

/// A layer, and what its tensors' names begin with.
#[derive(Clone, Debug)]
pub(super) struct PlannedLayer {
    pub(super) name: String,
    pub(super) shape: LayerShape,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum LayerShape {
    Conv(ConvShape),
    Resnet(ResnetShape),
    /// Of so many channels.
    Attention(usize, NormShape),
    /// Height and width doubled.
    Up(usize),
    /// A norm, SiLU and a convolution.
    Out(ConvShape, NormShape),
}

/// Names of the tensors of attention, and those in older checkpoints.
pub(super) const ATTENTION: [(&str, &str); 4] =
    [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")];

/// What is added to the variance in every norm.
const EPS: f32 = 1e-6;

impl VaeConfig {
    /// From pixels to the moments of latents.
    pub(super) fn encoder_layers(&self) -> Vec<PlannedLayer> {
        let mut layers = Vec::new();
        let first = self.block_out_channels[0];
        conv(&mut layers, "encoder.conv_in", ConvShape::same(self.in_channels, first, 3));
        let mut channels = first;
        for (number, outputs) in self.block_out_channels.iter().copied().enumerate() {
            let block = format!("encoder.down_blocks.{number}");
            for layer in 0..self.layers_per_block {
                layers.push(self.resnet(format!("{block}.resnets.{layer}"), channels, outputs));
                channels = outputs;
            }
            if number + 1 < self.block_out_channels.len() {
                let same = ConvShape::same(channels, channels, 3);
                let halves = ConvShape { stride: 2, padding: Padding::After, ..same };
                conv(&mut layers, &format!("{block}.downsamplers.0.conv"), halves);
            }
        }
        self.middle(&mut layers, "encoder.mid_block", channels);
        let moments = 2 * self.latent_channels;
        layers.push(self.out("encoder", ConvShape::same(channels, moments, 3)));
        if self.use_quant_conv {
            conv(&mut layers, "quant_conv", ConvShape::same(moments, moments, 1));
        }
        layers
    }

    /// From latents to pixels.
    pub(super) fn decoder_layers(&self) -> Vec<PlannedLayer> {
        let mut layers = Vec::new();
        let latents = self.latent_channels;
        if self.use_post_quant_conv {
            conv(&mut layers, "post_quant_conv", ConvShape::same(latents, latents, 1));
        }
        let blocks = self.block_out_channels.len();
        let mut channels = self.block_out_channels[blocks - 1];
        conv(&mut layers, "decoder.conv_in", ConvShape::same(latents, channels, 3));
        self.middle(&mut layers, "decoder.mid_block", channels);
        for (number, outputs) in self.block_out_channels.iter().rev().copied().enumerate() {
            let block = format!("decoder.up_blocks.{number}");
            for layer in 0..=self.layers_per_block {
                layers.push(self.resnet(format!("{block}.resnets.{layer}"), channels, outputs));
                channels = outputs;
            }
            if number + 1 < blocks {
                let name = format!("{block}.upsamplers.0");
                layers.push(PlannedLayer { name, shape: LayerShape::Up(channels) });
            }
        }
        layers.push(self.out("decoder", ConvShape::same(channels, self.out_channels, 3)));
        layers
    }

    fn middle(&self, layers: &mut Vec<PlannedLayer>, block: &str, channels: usize) {
        layers.push(self.resnet(format!("{block}.resnets.0"), channels, channels));
        if self.mid_block_add_attention {
            let shape = LayerShape::Attention(channels, self.norm());
            layers.push(PlannedLayer { name: format!("{block}.attentions.0"), shape });
        }
        layers.push(self.resnet(format!("{block}.resnets.1"), channels, channels));
    }

    fn resnet(&self, name: String, inputs: usize, outputs: usize) -> PlannedLayer {
        let shape = ResnetShape { inputs, outputs, norm: self.norm(), time: None };
        PlannedLayer { name, shape: LayerShape::Resnet(shape) }
    }

    fn out(&self, part: &str, shape: ConvShape) -> PlannedLayer {
        PlannedLayer { name: part.to_owned(), shape: LayerShape::Out(shape, self.norm()) }
    }

    fn norm(&self) -> NormShape {
        NormShape { groups: self.norm_num_groups, eps: EPS }
    }
}

fn conv(layers: &mut Vec<PlannedLayer>, name: &str, shape: ConvShape) {
    layers.push(PlannedLayer { name: name.to_owned(), shape: LayerShape::Conv(shape) });
}

impl PlannedLayer {
    /// The names of its tensors, in both spellings where there are two.
    pub(super) fn tensors(&self) -> Vec<String> {
        let parts: Vec<&str> = match self.shape {
            LayerShape::Conv(_) => vec![""],
            LayerShape::Resnet(shape) => {
                let shortcut = (shape.inputs != shape.outputs).then_some(".conv_shortcut");
                [".norm1", ".conv1", ".norm2", ".conv2"].into_iter().chain(shortcut).collect()
            }
            LayerShape::Attention(..) => {
                let maps = ATTENTION.iter().flat_map(|(newer, older)| [*newer, *older]);
                let names = maps.chain(["group_norm"]).map(|part| format!(".{part}"));
                return names.flat_map(|part| self.weight_and_bias(&part)).collect();
            }
            LayerShape::Up(_) => vec![".conv"],
            LayerShape::Out(..) => vec![".conv_norm_out", ".conv_out"],
        };
        parts.into_iter().flat_map(|part| self.weight_and_bias(part)).collect()
    }

    fn weight_and_bias(&self, part: &str) -> [String; 2] {
        ["weight", "bias"].map(|kind| format!("{}{part}.{kind}", self.name))
    }
}

impl LayerShape {
    /// Numbers of its weights.
    pub(super) fn parameters(self) -> u64 {
        match self {
            Self::Conv(shape) => shape.parameters(),
            Self::Resnet(shape) => shape.parameters(),
            Self::Attention(channels, _) => {
                4 * ConvShape::same(channels, channels, 1).parameters() + 2 * channels as u64
            }
            Self::Up(channels) => ConvShape::same(channels, channels, 3).parameters(),
            Self::Out(shape, _) => shape.parameters() + 2 * shape.inputs as u64,
        }
    }
}
