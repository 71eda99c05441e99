//! A stack of layers, and sequences on their way through it.

use super::config::{EncoderConfig, HiddenState, Names, TowerOutputs};
use super::layer::{Layer, Loading};
use super::norm::LayerNorm;
use crate::error::NnError;
use crate::store::TensorStore;

/// The layers that are needed for what is wanted.
#[derive(Debug)]
pub(crate) struct Encoder {
    layers: Vec<Layer>,
    norm: Option<LayerNorm>,
    keep: Vec<HiddenState>,
    width: usize,
}

/// Sequences on their way: their rows, one sequence after another, and what has been kept.
#[derive(Debug)]
pub(crate) struct Run {
    rows: Vec<f32>,
    /// Rows of each sequence.
    lengths: Vec<usize>,
    width: usize,
    next: Next,
    /// For each of the hidden states that are wanted, all rows, once they are there.
    kept: Vec<Vec<f32>>,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// The attention of a layer, from a sequence on.
    Attention {
        layer: usize,
        sequence: usize,
    },
    /// The feed-forward half of a layer, from a row on.
    FeedForward {
        layer: usize,
        row: usize,
    },
    Nothing,
}

/// Rows of a piece, about: enough that reading the weights again for each piece costs little.
const PIECE_ROWS: usize = 256;

impl Encoder {
    /// Loads as many of the layers as are needed; `norm` is the name of the one behind the last layer.
    pub(crate) fn load(
        config: &EncoderConfig,
        outputs: &TowerOutputs,
        layers: usize,
        store: &dyn TensorStore,
        tower: &str,
        norm: &str,
    ) -> Result<Self, NnError> {
        let part = match config.names {
            Names::Clip => "encoder.layers",
            Names::Dinov2 { .. } => "encoder.layer",
        };
        let layer =
            |number| Layer::load(&Loading { config, store, prefix: format!("{tower}{part}.{number}.") });
        let norm = match outputs.needs_norm() {
            true => Some(Loading { config, store, prefix: tower.to_owned() }.norm(norm)?),
            false => None,
        };
        Ok(Self {
            layers: (0..outputs.layers_of(layers)?).map(layer).collect::<Result<_, _>>()?,
            norm,
            keep: outputs.hidden.clone(),
            width: config.width,
        })
    }

    /// Sequences at the beginning of the first layer.
    pub(crate) fn start(&self, rows: Vec<f32>, lengths: Vec<usize>) -> Run {
        let kept = vec![Vec::new(); self.keep.len()];
        let mut run = Run { rows, lengths, width: self.width, next: Next::Nothing, kept };
        self.enter(&mut run, 0);
        run
    }

    /// Computes piece by piece, at least one, until all is done (true) or `go_on` says to stop (false).
    pub(crate) fn advance(&self, run: &mut Run, go_on: &mut dyn FnMut() -> bool) -> bool {
        loop {
            match run.next {
                Next::Nothing => return true,
                Next::Attention { layer, sequence } => self.attention(run, layer, sequence),
                Next::FeedForward { layer, row } => self.feed_forward(run, layer, row),
            }
            if !matches!(run.next, Next::Nothing) && !go_on() {
                return false;
            }
        }
    }

    /// Rows behind the last layer, normed.
    pub(crate) fn normed(&self, rows: &[f32]) -> Vec<f32> {
        match &self.norm {
            Some(norm) => norm.apply(rows),
            None => rows.to_vec(),
        }
    }

    /// Sequences that have at least so many rows together.
    fn attention(&self, run: &mut Run, layer: usize, first: usize) {
        let start: usize = run.lengths[..first].iter().sum();
        let (mut end, mut sequence) = (start, first);
        while sequence < run.lengths.len() && end - start < PIECE_ROWS {
            end += run.lengths[sequence];
            sequence += 1;
        }
        let lengths = &run.lengths[first..sequence];
        self.layers[layer].attend(&mut run.rows[start * self.width..end * self.width], lengths);
        run.next = match sequence < run.lengths.len() {
            true => Next::Attention { layer, sequence },
            false => Next::FeedForward { layer, row: 0 },
        };
    }

    fn feed_forward(&self, run: &mut Run, layer: usize, row: usize) {
        let rows = run.rows.len() / self.width;
        // As many pieces as there must be, of equal size.
        let left = rows - row;
        let piece = left.div_ceil(left.div_ceil(PIECE_ROWS).max(1));
        self.layers[layer].feed_forward(&mut run.rows[row * self.width..(row + piece) * self.width]);
        match row + piece < rows {
            true => run.next = Next::FeedForward { layer, row: row + piece },
            false => self.enter(run, layer + 1),
        }
    }

    /// Keeps what is wanted of the rows behind so many layers, and goes on with the next one if there is any.
    fn enter(&self, run: &mut Run, layer: usize) {
        for (kept, wanted) in run.kept.iter_mut().zip(&self.keep).filter(|(_, wanted)| wanted.layer == layer)
        {
            *kept = if wanted.normed { self.normed(&run.rows) } else { run.rows.clone() };
        }
        run.next = match layer < self.layers.len() && !run.lengths.is_empty() {
            true => Next::Attention { layer, sequence: 0 },
            false => Next::Nothing,
        };
    }
}

impl Run {
    pub(crate) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }

    /// All rows, as far as they have come.
    pub(crate) fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// The rows of a sequence of the hidden state that was named at this place.
    pub(crate) fn hidden(&self, sequence: usize, place: usize) -> &[f32] {
        let start: usize = self.lengths[..sequence].iter().sum();
        &self.kept[place][start * self.width..(start + self.lengths[sequence]) * self.width]
    }

    /// Takes a sequence out. The others go on as if it had never been there.
    pub(crate) fn remove(&mut self, sequence: usize) {
        let start: usize = self.lengths[..sequence].iter().sum();
        let length = self.lengths.remove(sequence);
        let numbers = start * self.width..(start + length) * self.width;
        for rows in self.kept.iter_mut().filter(|rows| !rows.is_empty()).chain([&mut self.rows]) {
            rows.drain(numbers.clone());
        }
        match &mut self.next {
            Next::Attention { sequence: next, layer } => {
                *next -= usize::from(sequence < *next);
                if *next == self.lengths.len() {
                    self.next = Next::FeedForward { layer: *layer, row: 0 };
                }
            }
            Next::FeedForward { row, .. } => *row -= length.min(row.saturating_sub(start)),
            Next::Nothing => {}
        }
        if self.lengths.is_empty() {
            self.next = Next::Nothing;
        }
    }
}
