//! A text tower's weights, and how texts pass it.

use super::config::{TextArchitecture, TextPooling, TextTowerConfig};
use super::pass::TextPass;
use crate::encoder::{Encoder, PackedLinear, TowerOutputs, table};
use crate::error::NnError;
use crate::matrix::{Matrix, Precision};
use crate::store::{Recorder, TensorStore};
use crate::vector::add;

/// A text tower. Its weights never change and are shared; the state of texts is in a [`TextPass`].
#[derive(Debug)]
pub struct TextTower {
    config: TextTowerConfig,
    outputs: TowerOutputs,
    tokens: Matrix,
    positions: Vec<f32>,
    encoder: Encoder,
    projection: Option<PackedLinear>,
}

/// What names of the tower's tensors begin with when a store is asked for them.
const TOWER: &str = "text_model.";

impl TextTower {
    /// Checks the configuration and loads the weights that are needed for what is wanted: no layer behind the last one that
    /// is asked for. Blocks.
    ///
    /// Tensors are asked for by transformers' names, `text_model.` before those of the tower, and `text_projection.weight`.
    ///
    /// # Errors
    /// [`NnError::InvalidConfig`], [`NnError::Weights`] if a tensor is missing or has another shape than the configuration
    /// says, [`NnError::Unsupported`] if the tower has tensors that are not computed with.
    pub fn load(
        config: TextTowerConfig,
        store: &dyn TensorStore,
        outputs: TowerOutputs,
    ) -> Result<Self, NnError> {
        config.check()?;
        let layers = outputs.layers_of(config.layers)?;
        let recorder = Recorder::new(store);
        let width = config.hidden_size;
        let name = |name: &str| format!("{TOWER}embeddings.{name}.weight");
        // The largest by far: kept as it was read, not in a copy.
        let shape = (config.vocab_size, width);
        let tokens = Matrix::load(&recorder, &name("token_embedding"), shape, Precision::default())?;
        let positions = table(&recorder, &name("position_embedding"), (config.positions, width))?;
        let encoder =
            Encoder::load(&config.encoder(), &outputs, config.layers, &recorder, TOWER, "final_layer_norm")?;
        let projection =
            config.projection.filter(|_| outputs.embedding).map(|size| match config.architecture {
                TextArchitecture::Clip => {
                    PackedLinear::load(&recorder, "text_projection", (size, width), false)
                }
                TextArchitecture::Siglip => {
                    PackedLinear::load(&recorder, &format!("{TOWER}head"), (size, width), true)
                }
            });
        let projection = projection.transpose()?;
        recorder.refuse_unread(layers)?;
        Ok(Self { config, outputs, tokens, positions, encoder, projection })
    }

    /// What it computes.
    #[must_use]
    pub fn config(&self) -> &TextTowerConfig {
        &self.config
    }

    /// What it was loaded for.
    #[must_use]
    pub fn outputs(&self) -> &TowerOutputs {
        &self.outputs
    }

    /// Texts at the beginning of their way, each a list of token ids with whatever belongs at its ends.
    ///
    /// Texts are neither padded nor mixed. Where padding is part of what was trained it belongs to the ids: SigLIP's texts
    /// are padded to `positions`. CLIP's need none: a token sees only those before it.
    ///
    /// # Errors
    /// [`NnError::InvalidCall`] for a text without tokens or with more than there are positions, a token that there is no
    /// embedding for, or a text without the token that stands for it.
    pub fn begin(&self, texts: &[&[u32]]) -> Result<TextPass, NnError> {
        let width = self.config.hidden_size;
        let mut rows = Vec::with_capacity(texts.iter().map(|text| text.len()).sum::<usize>() * width);
        for text in texts {
            self.check(text)?;
            rows.extend(self.tokens.rows(text)?);
            let first = rows.len() - text.len() * width;
            add(&mut rows[first..], &self.positions[..text.len() * width]);
        }
        let pooled = match self.outputs.embedding {
            true => texts.iter().map(|text| self.config.pooling.row(text)).collect::<Result<_, _>>()?,
            false => vec![0; texts.len()],
        };
        let run = self.encoder.start(rows, texts.iter().map(|text| text.len()).collect());
        Ok(TextPass { run, pooled, embeddings: vec![Vec::new(); texts.len()] })
    }

    /// Computes piece by piece, at least one, until all is done (true) or `go_on`, which is asked between pieces, says to
    /// stop (false). The results are the same to the last bit wherever it paused, and whatever other texts are in the pass.
    /// Blocks.
    ///
    /// A pass belongs to the tower that began it; with another one's it may panic.
    pub fn advance(&self, pass: &mut TextPass, go_on: &mut dyn FnMut() -> bool) -> bool {
        if !self.encoder.advance(&mut pass.run, go_on) {
            return false;
        }
        if !self.outputs.embedding {
            return true;
        }
        let width = self.config.hidden_size;
        let mut start = 0;
        let mut rows = Vec::with_capacity(pass.pooled.len() * width);
        for (row, length) in pass.pooled.iter().zip(pass.run.lengths()) {
            rows.extend_from_slice(&pass.run.rows()[(start + row) * width..][..width]);
            start += length;
        }
        let pooled = self.encoder.normed(&rows);
        let projected = self.projection.as_ref().map_or_else(|| pooled.clone(), |map| map.apply(&pooled));
        let size = self.config.embedding_size();
        pass.embeddings = projected.chunks_exact(size).map(<[f32]>::to_vec).collect();
        true
    }

    fn check(&self, text: &[u32]) -> Result<(), NnError> {
        if text.is_empty() || text.len() > self.config.positions {
            return Err(NnError::InvalidCall(format!(
                "a text has {} tokens, it must have 1 to {}",
                text.len(),
                self.config.positions
            )));
        }
        match text.iter().find(|token| **token as usize >= self.config.vocab_size) {
            None => Ok(()),
            Some(token) => Err(NnError::InvalidCall(format!(
                "the token {token} has no embedding: there are {}",
                self.config.vocab_size
            ))),
        }
    }
}

impl TextPooling {
    fn row(self, text: &[u32]) -> Result<usize, NnError> {
        match self {
            Self::Last => Ok(text.len() - 1),
            Self::LargestToken => {
                let largest = text.iter().max();
                Ok(text.iter().position(|token| Some(token) == largest).unwrap_or(0))
            }
            Self::FirstOf(end) => text.iter().position(|token| *token == end).ok_or_else(|| {
                NnError::InvalidCall(format!(
                    "the text does not have the token {end}, whose row stands for it"
                ))
            }),
        }
    }
}
