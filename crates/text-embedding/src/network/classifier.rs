//! The head of a cross-encoder: transformers' `BertForSequenceClassification` and `RobertaForSequenceClassification`.

use candle_core::{DType, Result, Tensor};
use model_source::SourceError;

use super::layers::{Linear, Reader};

/// How the head's tensors are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassifierKind {
    /// BERT's pooler, then `classifier`.
    Bert,
    /// `classifier.dense`, then `classifier.out_proj`.
    Roberta,
}

/// The head.
#[derive(Debug)]
pub(crate) struct Classifier {
    dense: Linear,
    out: Linear,
}

impl Classifier {
    /// Reads the head's weights; `prefix` is the encoder's.
    pub(crate) fn load(
        reader: &Reader<'_>,
        kind: ClassifierKind,
        prefix: &str,
        hidden: usize,
        labels: usize,
    ) -> std::result::Result<Self, SourceError> {
        let (dense, out) = match kind {
            ClassifierKind::Bert => (format!("{prefix}pooler.dense"), "classifier"),
            ClassifierKind::Roberta => ("classifier.dense".to_owned(), "classifier.out_proj"),
        };
        Ok(Self { dense: reader.linear(&dense, hidden, hidden)?, out: reader.linear(out, hidden, labels)? })
    }

    /// The scores of each sequence, from the first token's states: `rows` says where those are.
    pub(crate) fn forward(&self, states: &Tensor, rows: Vec<u32>) -> Result<Vec<Vec<f32>>> {
        let count = rows.len();
        let first = states.index_select(&Tensor::from_vec(rows, count, states.device())?, 0)?;
        let pooled = self.dense.forward(&first)?.tanh()?;
        self.out.forward(&pooled)?.to_dtype(DType::F32)?.to_vec2()
    }
}
