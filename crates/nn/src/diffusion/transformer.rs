//! The transformers of a UNet: what a map's pixels see of each other and of a context.

use super::{GroupNorm, MapSize};
use crate::encoder::{LayerNorm, Memory, PackedLinear, geglu, table};
use crate::error::NnError;
use crate::store::TensorStore;
use crate::vector::add;

/// Transformer2DModel of diffusers: a group norm, layers on the pixels as rows, and the map added at the end.
#[derive(Debug)]
pub(super) struct Transformer {
    norm: GroupNorm,
    enter: PackedLinear,
    layers: Vec<Layer>,
    leave: PackedLinear,
    channels: usize,
    /// Multiplications and additions of a piece.
    piece: usize,
}

/// What a transformer is loaded with.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransformerShape {
    pub(super) channels: usize,
    pub(super) heads: usize,
    pub(super) layers: usize,
    /// Numbers of each token of the context.
    pub(super) context: usize,
    pub(super) groups: usize,
}

/// Maps on their way through a transformer.
#[derive(Debug)]
pub(super) struct TransformerRun {
    /// What the result is added to.
    map: Vec<f32>,
    size: MapSize,
    /// The pixels between the first and the last linear map.
    rows: Vec<f32>,
    /// What the queries of the attention at hand see, one for each map.
    memories: Vec<Memory>,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Enter,
    /// The part of a layer, from a row on.
    Layer {
        layer: usize,
        part: Part,
        row: usize,
    },
    Leave {
        row: usize,
    },
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    /// What pixels see of their map.
    Map,
    /// What they see of the context.
    Context,
    FeedForward,
}

/// What the pixels of a map see beside it: all contexts, one behind the other, and the tokens of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contexts<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) tokens: &'a [usize],
}

#[derive(Debug)]
struct Layer {
    norms: [LayerNorm; 3],
    map: Attention,
    context: Attention,
    feed_forward: FeedForward,
}

/// Tokens of a context that are reckoned with.
pub(super) const TOKENS: usize = 77;
/// Of diffusers' BasicTransformerBlock and Transformer2DModel, which no configuration changes.
const LAYER_EPS: f32 = 1e-5;
const GROUP_EPS: f32 = 1e-6;
/// Multiplications and additions of a piece, about: a tenth of a second on two cores.
const PIECE: usize = 12_000_000_000;
/// Rows of a piece of the feed-forward half, at most: their eight times as many numbers would be the largest there are.
const FEED_FORWARD_ROWS: usize = 1024;

impl TransformerShape {
    /// Numbers of its weights.
    pub(super) fn parameters(self) -> u64 {
        let (width, context) = (self.channels as u64, self.context as u64);
        let attentions = 2 * (3 * width + 1) * width + 2 * context * width;
        let feed_forward = 8 * width * (width + 1) + (4 * width + 1) * width;
        2 * width + 2 * (width + 1) * width + self.layers as u64 * (6 * width + attentions + feed_forward)
    }

    /// Numbers that maps of that size hold on their way, at most.
    pub(super) fn peak(self, size: MapSize) -> u64 {
        let width = self.channels;
        let rows = size.positions();
        let positions = size.height * size.width;
        let heads = (self.heads, width / self.heads);
        let entering = rows * width;
        let maps = share(PIECE, size.maps, 4 * positions * width * width);
        let memories = size.maps * Memory::numbers(heads, positions.max(TOKENS));
        let remembering = 3 * maps * positions * width;
        let looking = share(PIECE, rows, 4 * width * (positions + width));
        let tasks = rayon::current_num_threads();
        let scores = tasks * Memory::scores(looking.div_ceil(4), positions);
        let looking = 4 * looking * width + scores;
        let feed_forward = 9 * share(PIECE, rows, 24 * width * width).min(FEED_FORWARD_ROWS) * width;
        let seeing = memories + remembering.max(looking);
        (2 * rows * width + entering.max(seeing).max(feed_forward)) as u64
    }
}

impl Transformer {
    /// Its tensors are those whose names begin with `prefix`, which ends with a point.
    pub(super) fn load(
        store: &dyn TensorStore,
        prefix: &str,
        shape: TransformerShape,
    ) -> Result<Self, NnError> {
        let TransformerShape { channels, groups, .. } = shape;
        let square =
            |name: &str| PackedLinear::load(store, &format!("{prefix}{name}"), (channels, channels), true);
        let layer = |number| Layer::load(store, &format!("{prefix}transformer_blocks.{number}."), shape);
        Ok(Self {
            norm: GroupNorm::load(store, &format!("{prefix}norm"), channels, groups, GROUP_EPS)?,
            enter: square("proj_in")?,
            layers: (0..shape.layers).map(layer).collect::<Result<_, _>>()?,
            leave: square("proj_out")?,
            channels,
            piece: PIECE,
        })
    }

    pub(super) fn begin(&self, map: Vec<f32>, size: MapSize) -> TransformerRun {
        TransformerRun { map, size, rows: Vec::new(), memories: Vec::new(), next: Next::Enter }
    }

    /// One piece; true when all is done.
    pub(super) fn advance(&self, run: &mut TransformerRun, contexts: Contexts<'_>) -> bool {
        run.next = match run.next {
            Next::Enter => {
                run.rows = self.enter.apply(&self.norm.apply(&run.map, run.size));
                self.after(0)
            }
            Next::Layer { layer, part: Part::FeedForward, row } => {
                let width = self.channels;
                let rows =
                    self.share(run.rows.len() / width - row, 24 * width * width).min(FEED_FORWARD_ROWS);
                self.layers[layer].feed_forward(&mut run.rows[row * width..(row + rows) * width]);
                match (row + rows) * width < run.rows.len() {
                    true => Next::Layer { layer, part: Part::FeedForward, row: row + rows },
                    false => self.after(layer + 1),
                }
            }
            Next::Layer { layer, part, row } => self.attend(run, contexts, layer, part, row),
            Next::Leave { row } => {
                let width = self.channels;
                let rows = self.share(run.rows.len() / width - row, 2 * width * width).min(FEED_FORWARD_ROWS);
                let numbers = row * width..(row + rows) * width;
                add(&mut run.map[numbers.clone()], &self.leave.apply(&run.rows[numbers.clone()]));
                match numbers.end < run.rows.len() {
                    true => Next::Leave { row: row + rows },
                    false => {
                        run.rows = Vec::new();
                        Next::Nothing
                    }
                }
            }
            Next::Nothing => Next::Nothing,
        };
        matches!(run.next, Next::Nothing)
    }

    fn share(&self, left: usize, cost: usize) -> usize {
        share(self.piece, left, cost)
    }

    /// What comes behind so many layers.
    fn after(&self, layer: usize) -> Next {
        match layer < self.layers.len() {
            true => Next::Layer { layer, part: Part::Map, row: 0 },
            false => Next::Leave { row: 0 },
        }
    }

    /// Lays out what is seen, or lets some rows see it.
    fn attend(
        &self,
        run: &mut TransformerRun,
        contexts: Contexts<'_>,
        layer: usize,
        part: Part,
        row: usize,
    ) -> Next {
        let width = self.channels;
        let Layer { norms, map, context, .. } = &self.layers[layer];
        let (norm, attention) = match part {
            Part::Map => (&norms[0], map),
            _ => (&norms[1], context),
        };
        let maps = run.size.maps;
        if run.memories.len() < maps {
            // Of a map alone where it is large.
            let first = run.memories.len();
            match part {
                Part::Map => {
                    let positions = run.rows.len() / width / maps;
                    let count = self.share(maps - first, 4 * positions * width * width);
                    let numbers = first * positions * width..(first + count) * positions * width;
                    let seen = norm.apply(&run.rows[numbers]);
                    run.memories.extend(attention.remember(&seen, &vec![positions; count]));
                }
                _ => run.memories = attention.remember(contexts.numbers, contexts.tokens),
            }
            if run.memories.len() < maps || matches!(part, Part::Map) {
                return Next::Layer { layer, part, row };
            }
        }
        let rows = run.rows.len() / width;
        let longest = run.memories.iter().map(Memory::length).max().unwrap_or(0);
        let count = self.share(rows - row, 4 * width * (longest + width));
        let numbers = row * width..(row + count) * width;
        let normed = norm.apply(&run.rows[numbers.clone()]);
        let change = attention.apply(normed, row, rows / maps, &run.memories);
        add(&mut run.rows[numbers], &change);
        if row + count < rows {
            return Next::Layer { layer, part, row: row + count };
        }
        run.memories = Vec::new();
        let part = if matches!(part, Part::Map) { Part::Context } else { Part::FeedForward };
        Next::Layer { layer, part, row: 0 }
    }
}

impl TransformerRun {
    pub(super) fn into_output(self) -> Vec<f32> {
        self.map
    }
}

/// How many of the things that are left a piece of so much work takes, each of which costs so much: as many pieces as there must
/// be, of equal size.
fn share(piece: usize, left: usize, cost: usize) -> usize {
    let most = (piece / cost.max(1)).max(1);
    left.div_ceil(left.div_ceil(most).max(1))
}

impl Layer {
    fn load(store: &dyn TensorStore, prefix: &str, shape: TransformerShape) -> Result<Self, NnError> {
        let norm = |number: usize| {
            LayerNorm::load(store, &format!("{prefix}norm{number}"), shape.channels, LAYER_EPS)
        };
        let attention = |number: usize, seen| {
            Attention::load(store, &format!("{prefix}attn{number}."), shape.channels, shape.heads, seen)
        };
        Ok(Self {
            norms: [norm(1)?, norm(2)?, norm(3)?],
            map: attention(1, shape.channels)?,
            context: attention(2, shape.context)?,
            feed_forward: FeedForward::load(store, &format!("{prefix}ff."), shape.channels)?,
        })
    }

    fn feed_forward(&self, rows: &mut [f32]) {
        let change = self.feed_forward.apply(self.norms[2].apply(rows));
        add(rows, &change);
    }
}

#[derive(Debug)]
struct Attention {
    query: PackedLinear,
    key: PackedLinear,
    value: PackedLinear,
    output: PackedLinear,
    /// How many, and numbers of each.
    heads: (usize, usize),
}

impl Attention {
    fn load(
        store: &dyn TensorStore,
        prefix: &str,
        channels: usize,
        heads: usize,
        seen: usize,
    ) -> Result<Self, NnError> {
        let linear = |name: &str, inputs, bias| {
            PackedLinear::load(store, &format!("{prefix}{name}"), (channels, inputs), bias)
        };
        Ok(Self {
            query: linear("to_q", channels, false)?,
            key: linear("to_k", seen, false)?,
            value: linear("to_v", seen, false)?,
            output: linear("to_out.0", channels, true)?,
            heads: (heads, channels / heads),
        })
    }

    /// Sequences as queries see them; `lengths` are theirs, one after another.
    fn remember(&self, rows: &[f32], lengths: &[usize]) -> Vec<Memory> {
        let (keys, values) = (self.key.apply(rows), self.value.apply(rows));
        let width = self.heads.0 * self.heads.1;
        let mut start = 0;
        let memory = |length: &usize| {
            let numbers = start * width..(start + length) * width;
            start += length;
            Memory::of(self.heads, &keys[numbers.clone()], &values[numbers])
        };
        lengths.iter().map(memory).collect()
    }

    /// What rows see of the memories; the first of them is row `first` of maps of so many rows.
    fn apply(&self, rows: Vec<f32>, first: usize, map_rows: usize, memories: &[Memory]) -> Vec<f32> {
        let width = self.heads.0 * self.heads.1;
        let queries = self.query.apply(&rows);
        drop(rows);
        let last = first + queries.len() / width;
        let mut seen = Vec::with_capacity(queries.len());
        for (map, memory) in memories.iter().enumerate() {
            let of_map = (map * map_rows).clamp(first, last)..((map + 1) * map_rows).clamp(first, last);
            if !of_map.is_empty() {
                seen.extend(
                    memory.look(&queries[(of_map.start - first) * width..(of_map.end - first) * width]),
                );
            }
        }
        drop(queries);
        self.output.apply(&seen)
    }
}

/// Two linear maps, half of the first of which gates the other half.
#[derive(Debug)]
struct FeedForward {
    values: PackedLinear,
    gate: PackedLinear,
    down: PackedLinear,
}

impl FeedForward {
    fn load(store: &dyn TensorStore, prefix: &str, channels: usize) -> Result<Self, NnError> {
        let inner = 4 * channels;
        let weight = table(store, &format!("{prefix}net.0.proj.weight"), (2 * inner, channels))?;
        let mut values_bias = store.vector(&format!("{prefix}net.0.proj.bias"), 2 * inner)?;
        let gate_bias = values_bias.split_off(inner);
        let (values, gate) = weight.split_at(inner * channels);
        Ok(Self {
            values: PackedLinear::of(values, channels, Some(values_bias)),
            gate: PackedLinear::of(gate, channels, Some(gate_bias)),
            down: PackedLinear::load(store, &format!("{prefix}net.2"), (channels, inner), true)?,
        })
    }

    fn apply(&self, rows: Vec<f32>) -> Vec<f32> {
        let mut inner = self.values.apply(&rows);
        let gate = self.gate.apply(&rows);
        drop(rows);
        geglu(&mut inner, &gate);
        drop(gate);
        self.down.apply(&inner)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::store::StoredMatrix;

    /// Weights of no meaning.
    struct Random;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |n: usize| ((n + 7 * seed) as u32).wrapping_mul(2_654_435_761) as f32 / 2e9 - 1.0;
        (0..count).map(number).collect()
    }

    impl TensorStore for Random {
        fn contains(&self, _: &str) -> bool {
            true
        }

        fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, NnError> {
            Ok(numbers(length, name.len()))
        }

        fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<StoredMatrix, NnError> {
            let numbers = numbers(shape.0 * shape.1, name.len());
            Ok(StoredMatrix::Dense(Tensor::from_vec(numbers, shape, &Device::Cpu)?))
        }
    }

    #[test]
    fn results_do_not_depend_on_how_large_pieces_are() {
        let shape = TransformerShape { channels: 8, heads: 2, layers: 2, context: 6, groups: 4 };
        let mut transformer = Transformer::load(&Random, "attentions.0.", shape).unwrap();
        let size = MapSize { maps: 3, height: 5, width: 4 };
        let map = numbers(size.positions() * 8, 1);
        let context = numbers(9 * 6, 2);
        let mut run = |piece, contexts| {
            transformer.piece = piece;
            let mut run = transformer.begin(map.clone(), size);
            let mut pieces = 1;
            while !transformer.advance(&mut run, contexts) {
                pieces += 1;
            }
            let bits: Vec<u32> = run.into_output().iter().map(|number| number.to_bits()).collect();
            (bits, pieces)
        };
        let contexts = Contexts { numbers: &context, tokens: &[3, 5, 1] };
        let (wanted, few) = run(PIECE, contexts);
        // Rows of one map and of the next in one piece, rows one by one.
        for (piece, least) in [(12_000, 25), (1, 2 * 3 * 60)] {
            let (got, pieces) = run(piece, contexts);
            assert_eq!(got, wanted, "pieces of {piece}");
            assert!(pieces > least && pieces > few, "{pieces} pieces of {piece}, {few} of all");
        }
        let (other, _) = run(PIECE, Contexts { numbers: &context, tokens: &[4, 4, 1] });
        let map = wanted.len() / 3;
        assert!(wanted[..map] != other[..map] && wanted[2 * map..] == other[2 * map..]);
    }
}
