//! Convolutions: for each output position one row of the numbers that it sees, times the weights. The rows are never put
//! together, the product reads them where they are.

use std::ops::Range;

use super::maps::{MapSize, Part};
use crate::error::NnError;
use crate::packed::{Packed, Runs, ScatteredRows};
use crate::store::TensorStore;
use crate::vector::add;

/// A convolution with a square kernel.
#[derive(Debug)]
pub(crate) struct Conv2d {
    shape: ConvShape,
    /// For each output the weights of all inputs, position by position of the kernel.
    matrix: Packed,
    bias: Vec<f32>,
    /// What there is beyond the edges.
    zeros: Vec<f32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ConvShape {
    /// Channels.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Edge of the kernel.
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: Padding,
}

/// Zeros around a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Padding {
    /// Half of the kernel on all sides.
    Even,
    /// One row below and one column behind.
    After,
}

/// What a convolution sees.
#[derive(Debug)]
pub(crate) struct ConvInput<'a> {
    parts: Vec<Part<'a>>,
    /// As they are stored.
    size: MapSize,
    /// Height and width as they are seen: where these differ, the nearest position stands for one.
    seen: (usize, usize),
    /// Of all maps' rows, the first one that is there.
    first_row: usize,
}

/// What sums are added to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    /// The bias.
    Bias,
    /// The bias and one row for each map.
    Maps(&'a [f32]),
    /// The bias and what the outputs have so far.
    Outputs,
}

/// Multiplications and additions that are a piece of work: some ten milliseconds.
const PIECE: usize = 5_000_000_000;

impl ConvShape {
    /// Outputs are as many as inputs, position by position.
    pub(crate) fn same(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self { inputs, outputs, kernel, stride: 1, padding: Padding::Even }
    }

    /// Numbers of the weights and the bias.
    pub(crate) fn parameters(self) -> u64 {
        (self.outputs as u64) * (self.depth() as u64 + 1)
    }

    fn depth(self) -> usize {
        self.kernel * self.kernel * self.inputs
    }

    /// Rows of outputs, so wide, that are a piece of work.
    pub(crate) fn piece_rows(self, width: usize) -> usize {
        // A short depth, and outputs that do not fill a panel, take longer than their products.
        (PIECE / ((self.depth() + 64) * self.outputs.max(16) * width).max(1)).max(1)
    }

    /// The outputs of maps of that size.
    pub(crate) fn output_size(self, seen: MapSize) -> MapSize {
        MapSize { maps: seen.maps, height: self.edge(seen.height), width: self.edge(seen.width) }
    }

    /// Positions along an edge.
    fn edge(self, edge: usize) -> usize {
        let padding = match self.padding {
            Padding::Even => self.kernel / 2 * 2,
            Padding::After => 1,
        };
        (edge + padding).checked_sub(self.kernel).map_or(0, |rest| rest / self.stride + 1)
    }

    /// Zeros before the first position.
    fn before(self) -> usize {
        match self.padding {
            Padding::Even => self.kernel / 2,
            Padding::After => 0,
        }
    }
}

impl Conv2d {
    /// `{name}.weight` and `{name}.bias`.
    pub(crate) fn load(store: &dyn TensorStore, name: &str, shape: ConvShape) -> Result<Self, NnError> {
        let ConvShape { inputs, outputs, kernel, .. } = shape;
        let stored = store.tensor(&format!("{name}.weight"), &[outputs, inputs, kernel, kernel])?;
        let bias = store.vector(&format!("{name}.bias"), outputs)?;
        Ok(Self::of(shape, &stored, bias))
    }

    /// Of weights `[outputs, inputs, kernel, kernel]`.
    fn of(shape: ConvShape, stored: &[f32], bias: Vec<f32>) -> Self {
        let taps = shape.kernel * shape.kernel;
        let matrix = if taps == 1 {
            Packed::of_rows(stored, shape.depth())
        } else {
            let mut weights = vec![0.0; stored.len()];
            let each = weights.chunks_exact_mut(shape.depth()).zip(stored.chunks_exact(shape.depth()));
            each.for_each(|(weights, stored)| {
                for (tap, weights) in weights.chunks_exact_mut(shape.inputs).enumerate() {
                    let stored = stored[tap..].iter().step_by(taps);
                    weights.iter_mut().zip(stored).for_each(|(weight, stored)| *weight = *stored);
                }
            });
            Packed::of_rows(&weights, shape.depth())
        };
        Self { shape, matrix, bias, zeros: vec![0.0; shape.inputs] }
    }

    pub(crate) fn shape(&self) -> ConvShape {
        self.shape
    }

    /// All outputs of whole maps.
    pub(crate) fn apply(&self, numbers: &[f32], size: MapSize) -> Vec<f32> {
        let output_size = self.shape.output_size(size);
        let mut outputs = vec![0.0; output_size.positions() * self.shape.outputs];
        let input = ConvInput::whole(vec![Part { numbers, channels: self.shape.inputs }], size);
        self.rows(&input, 0..output_size.rows(), Start::Bias, &mut outputs);
        outputs
    }

    /// Some rows of the outputs, which are numbered through over all maps; `outputs` has these alone.
    pub(crate) fn rows(
        &self,
        input: &ConvInput<'_>,
        rows: Range<usize>,
        start: Start<'_>,
        outputs: &mut [f32],
    ) {
        let size = self.shape.output_size(input.seen_size());
        if outputs.is_empty() {
            return;
        }
        let begin = |position: usize, channels: Range<usize>, outputs: &mut [f32]| match start {
            Start::Bias => outputs.copy_from_slice(&self.bias[channels]),
            Start::Maps(all) => {
                let first = position / (size.height * size.width) * self.shape.outputs;
                outputs.copy_from_slice(&self.bias[channels.clone()]);
                add(outputs, &all[first + channels.start..first + channels.end]);
            }
            Start::Outputs => add(outputs, &self.bias[channels]),
        };
        let taps = self.shape.kernel * self.shape.kernel;
        let runs = (0..taps).flat_map(|_| input.parts.iter().map(|part| part.channels));
        let seen = SeenRows {
            conv: self,
            input,
            size,
            stretched: input.seen != (input.size.height, input.size.width),
        };
        self.matrix.add_products(&seen, &Runs::of(runs), rows.start * size.width, &begin, outputs);
    }
}

impl<'a> ConvInput<'a> {
    /// All there is of the maps.
    pub(crate) fn whole(parts: Vec<Part<'a>>, size: MapSize) -> Self {
        Self { parts, size, seen: (size.height, size.width), first_row: 0 }
    }

    /// Some of the maps' rows, which are numbered through.
    pub(crate) fn window(part: Part<'a>, size: MapSize, first_row: usize) -> Self {
        Self { first_row, ..Self::whole(vec![part], size) }
    }

    /// Maps that are seen in another size.
    pub(crate) fn stretched(part: Part<'a>, size: MapSize, seen: (usize, usize)) -> Self {
        Self { seen, ..Self::whole(vec![part], size) }
    }

    pub(crate) fn seen_size(&self) -> MapSize {
        MapSize { maps: self.size.maps, height: self.seen.0, width: self.seen.1 }
    }
}

/// What each output position sees.
struct SeenRows<'a> {
    conv: &'a Conv2d,
    input: &'a ConvInput<'a>,
    /// Of the outputs.
    size: MapSize,
    stretched: bool,
}

/// Where the kernel lies: its first row and column, counted from the first zero of the padding.
#[derive(Clone, Copy)]
struct KernelPlace {
    map: usize,
    row: usize,
    column: usize,
}

impl ScatteredRows for SeenRows<'_> {
    type Place = KernelPlace;

    fn place(&self, position: usize) -> KernelPlace {
        let (row, column) = (position / self.size.width, position % self.size.width);
        let (map, row) = (row / self.size.height, row % self.size.height);
        let stride = self.conv.shape.stride;
        KernelPlace { map, row: row * stride, column: column * stride }
    }

    fn run(&self, place: KernelPlace, run: usize) -> &[f32] {
        let ConvInput { parts, size, seen, first_row } = self.input;
        let (tap, part) = (run / parts.len(), &parts[run % parts.len()]);
        let ConvShape { kernel, .. } = self.conv.shape;
        let before = self.conv.shape.before();
        // What is before the first one is beyond the last one, too.
        let row = (place.row + tap / kernel).wrapping_sub(before);
        let column = (place.column + tap % kernel).wrapping_sub(before);
        if row >= seen.0 || column >= seen.1 {
            return &self.conv.zeros[..part.channels];
        }
        let (row, column) = match self.stretched {
            false => (row, column),
            true => (row * size.height / seen.0, column * size.width / seen.1),
        };
        let position = (place.map * size.height + row - first_row) * size.width + column;
        &part.numbers[position * part.channels..][..part.channels]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::diffusion) fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let number =
            |n: usize| ((n as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8e6 - 1.0;
        (0..count).map(number).collect()
    }

    pub(in crate::diffusion) fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|number| number.to_bits()).collect()
    }

    pub(in crate::diffusion) fn conv(shape: ConvShape, seed: u32) -> Conv2d {
        let weights = numbers(shape.outputs * shape.depth(), seed);
        Conv2d::of(shape, &weights, numbers(shape.outputs, !seed))
    }

    /// The definition, in double precision: the outputs, and the sums of the sizes of what they are sums of.
    fn exact(shape: ConvShape, seed: u32, inputs: &[f32], size: MapSize) -> Vec<(f64, f64)> {
        let weights = numbers(shape.outputs * shape.depth(), seed);
        let bias = numbers(shape.outputs, !seed);
        let (before, after) = match shape.padding {
            Padding::Even => (shape.kernel / 2, shape.kernel / 2),
            Padding::After => (0, 1),
        };
        let mut outputs = Vec::new();
        for map in 0..size.maps {
            for top in
                (0..(size.height + before + after + 1).saturating_sub(shape.kernel)).step_by(shape.stride)
            {
                for left in
                    (0..(size.width + before + after + 1).saturating_sub(shape.kernel)).step_by(shape.stride)
                {
                    for output in 0..shape.outputs {
                        let start = f64::from(bias[output]);
                        let (mut sum, mut total) = (start, start.abs());
                        for input in 0..shape.inputs {
                            for (y, x) in
                                (0..shape.kernel).flat_map(|y| (0..shape.kernel).map(move |x| (y, x)))
                            {
                                let (row, column) = (top + y, left + x);
                                if row < before
                                    || column < before
                                    || row - before >= size.height
                                    || column - before >= size.width
                                {
                                    continue;
                                }
                                let position =
                                    (map * size.height + row - before) * size.width + column - before;
                                let number = f64::from(inputs[position * shape.inputs + input]);
                                let weight = weights
                                    [((output * shape.inputs + input) * shape.kernel + y) * shape.kernel + x];
                                sum += number * f64::from(weight);
                                total += (number * f64::from(weight)).abs();
                            }
                        }
                        outputs.push((sum, total));
                    }
                }
            }
        }
        outputs
    }

    fn check(got: &[f32], wanted: &[(f64, f64)]) -> Result<(), TestCaseError> {
        prop_assert_eq!(got.len(), wanted.len());
        for (got, (wanted, total)) in got.iter().zip(wanted) {
            prop_assert!((f64::from(*got) - wanted).abs() <= 2e-6 * total, "{} for {}", got, wanted);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn outputs_are_those_of_the_definition_whatever_the_rows_beside(
            inputs in prop_oneof![1_usize..9, Just(130), Just(300)],
            outputs in prop_oneof![1_usize..5, 15_usize..35, Just(80)],
            kernel in prop_oneof![Just(1_usize), Just(3)],
            stride in 1_usize..3,
            after: bool,
            maps in 1_usize..3,
            (height, width) in prop_oneof![(1_usize..8, 1_usize..8), Just((13, 37))],
            seed: u32,
        ) {
            let padding = if after && kernel == 3 { Padding::After } else { Padding::Even };
            let shape = ConvShape { inputs, outputs, kernel, stride, padding };
            let (conv, size) = (conv(shape, seed), MapSize { maps, height, width });
            let maps = numbers(size.positions() * inputs, seed ^ 5);
            let all = conv.apply(&maps, size);
            check(&all, &exact(shape, seed, &maps, size))?;
            let output_size = conv.shape.output_size(size);
            prop_assert_eq!(all.len(), output_size.positions() * outputs);
            let row_numbers = output_size.width * outputs;
            let input = ConvInput::whole(vec![Part::of(&maps, size)], size);
            for row in 0..output_size.rows() {
                let mut alone = vec![f32::NAN; row_numbers];
                conv.rows(&input, row..row + 1, Start::Bias, &mut alone);
                prop_assert_eq!(bits(&alone), bits(&all[row * row_numbers..][..row_numbers]));
            }
        }

        #[test]
        fn what_is_stretched_is_what_the_nearest_positions_make(
            (height, width) in (1_usize..6, 1_usize..6),
            (more, wider) in (0_usize..2, 0_usize..2),
            seed: u32,
        ) {
            let (size, seen) = (MapSize { maps: 2, height, width }, (2 * height - more, 2 * width - wider));
            let conv = conv(ConvShape::same(3, 20, 3), seed);
            let maps = numbers(size.positions() * 3, seed);
            let input = ConvInput::stretched(Part::of(&maps, size), size, seen);
            let seen = input.seen_size();
            let mut outputs = vec![0.0; seen.positions() * 20];
            conv.rows(&input, 0..seen.rows(), Start::Bias, &mut outputs);
            let nearest = |seen: usize, all: usize, stored: usize| (seen as f32 * (stored as f32 / all as f32)) as usize;
            let mut larger = Vec::new();
            for map in 0..2 {
                for (row, column) in (0..seen.height).flat_map(|row| (0..seen.width).map(move |column| (row, column))) {
                    let row = map * height + nearest(row, seen.height, height);
                    let position = row * width + nearest(column, seen.width, width);
                    larger.extend_from_slice(&maps[position * 3..][..3]);
                }
            }
            prop_assert_eq!(bits(&outputs), bits(&conv.apply(&larger, seen)));
        }
    }

    #[test]
    fn channels_in_two_parts_are_those_of_one() {
        let size = MapSize { maps: 2, height: 9, width: 7 };
        for kernel in [1, 3] {
            let conv = conv(ConvShape::same(12, 20, kernel), 3);
            let maps = numbers(size.positions() * 12, 4);
            let part = |channels: Range<usize>| -> Vec<f32> {
                maps.chunks_exact(12).flat_map(|position| &position[channels.clone()]).copied().collect()
            };
            let parts = [part(0..5), part(5..12)];
            let mut outputs = vec![0.0; size.positions() * 20];
            let input = ConvInput::whole(Part::all(&parts, size), size);
            conv.rows(&input, 0..size.rows(), Start::Bias, &mut outputs);
            assert_eq!(bits(&outputs), bits(&conv.apply(&maps, size)));
        }
    }

    #[test]
    fn sums_are_added_to_what_is_there() {
        let size = MapSize { maps: 2, height: 2, width: 3 };
        let conv = conv(ConvShape::same(4, 3, 3), 7);
        let maps = numbers(size.positions() * 4, 8);
        let input = ConvInput::whole(vec![Part::of(&maps, size)], size);
        let plain = conv.apply(&maps, size);
        let mut added = numbers(plain.len(), 9);
        let so_far = added.clone();
        conv.rows(&input, 0..4, Start::Outputs, &mut added);
        let each = [10.0, 20.0, 30.0, -1.0, -2.0, -3.0];
        let mut with_maps = vec![f32::NAN; plain.len()];
        conv.rows(&input, 0..4, Start::Maps(&each), &mut with_maps);
        for (at, plain) in plain.iter().enumerate() {
            assert!((added[at] - so_far[at] - plain).abs() < 1e-5);
            assert!((with_maps[at] - each[at / 18 * 3 + at % 3] - plain).abs() < 1e-5);
        }
        // The second map alone.
        let mut second = vec![f32::NAN; plain.len() / 2];
        conv.rows(&input, 2..4, Start::Maps(&each), &mut second);
        assert_eq!(bits(&second), bits(&with_maps[plain.len() / 2..]));
    }

    #[test]
    fn a_map_too_small_for_the_kernel_has_no_output() {
        let shape = ConvShape { inputs: 1, outputs: 1, kernel: 3, stride: 2, padding: Padding::After };
        let size = MapSize { maps: 1, height: 1, width: 4 };
        assert_eq!(shape.output_size(size), MapSize { maps: 1, height: 0, width: 2 });
        assert!(conv(shape, 1).apply(&[1.0; 4], size).is_empty());
    }
}
