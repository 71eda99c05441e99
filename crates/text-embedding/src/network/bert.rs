//! The encoder of BERT and RoBERTa (Devlin et al. 2018, arXiv 1810.04805; Liu et al. 2019, arXiv 1907.11692), with the
//! tensor names of transformers.

use candle_core::{Result, Tensor};
use model_source::{ModelFiles, SourceError};

use super::activation::Activation;
use super::attention::{Run, attend};
use super::layers::{LayerNorm, Linear, Reader};
use crate::error::Error;
use crate::tokenize::TokenIds;

/// The encoder's sizes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BertConfig {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) activation: Activation,
    pub(crate) positions: usize,
    /// The first token's position: 0 in BERT, one past the padding token's id in RoBERTa.
    pub(crate) first_position: usize,
    pub(crate) types: usize,
    pub(crate) eps: f64,
}

impl BertConfig {
    /// The most tokens there are positions for.
    pub(crate) fn longest(&self) -> usize {
        self.positions.saturating_sub(self.first_position)
    }
}

/// The encoder.
#[derive(Debug)]
pub(crate) struct Bert {
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    heads: usize,
    first_position: usize,
}

#[derive(Debug)]
struct Layer {
    qkv: Linear,
    attended: Linear,
    attended_norm: LayerNorm,
    up: Linear,
    activation: Activation,
    down: Linear,
    norm: LayerNorm,
}

impl Bert {
    /// Reads the encoder's weights, whose names begin with `prefix`.
    pub(crate) fn load(
        reader: &Reader<'_>,
        prefix: &str,
        config: &BertConfig,
    ) -> std::result::Result<Self, LoadFailure> {
        let hidden = config.hidden;
        let embeddings = format!("{prefix}embeddings");
        let table =
            |name: &str, rows: usize| reader.tensor(&format!("{embeddings}.{name}.weight"), &[rows, hidden]);
        Ok(Self {
            words: table("word_embeddings", config.vocabulary)?,
            positions: table("position_embeddings", config.positions)?,
            types: table("token_type_embeddings", config.types)?,
            norm: reader.layer_norm(&format!("{embeddings}.LayerNorm"), hidden, config.eps as f32)?,
            layers: (0..config.layers)
                .map(|index| Layer::load(reader, &format!("{prefix}encoder.layer.{index}"), config))
                .collect::<std::result::Result<_, _>>()?,
            heads: config.heads,
            first_position: config.first_position,
        })
    }

    /// The last hidden states of all sequences' tokens, one row a token, sequence after sequence. Sequences of equal
    /// length should be neighbours.
    pub(crate) fn forward(&self, sequences: &[&TokenIds]) -> Result<Tensor> {
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.ids.len()).collect();
        let runs = Run::of(&lengths, self.heads);
        let mut states = self.embed(sequences)?;
        for layer in &self.layers {
            states = layer.forward(&states, &runs, self.heads)?;
        }
        Ok(states)
    }

    fn embed(&self, sequences: &[&TokenIds]) -> Result<Tensor> {
        let device = self.words.device();
        let look_up = |table: &Tensor, ids: Vec<u32>| {
            let count = ids.len();
            table.index_select(&Tensor::from_vec(ids, count, device)?, 0)
        };
        let first = self.first_position as u32;
        let ids = sequences.iter().flat_map(|sequence| sequence.ids.iter().copied()).collect();
        let types = sequences.iter().flat_map(|sequence| sequence.types.iter().copied()).collect();
        let positions =
            sequences.iter().flat_map(|sequence| first..first + sequence.ids.len() as u32).collect();
        let words = look_up(&self.words, ids)?;
        let typed = (words + look_up(&self.types, types)?)?;
        self.norm.forward(&(typed + look_up(&self.positions, positions)?)?)
    }
}

impl Layer {
    fn load(
        reader: &Reader<'_>,
        prefix: &str,
        config: &BertConfig,
    ) -> std::result::Result<Self, LoadFailure> {
        let (hidden, intermediate, eps) = (config.hidden, config.intermediate, config.eps as f32);
        let map = |name: &str, inputs, outputs| reader.linear(&format!("{prefix}.{name}"), inputs, outputs);
        let part = |name: &str| map(&format!("attention.self.{name}"), hidden, hidden);
        Ok(Self {
            qkv: Linear::stack(&[part("query")?, part("key")?, part("value")?])?,
            attended: map("attention.output.dense", hidden, hidden)?,
            attended_norm: reader.layer_norm(&format!("{prefix}.attention.output.LayerNorm"), hidden, eps)?,
            up: map("intermediate.dense", hidden, intermediate)?,
            activation: config.activation,
            down: map("output.dense", intermediate, hidden)?,
            norm: reader.layer_norm(&format!("{prefix}.output.LayerNorm"), hidden, eps)?,
        })
    }

    fn forward(&self, states: &Tensor, runs: &[Run], heads: usize) -> Result<Tensor> {
        let context = attend(&self.qkv.forward(states)?, runs, heads)?;
        let attended = self.attended_norm.forward(&(self.attended.forward(&context)? + states)?)?;
        let inner = self.activation.apply(self.up.forward(&attended)?)?;
        self.norm.forward(&(self.down.forward(&inner)? + attended)?)
    }
}

/// Why weights could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadFailure {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the weights could not be laid out: {0}")]
    Layout(#[from] candle_core::Error),
}

impl LoadFailure {
    /// As an error of the model in `files`.
    pub(crate) fn at(self, files: &ModelFiles) -> Error {
        match self {
            Self::Source(error) => Error::Source(error),
            Self::Layout(_) => {
                Error::Checkpoint { place: files.place().to_owned(), reason: self.to_string() }
            }
        }
    }
}
