//! The decoder of the Llama family: token ids and embeddings in, logits out, keys and values in the caller's cache.

mod attention;
mod batch;
mod config;
mod embedding;
mod feed_forward;
mod gguf;
mod huggingface;
mod layer;
mod norm;
mod rope;

use rayon::prelude::*;

pub use self::batch::{Rows, SequenceChunk, Span};
pub use self::config::{
    Activation, Architecture, Bias, DecoderConfig, LayerConfig, OutputHead, RopeConfig, RopePairs,
    RopeScaling,
};

use self::batch::Batch;
use self::embedding::Embedding;
use self::layer::Layer;
use self::norm::RmsNorm;
use self::rope::Rope;
use crate::cache::KvCache;
use crate::error::NnError;
use crate::linear::Linear;
use crate::matrix::Precision;
use crate::store::{Recorder, TensorStore};

/// A decoder's weights. They never change; the state of sequences is in a [`KvCache`].
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    embedding: Embedding,
    ropes: Vec<Rope>,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
}

/// Logits that one task caps.
const TASK: usize = 4096;

impl Decoder {
    /// Checks the configuration and loads the weights. Blocks.
    ///
    /// # Errors
    /// [`NnError::InvalidConfig`], [`NnError::Weights`] if a tensor is missing or has another shape than the configuration
    /// says, [`NnError::Unsupported`] if the layers have tensors that are not computed with.
    pub fn load(
        config: DecoderConfig,
        store: &dyn TensorStore,
        precision: Precision,
    ) -> Result<Self, NnError> {
        config.check()?;
        let recorder = Recorder::new(store);
        let store: &dyn TensorStore = &recorder;
        let embedding = Embedding::load(&config, store, precision)?;
        let ropes = Rope::load_all(&config, store)?;
        let layers = (0..config.layers.len())
            .map(|number| Layer::load(&config, number, store, precision))
            .collect::<Result<_, _>>()?;
        let norm = RmsNorm::load(&config, store, "model.norm.weight", config.hidden_size)?;
        let tied = match config.output {
            OutputHead::Tied => true,
            OutputHead::Separate => false,
            OutputHead::AsStored => !store.contains("lm_head.weight"),
        };
        let head = match tied {
            true => Linear::tied(embedding.matrix()),
            false => {
                let shape = (config.vocab_size, config.hidden_size);
                Linear::load(store, "lm_head", shape, false, precision)?
            }
        };
        recorder.refuse_unread(config.layers.len())?;
        Ok(Self { config, embedding, ropes, layers, norm, head })
    }

    /// What it computes.
    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Advances sequences: puts the keys and values of all inputs into their blocks, and returns the logits that the chunks
    /// ask for, row by row in the order of the chunks, each of `vocab_size` numbers.
    ///
    /// Sequences are neither padded nor mixed: their rows share the matrix products, and each attends to its own blocks.
    ///
    /// # Errors
    /// [`NnError::InvalidCall`] if a chunk does not fit the model or the cache, before anything is written.
    pub fn forward(&self, chunks: &[SequenceChunk<'_>], cache: &mut KvCache) -> Result<Vec<f32>, NnError> {
        let batch = Batch::new(chunks, &self.config, cache)?;
        let mut hidden = self.embedding.rows(chunks)?;
        let rotations: Vec<_> = self.ropes.iter().map(|rope| rope.rotations(batch.positions())).collect();
        for (number, layer) in self.layers.iter().enumerate() {
            let rotation = &rotations[self.config.layers[number].rope];
            layer.advance(&mut hidden, &batch, rotation, cache.layer_mut(number))?;
        }
        self.logits(&batch.logit_rows(&hidden, self.config.hidden_size))
    }

    fn logits(&self, hidden: &[f32]) -> Result<Vec<f32>, NnError> {
        // An error here goes straight into what is drawn.
        let mut logits = self.head.apply_compensated(&self.norm.apply(hidden))?;
        if let Some(cap) = self.config.logit_soft_cap {
            logits.par_chunks_mut(TASK).for_each(|logits| {
                logits.iter_mut().for_each(|logit| *logit = cap * (*logit / cap).tanh());
            });
        }
        Ok(logits)
    }
}
