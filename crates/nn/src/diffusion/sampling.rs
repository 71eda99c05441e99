//! Convolutions in pieces, among them those that make maps smaller or larger (diffusers' `Downsample2D` and `Upsample2D`): of
//! every other position, or of the nearest ones.

use super::conv::{Conv2d, ConvInput, ConvShape, Padding, Start};
use super::maps::{MapSize, Part};
use crate::error::NnError;
use crate::store::TensorStore;

#[derive(Debug)]
pub(crate) struct Resampler {
    conv: Conv2d,
    way: Way,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    AsItIs,
    Up,
}

/// Maps on their way through it.
#[derive(Debug)]
pub(crate) struct ConvRun {
    numbers: Vec<f32>,
    size: MapSize,
    /// Height and width as the convolution sees them.
    seen: (usize, usize),
    output: Vec<f32>,
    output_size: MapSize,
    /// Rows of outputs.
    done: usize,
}

impl Resampler {
    /// A convolution that is applied to the maps as they are.
    pub(crate) fn plain(store: &dyn TensorStore, name: &str, shape: ConvShape) -> Result<Self, NnError> {
        Ok(Self { conv: Conv2d::load(store, name, shape)?, way: Way::AsItIs })
    }

    /// `{name}.conv`, which halves height and width.
    pub(crate) fn down(
        store: &dyn TensorStore,
        name: &str,
        channels: usize,
        padding: Padding,
    ) -> Result<Self, NnError> {
        let shape = ConvShape { stride: 2, padding, ..ConvShape::same(channels, channels, 3) };
        Self::plain(store, &format!("{name}.conv"), shape)
    }

    /// `{name}.conv`, which doubles height and width.
    pub(crate) fn up(store: &dyn TensorStore, name: &str, channels: usize) -> Result<Self, NnError> {
        let shape = ConvShape::same(channels, channels, 3);
        Ok(Self { conv: Conv2d::load(store, &format!("{name}.conv"), shape)?, way: Way::Up })
    }

    /// Maps at the beginning; of one that makes them larger, what size is wanted if it is not just the double.
    pub(crate) fn begin(&self, numbers: Vec<f32>, size: MapSize, wanted: Option<(usize, usize)>) -> ConvRun {
        let seen = match self.way {
            Way::AsItIs => (size.height, size.width),
            Way::Up => wanted.unwrap_or((2 * size.height, 2 * size.width)),
        };
        let output_size =
            self.conv.shape().output_size(MapSize { maps: size.maps, height: seen.0, width: seen.1 });
        ConvRun { numbers, size, seen, output: Vec::new(), output_size, done: 0 }
    }

    /// One piece of work; true when all is done.
    pub(crate) fn advance(&self, run: &mut ConvRun) -> bool {
        let size = run.output_size;
        let row_numbers = size.width * self.conv.shape().outputs;
        if run.output.is_empty() {
            run.output = vec![0.0; size.rows() * row_numbers];
        }
        let rows = run.done..(run.done + self.conv.shape().piece_rows(size.width)).min(size.rows());
        let outputs = &mut run.output[rows.start * row_numbers..rows.end * row_numbers];
        run.done = rows.end;
        let part = Part { numbers: &run.numbers, channels: self.conv.shape().inputs };
        self.conv.rows(&ConvInput::stretched(part, run.size, run.seen), rows, Start::Bias, outputs);
        run.done == size.rows()
    }
}

impl ConvRun {
    /// The output, once all is done, and its size.
    pub(crate) fn into_output(self) -> (Vec<f32>, MapSize) {
        (self.output, self.output_size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::conv::tests::{bits, conv, numbers};
    use super::*;

    fn run(
        sampler: &Resampler,
        maps: &[f32],
        size: MapSize,
        wanted: Option<(usize, usize)>,
    ) -> (Vec<f32>, MapSize) {
        let mut run = sampler.begin(maps.to_vec(), size, wanted);
        while !sampler.advance(&mut run) {}
        run.into_output()
    }

    #[test]
    fn edges_are_halved_and_doubled_as_the_padding_has_it() {
        let size = MapSize { maps: 2, height: 7, width: 4 };
        let maps = numbers(size.positions() * 5, 3);
        for (padding, height, width) in [(Padding::Even, 4, 2), (Padding::After, 3, 2)] {
            let shape = ConvShape { stride: 2, padding, ..ConvShape::same(5, 5, 3) };
            let sampler = Resampler { conv: conv(shape, 1), way: Way::AsItIs };
            let (output, output_size) = run(&sampler, &maps, size, None);
            assert_eq!(output_size, MapSize { maps: 2, height, width });
            assert_eq!(bits(&output), bits(&conv(shape, 1).apply(&maps, size)));
        }
        let sampler = Resampler { conv: conv(ConvShape::same(5, 5, 3), 1), way: Way::Up };
        for (wanted, height, width) in [(None, 14, 8), (Some((13, 8)), 13, 8), (Some((13, 7)), 13, 7)] {
            let (output, output_size) = run(&sampler, &maps, size, wanted);
            assert_eq!(output_size, MapSize { maps: 2, height, width });
            assert_eq!(output.len(), output_size.positions() * 5);
        }
    }

    #[test]
    fn a_large_map_goes_in_pieces() {
        let sampler = Resampler { conv: conv(ConvShape::same(64, 64, 3), 1), way: Way::Up };
        let size = MapSize { maps: 1, height: 300, width: 400 };
        let mut run = sampler.begin(vec![0.5; size.positions() * 64], size, None);
        let mut pieces = 1;
        while !sampler.advance(&mut run) {
            pieces += 1;
        }
        assert!(pieces >= 3, "{pieces}");
        let (output, output_size) = run.into_output();
        assert_eq!(output.len(), output_size.positions() * 64);
        // Far from the edges all positions see the same.
        let row = 799 * 64;
        let inner: Vec<&[f32]> = output.chunks_exact(800 * 64).map(|numbers| &numbers[64..row]).collect();
        inner[1..599].iter().for_each(|numbers| assert_eq!(bits(numbers), bits(inner[1])));
    }
}
