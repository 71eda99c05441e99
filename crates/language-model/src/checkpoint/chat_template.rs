use candle_core::quantized::gguf_file;
use generation::{ChatTemplate, TemplateError};
use model_source::{Gguf, LanguageTokenizer, ModelFiles};
use serde_json::{Map, Value, json};

use super::content_forms::ContentForms;
use super::stored::Stored;
use crate::error::Error;

/// Names under which a tokenizer's configuration has its special tokens, and templates read them.
const TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Where GGUF metadata has a template, and others by name behind a dot.
const KEY: &str = "tokenizer.chat_template";

/// A model's chat template, and what it reads besides the conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// `None`: it has none. An error: it has one that is no template.
    pub(crate) template: Result<Option<ChatTemplate>, TemplateError>,
    /// The names of special tokens.
    pub(crate) variables: Map<String, Value>,
    /// In which form it reads messages, where the model reads pictures.
    pub(crate) forms: ContentForms,
}

/// Finds the template: the one given; `chat_template.jinja`, `chat_template.json`, `tokenizer_config.json`, as transformers looks for it;
/// in a GGUF file, its metadata, and only then those beside it. `image_token`: what stands for a picture.
pub(super) fn read(
    files: &ModelFiles,
    stored: &Stored,
    tokenizer: &LanguageTokenizer,
    given: Option<String>,
    image_token: Option<&str>,
) -> Result<Conversation, Error> {
    let inside = match (given, stored) {
        (Some(template), _) => Some(template.into()),
        (None, Stored::Gguf(file)) => of_gguf(file)?,
        (None, Stored::Folder(_)) => None,
    };
    let found = match inside {
        Some(value) => Some(value),
        None => of_files(files)?,
    };
    let template: Result<Option<ChatTemplate>, _> =
        found.map_or(Ok(None), |value| ChatTemplate::of_config(&value));
    let variables = match stored {
        Stored::Gguf(_) => known_tokens(tokenizer),
        Stored::Folder(_) => named_tokens(files)?,
    };
    let forms = match (&template, image_token) {
        (Ok(Some(template)), Some(token)) => ContentForms::of(template, &variables, token),
        _ => ContentForms::default(),
    };
    Ok(Conversation { template, variables, forms })
}

fn of_files(files: &ModelFiles) -> Result<Option<Value>, Error> {
    if let Some(text) = files.text_if_any("chat_template.jinja")? {
        return Ok(Some(text.into()));
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        let config: Option<Map<String, Value>> = files.json_if_any(name)?;
        let template = config.and_then(|mut config| config.remove("chat_template"));
        if let Some(template) = template.filter(|template| !template.is_null()) {
            return Ok(Some(template));
        }
    }
    Ok(None)
}

fn of_gguf(file: &Gguf) -> Result<Option<Value>, Error> {
    let Some(default) = file.text(KEY)? else {
        return Ok(None);
    };
    let mut templates = vec![json!({"name": "default", "template": default})];
    for (key, value) in file.metadata() {
        if let (Some(name), gguf_file::Value::String(text)) =
            (key.strip_prefix("tokenizer.chat_template."), value)
        {
            templates.push(json!({"name": name, "template": text}));
        }
    }
    Ok(Some(templates.into()))
}

/// Special tokens by the names that the tokenizer's configuration gives them.
fn named_tokens(files: &ModelFiles) -> Result<Map<String, Value>, Error> {
    let mut variables = Map::new();
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let config: Map<String, Value> = files.json_if_any(name)?.unwrap_or_default();
        for token in TOKENS {
            // A text, or an object that also says how it is matched.
            let spelled = config.get(token).and_then(|value| value.get("content").unwrap_or(value).as_str());
            if let Some(spelled) = spelled {
                variables.entry(token).or_insert_with(|| spelled.into());
            }
        }
    }
    Ok(variables)
}

/// Special tokens by what they mean.
fn known_tokens(tokenizer: &LanguageTokenizer) -> Map<String, Value> {
    let special = tokenizer.special_tokens();
    let ids = [
        ("bos_token", special.bos),
        ("eos_token", special.eos),
        ("unk_token", special.unk),
        ("pad_token", special.pad),
    ];
    let spelled = ids.into_iter().filter_map(|(name, id)| {
        let bytes = tokenizer.token_bytes(id?)?;
        Some((name.to_owned(), Value::from(String::from_utf8_lossy(bytes))))
    });
    spelled.collect()
}
