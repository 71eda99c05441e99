//! `config.json` of BERT and its kin, as transformers reads it.

use std::collections::BTreeMap;

use model_source::ModelFiles;
use serde::Deserialize;
use serde_json::Value;

use super::{contradiction, unsupported};
use crate::error::Error;
use crate::network::{Activation, BertConfig};

/// What other architectures are told.
const SUPPORTED: &str = "supported are bert, roberta, xlm-roberta, camembert and static models";

/// The fields that matter. What is absent has the default of transformers' `BertConfig`.
#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default = "defaults::vocab_size")]
    vocab_size: usize,
    #[serde(default = "defaults::hidden_size")]
    hidden_size: usize,
    #[serde(default = "defaults::twelve")]
    num_hidden_layers: usize,
    #[serde(default = "defaults::twelve")]
    num_attention_heads: usize,
    #[serde(default = "defaults::intermediate_size")]
    intermediate_size: usize,
    #[serde(default = "defaults::hidden_act")]
    hidden_act: Value,
    #[serde(default = "defaults::max_position_embeddings")]
    max_position_embeddings: usize,
    #[serde(default = "defaults::type_vocab_size")]
    type_vocab_size: usize,
    #[serde(default = "defaults::layer_norm_eps")]
    layer_norm_eps: f64,
    #[serde(default)]
    pad_token_id: Option<usize>,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    add_cross_attention: bool,
    #[serde(default)]
    quantization_config: Option<Value>,
    #[serde(default)]
    pruned_heads: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    num_labels: Option<usize>,
    #[serde(default)]
    id2label: Option<BTreeMap<String, Value>>,
}

mod defaults {
    use serde_json::Value;

    pub(super) fn vocab_size() -> usize {
        30_522
    }
    pub(super) fn hidden_size() -> usize {
        768
    }
    pub(super) fn twelve() -> usize {
        12
    }
    pub(super) fn intermediate_size() -> usize {
        3072
    }
    pub(super) fn hidden_act() -> Value {
        "gelu".into()
    }
    pub(super) fn max_position_embeddings() -> usize {
        512
    }
    pub(super) fn type_vocab_size() -> usize {
        2
    }
    pub(super) fn layer_norm_eps() -> f64 {
        1e-12
    }
}

/// Which of the kin it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Bert,
    Roberta,
}

/// A checked `config.json`.
#[derive(Clone, Debug)]
pub(super) struct Architecture {
    pub(super) family: Family,
    pub(super) bert: BertConfig,
    /// Whether the checkpoint says that it has a classifier.
    pub(super) classifies: bool,
    pub(super) labels: usize,
}

impl Architecture {
    pub(super) fn read(files: &ModelFiles) -> Result<Self, Error> {
        let label = files.require("config.json")?.label().to_owned();
        let raw: Raw = files.config()?;
        let family = match raw.model_type.as_deref() {
            Some("bert") => Family::Bert,
            Some("roberta" | "xlm-roberta" | "camembert") => Family::Roberta,
            Some(other) => return Err(unsupported(label, format!("model_type {other:?}"), SUPPORTED)),
            None => {
                return Err(contradiction(label, "has no model_type, so the architecture is unknown"));
            }
        };
        raw.refuse(&label)?;
        let architectures = raw.architectures.as_deref().unwrap_or_default();
        Ok(Self {
            family,
            classifies: architectures.iter().any(|name| name.ends_with("ForSequenceClassification")),
            // As transformers: two labels unless the configuration names them.
            labels: raw.id2label.as_ref().map(BTreeMap::len).or(raw.num_labels).unwrap_or(2),
            bert: raw.config(family, &label)?,
        })
    }
}

impl Raw {
    /// Refuses what would change the mathematics.
    fn refuse(&self, label: &str) -> Result<(), Error> {
        let refuse = |what: String, supported: &str| Err(unsupported(label, what, supported));
        match self.position_embedding_type.as_deref() {
            None | Some("absolute") => {}
            Some(other) => return refuse(format!("position_embedding_type {other:?}"), "only absolute is"),
        }
        if self.is_decoder {
            return refuse("is_decoder true".to_owned(), "only encoders are");
        }
        if self.add_cross_attention {
            return refuse("add_cross_attention true".to_owned(), "only encoders without it are");
        }
        if self.quantization_config.as_ref().is_some_and(|config| !config.is_null()) {
            return refuse("quantization_config".to_owned(), "use the unquantised checkpoint");
        }
        if self.pruned_heads.as_ref().is_some_and(|heads| !heads.is_empty()) {
            return refuse("pruned_heads".to_owned(), "use an unpruned checkpoint");
        }
        Ok(())
    }

    fn config(&self, family: Family, label: &str) -> Result<BertConfig, Error> {
        let activation = self.hidden_act.as_str().and_then(Activation::of_transformers).ok_or_else(|| {
            let supported = "supported are gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu and tanh";
            unsupported(label, format!("hidden_act {}", self.hidden_act), supported)
        })?;
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(contradiction(label, format!("{name} is 0, it must be at least 1")));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(contradiction(
                label,
                format!(
                    "hidden_size {} is not a multiple of num_attention_heads {}",
                    self.hidden_size, self.num_attention_heads
                ),
            ));
        }
        let first_position = match family {
            Family::Bert => 0,
            // RoBERTa's padding token is 1 unless told otherwise; positions begin behind it.
            Family::Roberta => self.pad_token_id.unwrap_or(1).saturating_add(1),
        };
        let config = BertConfig {
            vocabulary: self.vocab_size,
            hidden: self.hidden_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            intermediate: self.intermediate_size,
            activation,
            positions: self.max_position_embeddings,
            first_position,
            types: self.type_vocab_size,
            eps: self.layer_norm_eps,
        };
        if config.longest() == 0 {
            let reason =
                format!("max_position_embeddings {} leaves no position for a token", config.positions);
            return Err(contradiction(label, reason));
        }
        Ok(config)
    }
}
