//! Residual blocks (diffusers' `ResnetBlock2D`), and what they are made of.

use std::ops::Range;

use super::conv::{Conv2d, ConvInput, ConvShape, Start};
use super::group_norm::{AfterNorm, GroupNorm, GroupStatistics};
use super::maps::{MapSize, Part};
use crate::encoder::PackedLinear;
use crate::error::NnError;
use crate::store::TensorStore;

/// A group norm, SiLU, and a convolution whose outputs are as many positions. What is normed is there for a piece of the
/// rows only, never as a whole.
#[derive(Debug)]
pub(crate) struct NormedConv {
    norm: GroupNorm,
    conv: Conv2d,
}

/// Groups and eps of a group norm.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct NormShape {
    pub(crate) groups: usize,
    pub(crate) eps: f32,
}

/// How far a convolution has come.
#[derive(Debug, Default)]
pub(crate) struct NormedRun {
    statistics: Option<GroupStatistics>,
    /// Rows of outputs.
    done: usize,
}

impl NormedConv {
    /// The norm and the convolution, by their names. The convolution has stride 1 and even padding.
    pub(crate) fn load(
        store: &dyn TensorStore,
        (norm, conv): (&str, &str),
        shape: ConvShape,
        NormShape { groups, eps }: NormShape,
    ) -> Result<Self, NnError> {
        let norm = GroupNorm::load(store, norm, shape.inputs, groups, eps)?;
        Ok(Self { norm, conv: Conv2d::load(store, conv, shape)? })
    }

    /// One piece of the outputs, which are there as a whole; true when all are done.
    pub(crate) fn advance(
        &self,
        run: &mut NormedRun,
        parts: &[Part<'_>],
        size: MapSize,
        start: Start<'_>,
        outputs: &mut [f32],
    ) -> bool {
        let statistics = run.statistics.get_or_insert_with(|| self.norm.statistics(parts, size));
        let rows = run.done..(run.done + self.conv.shape().piece_rows(size.width)).min(size.rows());
        let shape = self.conv.shape();
        let row_numbers = size.width * shape.outputs;
        let outputs = &mut outputs[rows.start * row_numbers..rows.end * row_numbers];
        let window = size.around(&rows, shape.kernel / 2);
        let normed = self.norm.rows(statistics, parts, size, window.clone(), AfterNorm::Silu);
        let input = ConvInput::window(Part { numbers: &normed, channels: shape.inputs }, size, window.start);
        run.done = rows.end;
        self.conv.rows(&input, rows, start, outputs);
        run.done == size.rows()
    }

    pub(crate) fn outputs(&self) -> usize {
        self.conv.shape().outputs
    }

    /// Numbers that are normed at once.
    pub(crate) fn window(shape: ConvShape, size: MapSize) -> u64 {
        let rows = size.rows().min(shape.piece_rows(size.width) + shape.kernel - 1);
        MapSize { maps: 1, height: rows, ..size }.numbers(shape.inputs)
    }
}

/// Two halves of a norm, SiLU and a convolution each, added to the input.
#[derive(Debug)]
pub(crate) struct ResnetBlock {
    first: NormedConv,
    time: Option<PackedLinear>,
    second: NormedConv,
    /// Where inputs and outputs are not as many channels.
    shortcut: Option<Conv2d>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct ResnetShape {
    /// Channels.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) norm: NormShape,
    /// Numbers of the time embedding that is added between the halves.
    pub(crate) time: Option<usize>,
}

/// Maps on their way through a block.
#[derive(Debug)]
pub(crate) struct ResnetRun {
    size: MapSize,
    /// The input's channels.
    parts: Vec<Vec<f32>>,
    /// What is added to each map's channels between the halves.
    time: Option<Vec<f32>>,
    /// Behind the first half.
    hidden: Vec<f32>,
    output: Vec<f32>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    First(NormedRun),
    /// So many rows are done.
    Shortcut(usize),
    Second(NormedRun),
    Done,
}

impl ResnetShape {
    /// Numbers of its weights.
    pub(crate) fn parameters(self) -> u64 {
        let Self { inputs, outputs, .. } = self;
        let conv = |inputs, kernel| ConvShape::same(inputs, outputs, kernel).parameters();
        let time = self.time.map_or(0, |time| (time as u64 + 1) * outputs as u64);
        let shortcut = if inputs == outputs { 0 } else { conv(inputs, 1) };
        conv(inputs, 3) + conv(outputs, 3) + 2 * (inputs + outputs) as u64 + time + shortcut
    }

    /// Numbers that maps take on their way through it, at most: input, what is between the halves, and output are all there
    /// with a shortcut only.
    pub(crate) fn peak(self, size: MapSize) -> u64 {
        let Self { inputs, outputs, .. } = self;
        let (before, behind) = (size.numbers(inputs), size.numbers(outputs));
        let first = before + behind + NormedConv::window(ConvShape::same(inputs, outputs, 3), size);
        let shortcut = if inputs == outputs { 0 } else { before + 2 * behind };
        let second = 2 * behind + NormedConv::window(ConvShape::same(outputs, outputs, 3), size);
        first.max(shortcut).max(second)
    }
}

impl ResnetBlock {
    /// `norm1`, `conv1`, `time_emb_proj`, `norm2`, `conv2` and `conv_shortcut` behind the prefix, which has a point at its end.
    pub(crate) fn load(store: &dyn TensorStore, prefix: &str, shape: ResnetShape) -> Result<Self, NnError> {
        let ResnetShape { inputs, outputs, norm, time } = shape;
        let name = |name: &str| format!("{prefix}{name}");
        let half = |number: usize, inputs| {
            let (norm_name, conv) = (name(&format!("norm{number}")), name(&format!("conv{number}")));
            NormedConv::load(store, (&norm_name, &conv), ConvShape::same(inputs, outputs, 3), norm)
        };
        let first = half(1, inputs)?;
        let time = match time {
            Some(time) => Some(PackedLinear::load(store, &name("time_emb_proj"), (outputs, time), true)?),
            None => None,
        };
        let shortcut = match inputs == outputs {
            true => None,
            false => Some(Conv2d::load(store, &name("conv_shortcut"), ConvShape::same(inputs, outputs, 1))?),
        };
        Ok(Self { first, time, second: half(2, outputs)?, shortcut })
    }

    /// Maps at the beginning. Their channels may come in several parts, which are never put together as a whole.
    ///
    /// `time` has one row for each map, embeddings behind SiLU; it is empty for a block without.
    pub(crate) fn begin(&self, parts: Vec<Vec<f32>>, size: MapSize, time: &[f32]) -> ResnetRun {
        let time = self.time.as_ref().map(|map| map.apply(time));
        let step = Step::First(NormedRun::default());
        ResnetRun { size, parts, time, hidden: Vec::new(), output: Vec::new(), step }
    }

    /// One piece of work; true when all is done.
    pub(crate) fn advance(&self, run: &mut ResnetRun) -> bool {
        let ResnetRun { size, parts, time, hidden, output, step } = run;
        let (size, numbers) = (*size, size.positions() * self.first.outputs());
        match step {
            Step::First(half) => {
                if hidden.is_empty() {
                    *hidden = vec![0.0; numbers];
                }
                let start = time.as_deref().map_or(Start::Bias, Start::Maps);
                if self.first.advance(half, &Part::all(parts, size), size, start, hidden) {
                    *step = self.behind_first(parts, size, output);
                }
            }
            Step::Shortcut(done) => {
                if output.is_empty() {
                    *output = vec![0.0; numbers];
                }
                let shortcut = self.shortcut.as_ref();
                let rows = shortcut.map_or(0..size.rows(), |conv| {
                    let rows = *done..(*done + conv.shape().piece_rows(size.width)).min(size.rows());
                    shortcut_rows(conv, parts, size, rows.clone(), output);
                    rows
                });
                *done = rows.end;
                if *done == size.rows() {
                    parts.clear();
                    *step = Step::Second(NormedRun::default());
                }
            }
            Step::Second(half) => {
                let part = [Part::of(hidden, size)];
                if self.second.advance(half, &part, size, Start::Outputs, output) {
                    *hidden = Vec::new();
                    *step = Step::Done;
                }
            }
            Step::Done => {}
        }
        matches!(step, Step::Done)
    }

    /// What the second half is added to is the input itself, or made of it.
    fn behind_first(&self, parts: &mut Vec<Vec<f32>>, size: MapSize, output: &mut Vec<f32>) -> Step {
        if self.shortcut.is_some() {
            return Step::Shortcut(0);
        }
        *output = match parts.len() {
            1 => parts.remove(0),
            _ => together(&Part::all(parts, size), size),
        };
        parts.clear();
        Step::Second(NormedRun::default())
    }
}

fn shortcut_rows(conv: &Conv2d, parts: &[Vec<f32>], size: MapSize, rows: Range<usize>, output: &mut [f32]) {
    let row_numbers = size.width * conv.shape().outputs;
    let outputs = &mut output[rows.start * row_numbers..rows.end * row_numbers];
    conv.rows(&ConvInput::whole(Part::all(parts, size), size), rows, Start::Bias, outputs);
}

/// Parts of channels put together.
fn together(parts: &[Part<'_>], size: MapSize) -> Vec<f32> {
    let position = |at: usize| {
        parts.iter().flat_map(move |part| &part.numbers[at * part.channels..(at + 1) * part.channels])
    };
    (0..size.positions()).flat_map(position).copied().collect()
}

impl ResnetRun {
    /// The output, once all is done.
    pub(crate) fn into_output(self) -> Vec<f32> {
        self.output
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device, Tensor};
    use candle_nn::VarBuilder;

    use super::super::conv::tests::{bits, numbers};
    use super::*;
    use crate::elementary::sigmoid;
    use crate::store::ComponentStore;

    const NORM: NormShape = NormShape { groups: 4, eps: 1e-5 };

    fn block(shape: ResnetShape) -> (ResnetBlock, ComponentStore, u64) {
        let ResnetShape { inputs, outputs, time, .. } = shape;
        let mut shapes: Vec<(&str, Vec<usize>)> = vec![
            ("norm1.weight", vec![inputs]),
            ("norm1.bias", vec![inputs]),
            ("conv1.weight", vec![outputs, inputs, 3, 3]),
            ("conv1.bias", vec![outputs]),
            ("norm2.weight", vec![outputs]),
            ("norm2.bias", vec![outputs]),
            ("conv2.weight", vec![outputs, outputs, 3, 3]),
            ("conv2.bias", vec![outputs]),
        ];
        if let Some(time) = time {
            shapes.push(("time_emb_proj.weight", vec![outputs, time]));
            shapes.push(("time_emb_proj.bias", vec![outputs]));
        }
        if inputs != outputs {
            shapes.push(("conv_shortcut.weight", vec![outputs, inputs, 1, 1]));
            shapes.push(("conv_shortcut.bias", vec![outputs]));
        }
        let tensors: HashMap<String, Tensor> = shapes
            .into_iter()
            .enumerate()
            .map(|(seed, (name, shape))| {
                let numbers = numbers(shape.iter().product(), seed as u32 * 77);
                (format!("block.{name}"), Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap())
            })
            .collect();
        let parameters = tensors.values().map(Tensor::elem_count).sum::<usize>() as u64;
        let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        let store = ComponentStore::new(builder).unwrap();
        (ResnetBlock::load(&store, "block.", shape).unwrap(), store, parameters)
    }

    fn run(block: &ResnetBlock, parts: Vec<Vec<f32>>, size: MapSize, time: &[f32]) -> Vec<f32> {
        let mut run = block.begin(parts, size, time);
        while !block.advance(&mut run) {}
        run.into_output()
    }

    /// The same of whole maps, step by step.
    fn plainly(
        store: &ComponentStore,
        shape: ResnetShape,
        maps: &[f32],
        size: MapSize,
        time: &[f32],
    ) -> Vec<f32> {
        let half = |number: usize, inputs: usize, maps: &[f32]| {
            let norm = GroupNorm::load(store, &format!("block.norm{number}"), inputs, 4, 1e-5).unwrap();
            let mut normed = norm.apply(maps, size);
            normed.iter_mut().for_each(|number| *number *= sigmoid(*number));
            let conv = ConvShape::same(inputs, shape.outputs, 3);
            Conv2d::load(store, &format!("block.conv{number}"), conv).unwrap().apply(&normed, size)
        };
        let mut hidden = half(1, shape.inputs, maps);
        if let Some(width) = shape.time {
            let map = PackedLinear::load(store, "block.time_emb_proj", (shape.outputs, width), true).unwrap();
            let rows = map.apply(time);
            let of_map = hidden.len() / size.maps;
            for (maps, row) in hidden.chunks_exact_mut(of_map).zip(rows.chunks_exact(shape.outputs)) {
                maps.chunks_exact_mut(shape.outputs).for_each(|position| crate::vector::add(position, row));
            }
        }
        let mut output = half(2, shape.outputs, &hidden);
        match shape.inputs == shape.outputs {
            true => crate::vector::add(&mut output, maps),
            false => {
                let conv = ConvShape::same(shape.inputs, shape.outputs, 1);
                let conv = Conv2d::load(store, "block.conv_shortcut", conv).unwrap();
                crate::vector::add(&mut output, &conv.apply(maps, size));
            }
        }
        output
    }

    #[test]
    fn a_block_is_its_steps() {
        let size = MapSize { maps: 2, height: 5, width: 3 };
        for (inputs, outputs, time) in [(8, 8, None), (12, 8, Some(6)), (8, 16, None), (8, 8, Some(5))] {
            let shape = ResnetShape { inputs, outputs, norm: NORM, time };
            let (block, store, parameters) = block(shape);
            assert_eq!(shape.parameters(), parameters);
            let maps = numbers(size.positions() * inputs, 4);
            let embeddings = numbers(2 * time.unwrap_or(0), 9);
            let output = run(&block, vec![maps.clone()], size, &embeddings);
            let wanted = plainly(&store, shape, &maps, size, &embeddings);
            assert_eq!(output.len(), wanted.len());
            for (got, wanted) in output.iter().zip(&wanted) {
                assert!((got - wanted).abs() < 2e-5, "{got} for {wanted}");
            }
            // Parts, and the second map alone.
            let part = |channels: Range<usize>| -> Vec<f32> {
                maps.chunks_exact(inputs).flat_map(|position| &position[channels.clone()]).copied().collect()
            };
            let in_parts = run(&block, vec![part(0..3), part(3..inputs)], size, &embeddings);
            assert_eq!(bits(&in_parts), bits(&output));
            let second = maps[maps.len() / 2..].to_vec();
            let alone = MapSize { maps: 1, ..size };
            let alone = run(&block, vec![second], alone, &embeddings[embeddings.len() / 2..]);
            assert_eq!(bits(&alone), bits(&output[output.len() / 2..]));
        }
    }

    #[test]
    fn a_large_block_goes_in_pieces() {
        let shape = ResnetShape { inputs: 72, outputs: 64, norm: NORM, time: None };
        let (block, ..) = block(shape);
        let size = MapSize { maps: 1, height: 250, width: 990 };
        let mut run = block.begin(vec![vec![0.5; size.positions() * 72]], size, &[]);
        let mut pieces = 1;
        while !block.advance(&mut run) {
            pieces += 1;
        }
        assert!(pieces >= 5, "{pieces}");
    }
}
