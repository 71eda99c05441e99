//! What the first layer sees: embeddings of token ids, and rows that are embeddings already.

use std::sync::Arc;

use super::batch::{SequenceChunk, Span};
use super::config::DecoderConfig;
use crate::error::NnError;
use crate::matrix::{Matrix, Precision};
use crate::store::TensorStore;

/// The table of token embeddings.
#[derive(Debug)]
pub(super) struct Embedding {
    table: Arc<Matrix>,
    scale: f32,
}

impl Embedding {
    pub(super) fn load(
        config: &DecoderConfig,
        store: &dyn TensorStore,
        precision: Precision,
    ) -> Result<Self, NnError> {
        let stored = store.matrix("model.embed_tokens.weight", (config.vocab_size, config.hidden_size))?;
        Ok(Self { table: Arc::new(Matrix::new(stored, precision)?), scale: config.embedding_scale })
    }

    /// The table, for a head that is tied to it.
    pub(super) fn matrix(&self) -> Arc<Matrix> {
        Arc::clone(&self.table)
    }

    /// One row for each input of each chunk. Embeddings are taken as they are: only those of tokens are scaled.
    pub(super) fn rows(&self, chunks: &[SequenceChunk<'_>]) -> Result<Vec<f32>, NnError> {
        let mut rows = Vec::new();
        for span in chunks.iter().flat_map(|chunk| chunk.inputs) {
            match span {
                Span::Tokens(tokens) => {
                    let mut embedded = self.table.rows(tokens)?;
                    crate::vector::scale(&mut embedded, self.scale);
                    rows.extend(embedded);
                }
                Span::Embeddings(embeddings) => rows.extend(embeddings.flatten_all()?.to_vec1::<f32>()?),
            }
        }
        Ok(rows)
    }
}
