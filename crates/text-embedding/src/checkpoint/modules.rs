//! `modules.json` and the modules' own configuration, as sentence-transformers reads them.

use std::collections::BTreeMap;

use model_source::ModelFiles;
use serde::Deserialize;
use serde_json::Value;

use super::{contradiction, unsupported};
use crate::error::Error;
use crate::info::Pooling;
use crate::network::{Activation, DenseConfig};

/// A module of a model.
#[derive(Clone, Debug)]
pub(super) enum Module {
    Transformer(ModelFiles),
    StaticEmbedding(ModelFiles),
    Pooling(PoolingConfig),
    Dense(ModelFiles, DenseConfig),
    Normalize,
}

/// How token vectors become one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PoolingConfig {
    /// Where it stands, for messages.
    pub(super) label: String,
    pub(super) modes: Vec<Pooling>,
    /// Whether the prompt's tokens are pooled with the rest.
    pub(super) include_prompt: bool,
    /// Components of a token's vector, if it says.
    pub(super) dimensions: Option<usize>,
}

impl Default for PoolingConfig {
    fn default() -> Self {
        Self { label: String::new(), modes: vec![Pooling::Mean], include_prompt: true, dimensions: None }
    }
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// The modules in order; `None` if there is no `modules.json`.
pub(super) fn read(files: &ModelFiles) -> Result<Option<Vec<Module>>, Error> {
    let Some(entries) = files.json_if_any::<Vec<Entry>>("modules.json")? else {
        return Ok(None);
    };
    let label = format!("{}/modules.json", files.place());
    let mut modules = Vec::with_capacity(entries.len());
    for Entry { path, kind } in entries {
        let folder = files.folder(&path);
        let class = kind.rsplit('.').next().unwrap_or(&kind);
        // Modules from outside the library come with code of their own, whatever their name.
        let known = if kind.starts_with("sentence_transformers.") { class } else { "" };
        modules.push(match known {
            "Transformer" => Module::Transformer(folder),
            "StaticEmbedding" => Module::StaticEmbedding(folder),
            "Pooling" => Module::Pooling(pooling(&folder)?),
            "Dense" => {
                let config = dense(&folder)?;
                Module::Dense(folder, config)
            }
            "Normalize" => Module::Normalize,
            // Does nothing but in training.
            "Dropout" => continue,
            _ => {
                let supported =
                    "supported are Transformer, Pooling, Dense, Normalize, Dropout and StaticEmbedding";
                return Err(unsupported(label, format!("module type {kind:?}"), supported));
            }
        });
    }
    Ok(Some(modules))
}

/// The modes in the order in which their vectors are put together, with their flags of earlier versions.
const MODES: [(&str, &str, Pooling); 6] = [
    ("cls", "pooling_mode_cls_token", Pooling::Cls),
    ("max", "pooling_mode_max_tokens", Pooling::Max),
    ("mean", "pooling_mode_mean_tokens", Pooling::Mean),
    ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", Pooling::MeanSqrtLen),
    ("weightedmean", "pooling_mode_weightedmean_tokens", Pooling::WeightedMean),
    ("lasttoken", "pooling_mode_lasttoken", Pooling::LastToken),
];

#[derive(Deserialize)]
struct RawPooling {
    #[serde(alias = "word_embedding_dimension")]
    embedding_dimension: Option<usize>,
    pooling_mode: Option<OneOrMore>,
    #[serde(default = "yes")]
    include_prompt: bool,
    #[serde(flatten)]
    flags: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

fn yes() -> bool {
    true
}

fn pooling(files: &ModelFiles) -> Result<PoolingConfig, Error> {
    let label = files.require("config.json")?.label().to_owned();
    let raw: RawPooling = files.json("config.json")?;
    let unknown = |name: &str| {
        let known: Vec<&str> = MODES.iter().map(|(name, ..)| *name).collect();
        unsupported(
            label.clone(),
            format!("pooling mode {name:?}"),
            format!("supported are {}", known.join(", ")),
        )
    };
    let modes = match raw.pooling_mode {
        Some(given) => {
            let names = match given {
                OneOrMore::One(name) => vec![name],
                OneOrMore::More(names) => names,
            };
            let mode = |name: &String| MODES.iter().find(|(known, ..)| known == name).map(|(.., mode)| *mode);
            names.iter().map(|name| mode(name).ok_or_else(|| unknown(name))).collect::<Result<Vec<_>, _>>()?
        }
        None => {
            let is_on = |flag: &str| raw.flags.get(flag).is_some_and(|value| value == true);
            let strange = |flag: &&String| {
                flag.starts_with("pooling_mode_") && MODES.iter().all(|(_, known, _)| known != flag)
            };
            if let Some(flag) = raw.flags.keys().filter(|flag| is_on(flag)).find(strange) {
                return Err(unknown(flag));
            }
            MODES.iter().filter(|(_, flag, _)| is_on(flag)).map(|(.., mode)| *mode).collect()
        }
    };
    let modes = if modes.is_empty() { vec![Pooling::Mean] } else { modes };
    Ok(PoolingConfig {
        label,
        modes,
        include_prompt: raw.include_prompt,
        dimensions: raw.embedding_dimension,
    })
}

#[derive(Deserialize)]
struct RawDense {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: Option<String>,
    module_input_name: Option<String>,
    module_output_name: Option<String>,
    #[serde(default)]
    use_residual: bool,
}

fn dense(files: &ModelFiles) -> Result<DenseConfig, Error> {
    let label = files.require("config.json")?.label().to_owned();
    let raw: RawDense = files.json("config.json")?;
    let activation = match raw.activation_function.as_deref() {
        None => Activation::Tanh,
        Some(path) => Activation::of_torch(path).ok_or_else(|| {
            let supported = "supported are torch's Identity, Tanh, ReLU, GELU, SiLU and Sigmoid";
            unsupported(&*label, format!("activation_function {path:?}"), supported)
        })?,
    };
    for (field, name) in
        [("module_input_name", raw.module_input_name), ("module_output_name", raw.module_output_name)]
    {
        if let Some(name) = name.filter(|name| name != "sentence_embedding") {
            return Err(unsupported(label, format!("{field} {name:?}"), "only sentence_embedding is"));
        }
    }
    if raw.use_residual {
        return Err(unsupported(label, "use_residual true", "only layers without it are"));
    }
    if raw.in_features == 0 || raw.out_features == 0 {
        return Err(contradiction(label, "in_features and out_features must be at least 1"));
    }
    Ok(DenseConfig { inputs: raw.in_features, outputs: raw.out_features, bias: raw.bias, activation })
}
