//! What a pass holds at its peak, by the configuration alone.

use super::config::VaeConfig;
use super::plan::{LayerShape, PlannedLayer};
use super::stack::{channels, output_size};
use super::tiles::Tiling;
use crate::diffusion::maps::MapSize;
use crate::diffusion::resnet::NormedConv;

/// Edges of pictures in pixels, at most: far beyond any, and numbers of maps stay countable.
pub(super) const MOST_PIXELS: usize = 1 << 20;

impl VaeConfig {
    /// Bytes that decoding latents of that height and width takes besides the weights, at its peak.
    #[must_use]
    pub fn decode_bytes(&self, height: usize, width: usize) -> u64 {
        bytes(&self.decoder_layers(), (height, width), MOST_PIXELS / self.factor(), Some(Tiling::none()))
    }

    /// The same in tiles.
    #[must_use]
    pub fn decode_tiled_bytes(&self, height: usize, width: usize) -> u64 {
        let tiling = Tiling::decoding(self).ok();
        bytes(&self.decoder_layers(), (height, width), MOST_PIXELS / self.factor(), tiling)
    }

    /// Bytes that encoding pixels of that height and width takes besides the weights, at its peak.
    #[must_use]
    pub fn encode_bytes(&self, height: usize, width: usize) -> u64 {
        bytes(&self.encoder_layers(), (height, width), MOST_PIXELS, Some(Tiling::none()))
    }

    /// The same in tiles.
    #[must_use]
    pub fn encode_tiled_bytes(&self, height: usize, width: usize) -> u64 {
        bytes(&self.encoder_layers(), (height, width), MOST_PIXELS, Tiling::encoding(self).ok())
    }
}

/// What cannot be computed takes more than there is.
fn bytes(
    layers: &[PlannedLayer],
    (height, width): (usize, usize),
    most: usize,
    tiling: Option<Tiling>,
) -> u64 {
    let (Some(tiling), true) = (tiling, height.max(width) <= most) else {
        return u64::MAX;
    };
    let tiling = tiling.for_size((height, width));
    let whole = MapSize { maps: 1, height, width };
    let tile = MapSize { height: height.min(tiling.edge), width: width.min(tiling.edge), ..whole };
    let ends = |layer: Option<&PlannedLayer>| layer.map_or((0, 0), |layer| channels(layer.shape));
    let (inputs, outputs) = (ends(layers.first()).0, ends(layers.last()).1);
    let tile_output = output_size(layers, tile).numbers(outputs);
    let output = output_size(layers, whole).numbers(outputs);
    let peak = peak(layers, tile);
    let held = match tiling.is_none() {
        true => peak.max(tile_output + output),
        // The input, what has been made, and the last quarters of the tiles above and of that before.
        false => {
            let above = output / (output_size(layers, whole).height.max(1) as u64)
                * (output_size(layers, tile).height / 4) as u64;
            (peak.max(tile_output)).saturating_add(whole.numbers(inputs) + output + above + tile_output / 4)
        }
    };
    held.saturating_mul(4)
}

/// Numbers that layers hold at once, at most.
fn peak(layers: &[PlannedLayer], mut size: MapSize) -> u64 {
    let mut most = 0;
    for layer in layers {
        let after = output_size(std::slice::from_ref(layer), size);
        let (inputs, outputs) = channels(layer.shape);
        let (before, behind) = (size.numbers(inputs), after.numbers(outputs));
        most = most.max(match layer.shape {
            LayerShape::Conv(_) | LayerShape::Up(_) => before + behind,
            LayerShape::Out(shape, _) => before + behind + NormedConv::window(shape, size),
            LayerShape::Resnet(shape) => shape.peak(size),
            // The map, the same normed, keys and values, twice while they are laid out.
            LayerShape::Attention(..) => 8 * before,
        });
        size = after;
    }
    most
}
