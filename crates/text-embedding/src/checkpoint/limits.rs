//! How much of a text a model reads, and what its tokenizer is told besides `tokenizer.json`.

use model_source::ModelFiles;
use serde::Deserialize;
use serde_json::Value;
use tokenizers::normalizers::{BertNormalizer, Lowercase, Sequence};
use tokenizers::{NormalizerWrapper, Tokenizer, TruncationDirection};

use super::bert_config::Architecture;
use super::{contradiction, unsupported};
use crate::error::Error;
use crate::tokenize::{Limits, Side, TextTokenizer};

/// Names under which sentence-transformers has kept a transformer's settings.
const SETTINGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// A transformer module's settings.
#[derive(Default, Deserialize)]
struct Settings {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
    transformer_task: Option<String>,
    query_length: Option<Value>,
    document_length: Option<Value>,
    query_expansion: Option<Value>,
    processing_kwargs: Option<Value>,
}

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    /// A number past all bounds where there is no limit.
    model_max_length: Option<f64>,
    truncation_side: Option<String>,
    tokenizer_class: Option<String>,
    model_input_names: Option<Vec<String>>,
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
}

/// The tokenizer of a transformer module; `task` is what the module must be for.
pub(super) fn tokenizer(
    files: &ModelFiles,
    architecture: &Architecture,
    task: &str,
) -> Result<TextTokenizer, Error> {
    let settings = settings(files, task)?;
    let config: TokenizerConfig = files.json_if_any("tokenizer_config.json")?.unwrap_or_default();
    let label = files.require("tokenizer.json")?.label().to_owned();
    let mut tokenizer = files.tokenizer()?;
    let side = side(&tokenizer, &config, files)?;
    obey_config(&mut tokenizer, &config).map_err(|reason| contradiction(&*label, reason))?;
    if settings.do_lower_case {
        lower_case(&mut tokenizer).map_err(|reason| contradiction(&*label, reason))?;
    }
    let positions = architecture.bert.longest();
    let own = config.model_max_length.filter(|length| *length < 1e9).map(|length| length as usize);
    let limits = Limits {
        tokens: Some(settings.max_seq_length.or(own).unwrap_or(positions).min(positions)),
        side,
        special: true,
        types: config.model_input_names.is_none_or(|names| names.iter().any(|name| name == "token_type_ids")),
        vocabulary: architecture.bert.vocabulary,
        ..Limits::default()
    };
    let tokenizer =
        TextTokenizer::new(tokenizer, limits, None).map_err(|reason| contradiction(&*label, reason))?;
    let types = architecture.bert.types;
    if tokenizer.largest_type() as usize >= types {
        let reason = format!("gives tokens the type {}, the model has {types}", tokenizer.largest_type());
        return Err(contradiction(label, reason));
    }
    Ok(tokenizer)
}

fn settings(files: &ModelFiles, task: &str) -> Result<Settings, Error> {
    let Some(name) = SETTINGS.iter().find(|name| files.get(name).is_some()) else {
        return Ok(Settings::default());
    };
    let settings: Settings = files.json(name)?;
    let label = format!("{}/{name}", files.place());
    if let Some(other) = settings.transformer_task.as_deref().filter(|given| *given != task) {
        return Err(unsupported(label, format!("transformer_task {other:?}"), format!("only {task} is")));
    }
    let empty = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    let others = [
        ("query_length", &settings.query_length),
        ("document_length", &settings.document_length),
        ("query_expansion", &settings.query_expansion),
        ("processing_kwargs", &settings.processing_kwargs),
    ];
    match others.iter().find(|(_, value)| value.as_ref().is_some_and(|value| !empty(value))) {
        Some((field, _)) => Err(unsupported(label, *field, "use a model without it")),
        None => Ok(settings),
    }
}

fn side(tokenizer: &Tokenizer, config: &TokenizerConfig, files: &ModelFiles) -> Result<Side, Error> {
    match config.truncation_side.as_deref() {
        Some("left") => Ok(Side::Left),
        Some("right") => Ok(Side::Right),
        Some(other) => {
            let label = format!("{}/tokenizer_config.json", files.place());
            Err(unsupported(label, format!("truncation_side {other:?}"), "only left and right are"))
        }
        None => Ok(match tokenizer.get_truncation().map(|truncation| truncation.direction) {
            Some(TruncationDirection::Left) => Side::Left,
            _ => Side::Right,
        }),
    }
}

/// transformers makes a BERT tokenizer's normalizer from `tokenizer_config.json`, whatever `tokenizer.json` says of it.
fn obey_config(tokenizer: &mut Tokenizer, config: &TokenizerConfig) -> Result<(), String> {
    if !matches!(config.tokenizer_class.as_deref(), Some("BertTokenizer" | "BertTokenizerFast")) {
        return Ok(());
    }
    let mut normalizer = BertNormalizer::default();
    normalizer.lowercase = config.do_lower_case.unwrap_or(true);
    normalizer.handle_chinese_chars = config.tokenize_chinese_chars.unwrap_or(true);
    normalizer.strip_accents = config.strip_accents;
    tokenizer.with_normalizer(Some(normalizer)).map_err(|error| error.to_string())?;
    Ok(())
}

/// Puts lower-casing before everything else, unless it is there already.
fn lower_case(tokenizer: &mut Tokenizer) -> Result<(), String> {
    let has = |step: &NormalizerWrapper| matches!(step, NormalizerWrapper::Lowercase(_));
    let mut steps = vec![NormalizerWrapper::Lowercase(Lowercase)];
    match tokenizer.get_normalizer() {
        Some(NormalizerWrapper::Sequence(sequence)) => steps.extend(sequence.as_ref().iter().cloned()),
        Some(other) => steps.push(other.clone()),
        None => {}
    }
    if steps[1..].iter().any(has) {
        return Ok(());
    }
    tokenizer.with_normalizer(Some(Sequence::new(steps))).map_err(|error| error.to_string())?;
    Ok(())
}
