use model_source::{ModelFiles, SourceError};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::info::Defaults;

const FILE: &str = "generation_config.json";

/// What transformers draws from where a model samples and says no more.
const TOP_K: usize = 50;

/// Ways of decoding that are not done here: each with the value that means nothing.
const OTHERS: &[(&str, f64)] = &[
    ("num_beams", 1.0),
    ("num_beam_groups", 1.0),
    ("penalty_alpha", 0.0),
    ("no_repeat_ngram_size", 0.0),
    ("encoder_no_repeat_ngram_size", 0.0),
    ("encoder_repetition_penalty", 1.0),
    ("diversity_penalty", 0.0),
    ("typical_p", 1.0),
    ("epsilon_cutoff", 0.0),
    ("eta_cutoff", 0.0),
    ("top_h", 0.0),
    ("min_length", 0.0),
    ("min_new_tokens", 0.0),
];

/// Ways of decoding that are not done here and that a list or an object switches on.
const LISTS: &[&str] = &[
    "bad_words_ids",
    "force_words_ids",
    "constraints",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_decoder_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "sequence_bias",
    "guidance_scale",
    "watermarking_config",
];

/// `generation_config.json`, as `GenerationConfig` of transformers reads it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GenerationDefaults {
    pub(super) defaults: Defaults,
    /// Tokens that end an answer.
    pub(super) ends: Vec<u32>,
}

struct Fields<'a> {
    label: &'a str,
    fields: &'a Map<String, Value>,
}

/// Reads what there is; without the file, a model takes the most likely token.
pub(super) fn read(files: &ModelFiles) -> Result<GenerationDefaults, Error> {
    let fields: Map<String, Value> = files.json_if_any(FILE)?.unwrap_or_default();
    let label = files.get(FILE).map_or(FILE, |file| file.label());
    Fields { label, fields: &fields }.read()
}

impl Fields<'_> {
    fn read(&self) -> Result<GenerationDefaults, Error> {
        self.refuse_others()?;
        let samples = self.flag("do_sample")?.unwrap_or(false);
        let top_k = match self.count("top_k")? {
            Some(0) => None,
            Some(most) => Some(most),
            None => samples.then_some(TOP_K),
        };
        let temperature = self.number("temperature")?.unwrap_or(1.0);
        let defaults = Defaults {
            temperature: if samples { temperature } else { 0.0 },
            top_k,
            top_p: self.number("top_p")?.unwrap_or(1.0),
            min_p: self.number("min_p")?.unwrap_or(0.0),
            repetition_penalty: self.number("repetition_penalty")?.unwrap_or(1.0),
            max_tokens: self.count("max_new_tokens")?,
        };
        Ok(GenerationDefaults { defaults, ends: self.ends()? })
    }

    fn refuse_others(&self) -> Result<(), Error> {
        let refuse = |name: &str, value: &Value| {
            Error::unsupported(
                self.label,
                format!("{name} = {value}"),
                "remove it, or set it for other programs only",
            )
        };
        for (name, neutral) in OTHERS {
            if let Some(value) = self.get(name)
                && value.as_f64() != Some(*neutral)
            {
                return Err(refuse(name, value));
            }
        }
        for name in LISTS {
            if let Some(value) = self.get(name)
                && !value.as_array().is_some_and(Vec::is_empty)
            {
                return Err(refuse(name, value));
            }
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn number(&self, name: &str) -> Result<Option<f32>, Error> {
        let number = |value: &Value| value.as_f64().map(|number| number as f32);
        self.typed(name, number, "a number")
    }

    fn count(&self, name: &str) -> Result<Option<usize>, Error> {
        let count = |value: &Value| value.as_u64().and_then(|count| usize::try_from(count).ok());
        self.typed(name, count, "a whole number from 0 on")
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        self.typed(name, Value::as_bool, "true or false")
    }

    /// `eos_token_id`: one, or a list.
    fn ends(&self) -> Result<Vec<u32>, Error> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = |value: &Value| match value {
            Value::Array(ids) => ids.iter().map(id).collect(),
            one => id(one).map(|id| vec![id]),
        };
        Ok(self.typed("eos_token_id", ids, "a token id or a list of them")?.unwrap_or_default())
    }

    fn typed<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value) -> Option<T>,
        wanted: &str,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| {
            Error::Source(SourceError::InvalidJson {
                file: self.label.to_owned(),
                reason: format!("{name} is {value}, not {wanted}"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: Value) -> Result<GenerationDefaults, String> {
        let fields = fields.as_object().unwrap();
        Fields { label: FILE, fields }.read().map_err(|error| error.to_string())
    }

    #[test]
    fn a_model_that_does_not_say_that_it_samples_takes_the_most_likely_token() {
        let GenerationDefaults { defaults, ends } = read(json!({})).unwrap();
        assert_eq!((defaults.temperature, defaults.top_k, defaults.top_p), (0.0, None, 1.0));
        assert_eq!((defaults.repetition_penalty, defaults.max_tokens, ends), (1.0, None, vec![]));
        let quiet = read(json!({"temperature": 0.6, "top_p": 0.9, "top_k": 20, "eos_token_id": 7})).unwrap();
        assert_eq!((quiet.defaults.temperature, quiet.defaults.top_k, quiet.ends), (0.0, Some(20), vec![7]));
    }

    #[test]
    fn a_model_that_samples_is_drawn_from_as_transformers_does() {
        let sampled = read(json!({
            "do_sample": true, "temperature": 0.6, "top_p": 0.9, "min_p": null, "max_new_tokens": 99,
            "repetition_penalty": 1.05, "eos_token_id": [3, 5], "bos_token_id": 1, "transformers_version": "5.0.0",
            "num_beams": 1, "typical_p": 1.0, "bad_words_ids": null,
        }));
        let GenerationDefaults { defaults, ends } = sampled.unwrap();
        assert_eq!((defaults.temperature, defaults.top_k, defaults.top_p), (0.6, Some(50), 0.9));
        assert_eq!((defaults.repetition_penalty, defaults.max_tokens, ends), (1.05, Some(99), vec![3, 5]));
        assert_eq!(read(json!({"do_sample": true, "top_k": 0})).unwrap().defaults.top_k, None);
    }

    #[test]
    fn other_ways_of_decoding_and_wrong_types_are_refused_by_name() {
        let error = read(json!({"num_beams": 4})).unwrap_err();
        assert!(error.starts_with("generation_config.json: num_beams = 4 is not supported; "), "{error}");
        let error = read(json!({"suppress_tokens": [1]})).unwrap_err();
        assert!(error.contains("suppress_tokens = [1] is not supported"), "{error}");
        let error = read(json!({"temperature": "hot"})).unwrap_err();
        assert_eq!(error, "generation_config.json is not valid: temperature is \"hot\", not a number");
        let error = read(json!({"eos_token_id": [1, -2]})).unwrap_err();
        assert!(error.contains("eos_token_id is [1,-2], not a token id"), "{error}");
    }
}
