//! `POST /v1/embeddings`.

use std::fmt;

use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{SerializeSeq as _, Serializer};
use serde::{Deserialize as DeserializeDerive, Serialize};
use text_embedding::{Embedding, Input, Ranker, TextEmbedding};

use super::asked::Asked;
use super::errors::ApiError;
use super::{App, answer, json};
use crate::number::Whole;

/// The request, as OpenAI defines it. Other fields are refused by name.
#[derive(DeserializeDerive)]
#[serde(deny_unknown_fields, expecting = "an object with model and input")]
pub(super) struct EmbeddingsRequest {
    model: String,
    input: Inputs,
    #[serde(default)]
    encoding_format: Option<Encoding>,
    #[serde(default)]
    dimensions: Option<Whole<1>>,
    #[serde(default)]
    user: Option<String>,
}

/// How vectors are written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, DeserializeDerive)]
#[serde(try_from = "String")]
enum Encoding {
    /// As a list of numbers.
    #[default]
    Float,
    /// As the base64 of their little-endian f32.
    Base64,
}

impl TryFrom<String> for Encoding {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "float" => Ok(Self::Float),
            "base64" => Ok(Self::Base64),
            _ => Err(format!("{name:?} is neither \"float\" nor \"base64\"")),
        }
    }
}

/// The answer, as OpenAI defines it.
#[derive(Serialize)]
struct EmbeddingsAnswer {
    object: &'static str,
    #[serde(serialize_with = "write_data")]
    data: (Encoding, Vec<Embedding>),
    model: String,
    usage: Usage,
}

/// What was computed.
#[derive(Serialize)]
pub(super) struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

impl Usage {
    pub(super) fn of(tokens: usize) -> Self {
        Self { prompt_tokens: tokens, total_tokens: tokens }
    }
}

#[derive(Serialize)]
struct Datum<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Float(&'a [f32]),
    Base64(String),
}

/// A number as JSON, its comma included, takes about so many bytes.
const BYTES_A_NUMBER: usize = 13;

/// Answers the request.
pub(super) async fn embeddings(
    State(app): State<App>,
    Asked { terms, request }: Asked<EmbeddingsRequest>,
) -> Result<Response, ApiError> {
    let Ranker::Embedding(pool) = app.registry.served(&request.model, terms.deadline).await? else {
        let model = request.model;
        let message =
            format!("model {model} is a cross-encoder, which makes no vectors; use it with /v1/rerank");
        return Err(ApiError::invalid("wrong_model", message).param("model"));
    };
    let dimensions = dimensions(&pool, request.dimensions)?;
    let Inputs(inputs) = request.input;
    let call = pool.embed_all(inputs).priority(terms.priority).deadline(terms.deadline);
    let call = call.principal(terms.caller.principal(request.user.as_deref()));
    let call = match request.dimensions {
        Some(_) => call.dimensions(dimensions),
        // As the model itself says, which may cut without renormalising.
        None => call,
    };
    let embeddings = call.await.map_err(|error| ApiError::of_pool(&error, "input"))?;
    let tokens = embeddings.iter().map(|embedding| embedding.tokens).sum();
    let bytes = embeddings.len() * dimensions * BYTES_A_NUMBER;
    let answer = EmbeddingsAnswer {
        object: "list",
        data: (request.encoding_format.unwrap_or_default(), embeddings),
        model: request.model,
        usage: Usage::of(tokens),
    };
    answer::json(&app, answer, bytes).await
}

fn dimensions(pool: &TextEmbedding, asked: Option<Whole<1>>) -> Result<usize, ApiError> {
    let info = pool.info();
    let Some(asked) = asked else {
        return Ok(info.dimensions);
    };
    let asked = asked.count();
    if asked > info.full_dimensions {
        let message =
            format!("dimensions is {asked}; model {} has 1 to {}", info.model, info.full_dimensions);
        return Err(ApiError::invalid("invalid_value", message).param("dimensions"));
    }
    Ok(asked)
}

fn write_data<S: Serializer>(data: &(Encoding, Vec<Embedding>), serializer: S) -> Result<S::Ok, S::Error> {
    let (encoding, embeddings) = data;
    let mut list = serializer.serialize_seq(Some(embeddings.len()))?;
    for (index, embedding) in embeddings.iter().enumerate() {
        let embedding = match encoding {
            Encoding::Float => Vector::Float(&embedding.values),
            Encoding::Base64 => {
                let bytes: Vec<u8> = embedding.values.iter().flat_map(|value| value.to_le_bytes()).collect();
                Vector::Base64(STANDARD.encode(bytes))
            }
        };
        list.serialize_element(&Datum { object: "embedding", index, embedding })?;
    }
    list.end()
}

/// `input`: a text, a list of texts, a list of token ids, or a list of such lists.
struct Inputs(Vec<Input>);

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputsVisitor)
    }
}

struct InputsVisitor;

const FORMS: &str = "a text, a list of texts, a list of token ids, or a list of lists of token ids";

impl<'de> Visitor<'de> for InputsVisitor {
    type Value = Inputs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMS)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Inputs, E> {
        Ok(Inputs(vec![text.into()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inputs, A::Error> {
        let mixed = || de::Error::custom(format!("a list of different things; input is {FORMS}"));
        let (mut inputs, mut ids) = (Vec::<Input>::new(), Vec::new());
        while let Some(entry) = list.next_element::<Entry>()? {
            if inputs.len() == json::LONGEST_LIST {
                return Err(json::too_long("input"));
            }
            match entry {
                Entry::Id(id) if inputs.is_empty() => ids.push(id),
                Entry::Input(input) if ids.is_empty() => {
                    let alike =
                        |first: &Input| std::mem::discriminant(first) == std::mem::discriminant(&input);
                    if !inputs.first().is_none_or(alike) {
                        return Err(mixed());
                    }
                    inputs.push(input);
                }
                _ => return Err(mixed()),
            }
        }
        if !ids.is_empty() {
            inputs.push(ids.into());
        }
        if inputs.is_empty() {
            return Err(de::Error::custom(format!("an empty list; input is {FORMS}")));
        }
        Ok(Inputs(inputs))
    }
}

/// An element of the list.
enum Entry {
    Input(Input),
    Id(u32),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a token id or a list of token ids")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
        Ok(Entry::Input(text.into()))
    }

    fn visit_u64<E: de::Error>(self, id: u64) -> Result<Entry, E> {
        TokenVisitor.visit_u64(id).map(|TokenId(id)| Entry::Id(id))
    }

    fn visit_i64<E: de::Error>(self, id: i64) -> Result<Entry, E> {
        TokenVisitor.visit_i64(id).map(|TokenId(id)| Entry::Id(id))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entry, A::Error> {
        let mut ids = Vec::<u32>::new();
        while let Some(TokenId(id)) = list.next_element()? {
            ids.push(id);
        }
        Ok(Entry::Input(ids.into()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Entry, A::Error> {
        let key = entries.next_key::<String>()?;
        Err(de::Error::custom(match key.as_deref() {
            Some("image") => {
                "image entries are for image-embedding models, which this version does not serve"
            }
            _ => "an object is none of a text, a token id and a list of token ids",
        }))
    }
}

/// A position in a vocabulary.
struct TokenId(u32);

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TokenVisitor)
    }
}

struct TokenVisitor;

impl Visitor<'_> for TokenVisitor {
    type Value = TokenId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token id")
    }

    fn visit_u64<E: de::Error>(self, id: u64) -> Result<TokenId, E> {
        let known = u32::try_from(id).map(TokenId);
        known.map_err(|_| E::custom(format!("token id {id} is in no model's vocabulary")))
    }

    fn visit_i64<E: de::Error>(self, id: i64) -> Result<TokenId, E> {
        match u64::try_from(id) {
            Ok(id) => self.visit_u64(id),
            Err(_) => Err(E::custom(format!("token id {id} is negative"))),
        }
    }
}
