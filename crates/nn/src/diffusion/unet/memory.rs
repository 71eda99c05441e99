//! What a pass holds at its peak, by the configuration alone.

use super::config::UnetConfig;
use super::plan::StepShape;
use crate::diffusion::transformer::TOKENS;
use crate::diffusion::{MapSize, NormedConv};

/// Edges of samples, at most: far beyond any, and numbers of maps stay countable.
const MOST_EDGE: usize = 1 << 16;

impl UnetConfig {
    /// Bytes that a pass of so many samples of that height and width takes besides the weights, at its peak, its inputs and
    /// outputs included. Contexts are reckoned with 77 tokens each; more take little.
    #[must_use]
    pub fn pass_bytes(&self, samples: usize, height: usize, width: usize) -> u64 {
        if height.max(width) > MOST_EDGE || samples > MOST_EDGE || self.check().is_err() {
            // More than there is.
            return u64::MAX;
        }
        if samples == 0 || height == 0 || width == 0 {
            return 0;
        }
        let size = MapSize { maps: samples, height, width };
        let each = self.time_size as u64 + 2 * TOKENS as u64 * self.context_size as u64;
        // Results channel by channel are there before their rows have gone.
        let outputs = 2 * size.numbers(self.out_channels);
        let peak = self.peak(size).max(outputs);
        (peak + samples as u64 * each).saturating_mul(4)
    }

    /// Numbers of maps at the peak.
    fn peak(&self, mut size: MapSize) -> u64 {
        // What is kept: numbers and size.
        let mut kept: Vec<(u64, MapSize)> = Vec::new();
        let mut held = 0;
        let mut most = 0;
        let mut channels = self.in_channels;
        for step in self.plan() {
            let before = size.numbers(channels);
            let takes = match step.shape {
                StepShape::First(shape) => {
                    channels = shape.outputs;
                    2 * before + size.numbers(channels)
                }
                StepShape::Keep => {
                    kept.push((before, size));
                    held += before;
                    0
                }
                StepShape::Block(shape) => {
                    channels = shape.outputs;
                    shape.peak(size)
                }
                StepShape::Join(shape) => {
                    let skip = kept.pop().map_or(0, |(numbers, _)| numbers);
                    // They are one and the same where nothing is between the ways.
                    held -= skip;
                    channels = shape.outputs;
                    shape.peak(size)
                }
                StepShape::Transformer(shape) => shape.peak(size),
                StepShape::Down(shape) => {
                    size = shape.output_size(size);
                    before + size.numbers(channels)
                }
                StepShape::Up(_) => {
                    size = kept.last().map_or(size, |(_, size)| *size);
                    before + size.numbers(channels)
                }
                StepShape::Last(shape) => {
                    before + size.numbers(shape.outputs) + NormedConv::window(shape, size)
                }
            };
            most = most.max(held + takes);
        }
        most
    }
}
