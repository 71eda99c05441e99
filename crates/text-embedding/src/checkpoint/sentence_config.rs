//! `config_sentence_transformers.json`, and what in `config.json` belongs to sentence-transformers.

use std::collections::BTreeMap;

use model_source::ModelFiles;
use serde::Deserialize;

use super::{contradiction, unsupported};
use crate::error::Error;
use crate::info::Similarity;
use crate::network::Activation;

/// Its name.
const FILE: &str = "config_sentence_transformers.json";

/// What is kept of an embedding model as a whole.
#[derive(Default, Deserialize)]
struct Raw {
    model_type: Option<String>,
    prompts: Option<BTreeMap<String, String>>,
    default_prompt_name: Option<String>,
    similarity_fn_name: Option<String>,
    truncate_dim: Option<usize>,
    activation_fn: Option<String>,
}

/// The parts of `config.json` that say what a model is for.
#[derive(Default, Deserialize)]
struct Transformers {
    #[serde(default)]
    architectures: Option<Vec<String>>,
    sentence_transformers: Option<CrossEncoderEntry>,
    sbert_ce_default_activation_function: Option<String>,
}

#[derive(Deserialize)]
struct CrossEncoderEntry {
    activation_fn: Option<String>,
}

/// Checked settings of an embedding model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SentenceConfig {
    pub(super) prompts: BTreeMap<String, String>,
    pub(super) default_prompt: Option<String>,
    pub(super) similarity: Similarity,
    pub(super) truncate_dim: Option<usize>,
}

/// Whether a folder holds a cross-encoder rather than an embedding model. Blocks.
pub(crate) fn is_cross_encoder(files: &ModelFiles) -> Result<bool, Error> {
    let own: Raw = files.json_if_any(FILE)?.unwrap_or_default();
    if let Some(kind) = own.model_type {
        return Ok(kind == "CrossEncoder");
    }
    if files.get("modules.json").is_some() {
        return Ok(false);
    }
    let config: Transformers = files.json_if_any("config.json")?.unwrap_or_default();
    let architectures = config.architectures.unwrap_or_default();
    Ok(architectures.iter().any(|name| name.ends_with("ForSequenceClassification")))
}

/// The settings of an embedding model.
pub(super) fn read(files: &ModelFiles) -> Result<SentenceConfig, Error> {
    let raw: Raw = files.json_if_any(FILE)?.unwrap_or_default();
    let label = format!("{}/{FILE}", files.place());
    match raw.model_type.as_deref() {
        None | Some("SentenceTransformer") => {}
        Some("CrossEncoder") => {
            return Err(unsupported(files.place(), "embedding with a cross-encoder", "use it to rerank"));
        }
        Some(other) => {
            return Err(unsupported(label, format!("model_type {other:?}"), "only SentenceTransformer is"));
        }
    }
    let prompts = raw.prompts.unwrap_or_default();
    if let Some(name) = raw.default_prompt_name.as_ref().filter(|name| !prompts.contains_key(*name)) {
        return Err(contradiction(label, format!("default_prompt_name {name:?} is none of its prompts")));
    }
    let similarity = match raw.similarity_fn_name.as_deref() {
        None | Some("cosine") => Similarity::Cosine,
        Some("dot") => Similarity::Dot,
        Some("euclidean") => Similarity::Euclidean,
        Some("manhattan") => Similarity::Manhattan,
        Some(other) => {
            let supported = "supported are cosine, dot, euclidean and manhattan";
            return Err(unsupported(label, format!("similarity_fn_name {other:?}"), supported));
        }
    };
    if raw.truncate_dim == Some(0) {
        return Err(contradiction(label, "truncate_dim is 0, it must be at least 1"));
    }
    Ok(SentenceConfig {
        prompts,
        default_prompt: raw.default_prompt_name,
        similarity,
        truncate_dim: raw.truncate_dim,
    })
}

/// What is applied to a cross-encoder's scores: what its configuration names, else the sigmoid where there is one label.
pub(super) fn score_activation(
    files: &ModelFiles,
    transformer: &ModelFiles,
    labels: usize,
) -> Result<Activation, Error> {
    let own: Raw = files.json_if_any(FILE)?.unwrap_or_default();
    let label = format!("{}/{FILE}", files.place());
    if let Some(name) = own.default_prompt_name {
        return Err(unsupported(
            label,
            format!("default_prompt_name {name:?} of a cross-encoder"),
            "use a model without it",
        ));
    }
    let config: Transformers = transformer.config()?;
    let named = own.activation_fn;
    let named = named.or(config.sentence_transformers.and_then(|entry| entry.activation_fn));
    match named.or(config.sbert_ce_default_activation_function) {
        None if labels == 1 => Ok(Activation::Sigmoid),
        None => Ok(Activation::Identity),
        Some(path) => Activation::of_torch(&path)
            .filter(|activation| !matches!(activation, Activation::Gelu | Activation::GeluTanh))
            .ok_or_else(|| {
                let supported = "supported are torch's Identity, Sigmoid, Tanh, ReLU and SiLU";
                unsupported(files.place(), format!("activation_fn {path:?}"), supported)
            }),
    }
}
