//! What chats and completions are asked alike: how tokens are drawn, how many answers there are, when they end.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::http::errors::ApiError;
use crate::http::json;
use crate::number::{Integer, Real};

/// Declares a request: its own fields, and those that every request for text has. Other fields are refused by name, which
/// serde does not do for a structure that is flattened into another: hence a macro.
macro_rules! text_request {
    (
        $(#[$attribute:meta])*
        struct $name:ident { $($(#[$field_attribute:meta])* $field:ident: $type:ty,)* }
    ) => {
        $(#[$attribute])*
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields, expecting = "an object with model and what to answer")]
        pub(in crate::http) struct $name {
            model: String,
            $($(#[$field_attribute])* $field: $type,)*
            #[serde(default)]
            max_tokens: Option<crate::number::Whole<1>>,
            #[serde(default)]
            temperature: Option<crate::number::Real>,
            #[serde(default)]
            top_k: Option<super::sampling::TopK>,
            #[serde(default)]
            top_p: Option<crate::number::Real>,
            #[serde(default)]
            min_p: Option<crate::number::Real>,
            #[serde(default)]
            repetition_penalty: Option<crate::number::Real>,
            #[serde(default)]
            frequency_penalty: Option<crate::number::Real>,
            #[serde(default)]
            presence_penalty: Option<crate::number::Real>,
            #[serde(default)]
            logit_bias: Option<super::sampling::LogitBias>,
            #[serde(default)]
            seed: Option<crate::number::Integer>,
            #[serde(default)]
            stop: Option<super::sampling::Stop>,
            #[serde(default)]
            n: Option<crate::number::Whole<1>>,
            #[serde(default)]
            ignore_eos: Option<bool>,
            #[serde(default)]
            response_format: Option<super::response_format::Format>,
            #[serde(default)]
            stream: Option<bool>,
            #[serde(default)]
            stream_options: Option<super::sampling::StreamOptions>,
            #[serde(default)]
            user: Option<String>,
        }
    };
}

/// Tells a call what [`text_request`] has of it.
macro_rules! with_sampling {
    ($call:expr, $request:expr, $terms:expr) => {{
        let mut call = $call.priority($terms.priority).deadline($terms.deadline);
        call = call.principal($terms.caller.principal($request.user.as_deref()));
        if let Some(temperature) = $request.temperature {
            call = call.temperature(temperature.0);
        }
        if let Some(super::sampling::TopK(top_k)) = $request.top_k {
            call = call.top_k(top_k);
        }
        if let Some(top_p) = $request.top_p {
            call = call.top_p(top_p.0);
        }
        if let Some(min_p) = $request.min_p {
            call = call.min_p(min_p.0);
        }
        if let Some(penalty) = $request.repetition_penalty {
            call = call.repetition_penalty(penalty.0);
        }
        if let Some(penalty) = $request.frequency_penalty {
            call = call.frequency_penalty(penalty.0);
        }
        if let Some(penalty) = $request.presence_penalty {
            call = call.presence_penalty(penalty.0);
        }
        if let Some(super::sampling::LogitBias(bias)) = $request.logit_bias.take() {
            call = call.logit_bias(bias);
        }
        if let Some(seed) = $request.seed {
            call = call.seed(seed.bits());
        }
        if let Some(super::sampling::Stop(texts)) = $request.stop.take() {
            call = call.stop(texts);
        }
        if let Some(n) = $request.n {
            call = call.n(n.get());
        }
        if let Some(super::response_format::Format(format)) = $request.response_format.take() {
            call = call.response_format(format);
        }
        call.ignore_eos($request.ignore_eos.unwrap_or_default())
    }};
}

pub(super) use {text_request, with_sampling};

/// Names of parameters that a pool's messages begin with.
pub(super) const PARAMS: &[&str] = &[
    "max_tokens",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "stop",
    "n",
    "ignore_eos",
    "response_format",
];

/// How many of the likeliest tokens are drawn from; `None` for all, which 0 and -1 mean too, as other servers have it.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Debug)]
#[serde(try_from = "Integer")]
pub(super) struct TopK(pub(super) Option<usize>);

impl TryFrom<Integer> for TopK {
    type Error = String;

    fn try_from(number: Integer) -> Result<Self, String> {
        match number.get() {
            -1 | 0 => Ok(Self(None)),
            number => match u32::try_from(number) {
                Ok(number) => Ok(Self(Some(number as usize))),
                Err(_) => Err(format!("{number} is no number of tokens; send 1 or more, or 0 for all")),
            },
        }
    }
}

/// What comes with a stream.
#[derive(Clone, Copy, Default, Deserialize, Debug)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"include_usage\": true}")]
pub(super) struct StreamOptions {
    /// Whether a last piece tells the tokens it took.
    #[serde(default)]
    include_usage: Option<bool>,
}

impl StreamOptions {
    pub(super) fn include_usage(self) -> bool {
        self.include_usage.unwrap_or_default()
    }
}

/// Refuses what is said of a stream where none is asked for.
pub(super) fn check_stream_options(
    stream: Option<bool>,
    options: Option<StreamOptions>,
) -> Result<(), ApiError> {
    if options.is_none() || stream == Some(true) {
        return Ok(());
    }
    let message = "stream_options is for streams; send \"stream\": true with it";
    Err(ApiError::invalid("invalid_value", message).param("stream_options"))
}

/// Texts that end an answer: one, or a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stop(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Stop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StopVisitor;

        impl<'de> Visitor<'de> for StopVisitor {
            type Value = Stop;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Stop, E> {
                Ok(Stop(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<Stop, A::Error> {
                json::entries(texts, "stop").map(Stop)
            }
        }

        deserializer.deserialize_any(StopVisitor)
    }
}

/// Token ids, spelled as texts, and what is added to their logits.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct LogitBias(pub(super) Vec<(u32, f32)>);

impl<'de> Deserialize<'de> for LogitBias {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BiasVisitor;

        impl<'de> Visitor<'de> for BiasVisitor {
            type Value = LogitBias;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of token ids and numbers, such as {\"50256\": -100}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<LogitBias, A::Error> {
                let mut biases = Vec::new();
                while let Some((token, Real(bias))) = entries.next_entry::<String, Real>()? {
                    if biases.len() == json::LONGEST_LIST {
                        return Err(json::too_long("logit_bias"));
                    }
                    let known = token.parse::<u32>().ok().filter(|id| id.to_string() == token);
                    let token =
                        known.ok_or_else(|| de::Error::custom(format!("{token:?} is no token id")))?;
                    biases.push((token, bias));
                }
                Ok(LogitBias(biases))
            }
        }

        deserializer.deserialize_any(BiasVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_k_has_two_spellings_of_all() {
        let read = |text: &str| {
            serde_json::from_str::<TopK>(text).map(|TopK(k)| k).map_err(|error| error.to_string())
        };
        assert_eq!((read("40"), read("0"), read("-1")), (Ok(Some(40)), Ok(None), Ok(None)));
        assert!(read("-2").unwrap_err().starts_with("-2 is no number of tokens"));
        assert!(read("1.5").unwrap_err().contains("whole number"));
    }

    #[test]
    fn stop_is_one_text_or_several() {
        let read = |text: &str| {
            serde_json::from_str::<Stop>(text).map(|Stop(texts)| texts).map_err(|error| error.to_string())
        };
        assert_eq!(read("\"a\""), Ok(vec!["a".to_owned()]));
        assert_eq!(read("[\"a\", \"b\"]"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert!(read("5").unwrap_err().contains("expected a text or a list of texts"));
    }

    #[test]
    fn biases_are_told_by_token_id() {
        let read = |text: &str| {
            serde_json::from_str::<LogitBias>(text)
                .map(|LogitBias(all)| all)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("{\"7\": -100, \"8\": 0.5}"), Ok(vec![(7, -100.0), (8, 0.5)]));
        assert!(read("{\"the\": 1}").unwrap_err().starts_with("\"the\" is no token id"));
        assert!(read("[1]").unwrap_err().contains("expected an object of token ids"));
    }
}
