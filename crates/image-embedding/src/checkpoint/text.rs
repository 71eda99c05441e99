//! The side that reads texts: its tower's configuration, and a tokenizer that makes what the tower was trained on.

use candle_core::Device;
use model_source::{ModelFiles, Weights};
use nn::{TextArchitecture, TextTowerConfig, TowerStore};
use serde_json::Value;
use tokenizers::{Tokenizer, TruncationDirection, TruncationParams};

use super::at;
use crate::error::Error;

/// Texts of more bytes are refused: of any of them, less than a hundredth would be read.
const LONGEST: usize = 64 << 10;

/// A text tower's configuration and its tokenizer.
#[derive(Debug)]
pub(crate) struct TextSide {
    pub(crate) config: TextTowerConfig,
    tokenizer: Tokenizer,
    /// What comes before the tokenizer, where the model's own class does something.
    cleaning: Cleaning,
    /// What SigLIP's texts are filled up with.
    padding: Option<u32>,
}

/// What transformers' tokenizer classes do with a text before it is tokenised, and `tokenizer.json` does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cleaning {
    Nothing,
    /// `Siglip2Tokenizer`.
    LowerCase,
    /// `SiglipTokenizer`: no ASCII punctuation, single spaces, and lower case if it is to be.
    Canonical {
        lower_case: bool,
    },
}

impl TextSide {
    /// Reads what there is; the inner error says why texts cannot be read, of a model that may be used without.
    pub(crate) fn read(
        files: &ModelFiles,
        config: &Value,
        place: &str,
    ) -> Result<Result<Self, String>, Error> {
        let model_type = config["model_type"].as_str().unwrap_or_default();
        if !matches!(model_type, "clip" | "siglip") {
            return Ok(Err(format!("a {model_type} model sees pictures only; texts need CLIP or SigLIP")));
        }
        let config = TextTowerConfig::from_huggingface(config).map_err(at(place))?;
        let builder = Weights::open(files)?.var_builder(candle_core::DType::F32, &Device::Cpu);
        TowerStore::text(builder).map_err(at(files.place()))?;
        if files.get("tokenizer.json").is_none() {
            let reason = "the checkpoint has no tokenizer.json, without which it reads no texts; \
                          save its tokenizer anew with transformers";
            return Ok(Err(reason.to_owned()));
        }
        let label = files.require("tokenizer.json")?.label().to_owned();
        let mut tokenizer = files.tokenizer()?;
        let settings: Value = files.json_if_any("tokenizer_config.json")?.unwrap_or_default();
        let truncation = TruncationParams {
            max_length: config.positions,
            direction: TruncationDirection::Right,
            ..TruncationParams::default()
        };
        let wrong = |reason: String| Error::Checkpoint { place: label.clone(), reason };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| wrong(error.to_string()))?;
        tokenizer.with_padding(None);
        let size = tokenizer.get_vocab_size(true);
        if size > config.vocab_size {
            let reason = format!("has {size} tokens, the model has embeddings for {}", config.vocab_size);
            return Err(wrong(reason));
        }
        let siglip = config.architecture == TextArchitecture::Siglip;
        if siglip {
            refuse_mask(files, &settings)?;
        }
        let padding = match siglip {
            true => Some(padding(&tokenizer, &settings).ok_or_else(|| {
                wrong("SigLIP's texts are padded, and no pad token is named beside it".to_owned())
            })?),
            false => None,
        };
        Ok(Ok(Self { cleaning: Cleaning::of(&settings), config, tokenizer, padding }))
    }

    /// What the tower reads; the error says what is wrong with the text.
    pub(crate) fn tokens(&self, text: &str) -> Result<Vec<u32>, String> {
        let cleaned = self.cleaning.apply(text);
        let encoding = self.tokenizer.encode_fast(cleaned.as_str(), true);
        let encoding = encoding.map_err(|error| format!("the text cannot be tokenised: {error}"))?;
        let mut tokens = encoding.get_ids().to_vec();
        if let Some(padding) = self.padding {
            tokens.resize(self.config.positions, padding);
        }
        Ok(tokens)
    }

    /// Refuses a text that is longer than any that makes sense, and guesses at the tokens of others.
    pub(crate) fn estimate(&self, text: &str) -> Result<u64, Error> {
        if text.len() > LONGEST {
            return Err(Error::invalid(format!(
                "the text has {} bytes; at most {LONGEST} are taken, of which the model reads {} tokens",
                text.len(),
                self.config.positions
            )));
        }
        let guess = if self.padding.is_some() { self.config.positions } else { text.len() / 4 + 2 };
        Ok(guess.min(self.config.positions) as u64)
    }
}

impl Cleaning {
    fn of(settings: &Value) -> Self {
        let class = settings["tokenizer_class"].as_str().unwrap_or_default();
        match class.trim_end_matches("Fast") {
            "SiglipTokenizer" => {
                Self::Canonical { lower_case: settings["do_lower_case"].as_bool().unwrap_or(true) }
            }
            "Siglip2Tokenizer" => Self::LowerCase,
            _ => Self::Nothing,
        }
    }

    fn apply(self, text: &str) -> String {
        match self {
            Self::Nothing => text.to_owned(),
            Self::LowerCase => text.to_lowercase(),
            Self::Canonical { lower_case } => {
                let text = if lower_case { text.to_lowercase() } else { text.to_owned() };
                let kept: String = text.chars().filter(|char| !char.is_ascii_punctuation()).collect();
                kept.split_whitespace().collect::<Vec<&str>>().join(" ")
            }
        }
    }
}

/// Refuses a tokenizer that would have SigLIP not see its padding, which it was trained to.
fn refuse_mask(files: &ModelFiles, settings: &Value) -> Result<(), Error> {
    let masks = settings["model_input_names"].as_array();
    match masks.is_some_and(|names| names.iter().any(|name| name == "attention_mask")) {
        false => Ok(()),
        true => Err(Error::Unsupported {
            place: files.require("tokenizer_config.json")?.label().to_owned(),
            what: "attention_mask among model_input_names of SigLIP's tokenizer".to_owned(),
            supported: "its texts are seen with their padding, as in training: take it out".to_owned(),
        }),
    }
}

/// The id of the token that texts are filled up with.
fn padding(tokenizer: &Tokenizer, settings: &Value) -> Option<u32> {
    // A string, or an object with its content.
    let token = &settings["pad_token"];
    let token = token.as_str().or_else(|| token["content"].as_str());
    match (token, settings["tokenizer_class"].as_str()) {
        (Some(token), _) => tokenizer.token_to_id(token),
        // The class's default.
        (None, Some("SiglipTokenizer")) => tokenizer.token_to_id("</s>"),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_cleaned_as_the_tokenizers_class_does_it() {
        let text = " A Cat's\tsofa\u{2014}at  10:30! ";
        let cleaned = |settings: Value| Cleaning::of(&settings).apply(text);
        assert_eq!(cleaned(json!({})), text);
        assert_eq!(cleaned(json!({"tokenizer_class": "CLIPTokenizer"})), text);
        assert_eq!(cleaned(json!({"tokenizer_class": "SiglipTokenizer"})), "a cats sofa\u{2014}at 1030");
        let kept = json!({"tokenizer_class": "SiglipTokenizer", "do_lower_case": false});
        assert_eq!(cleaned(kept), "A Cats sofa\u{2014}at 1030");
        assert_eq!(cleaned(json!({"tokenizer_class": "Siglip2Tokenizer"})), text.to_lowercase());
    }
}
