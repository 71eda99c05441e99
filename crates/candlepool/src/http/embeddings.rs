//! `POST /v1/embeddings`.

use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{SerializeSeq as _, Serializer};
use serde::{Deserialize, Serialize};
use text_embedding::{Embedding, Input, Ranker, TextEmbedding};

use super::asked::Asked;
use super::errors::ApiError;
use super::inputs::Inputs;
use super::{App, answer};
use crate::number::Whole;
use crate::registry::Served;

/// The request, as OpenAI defines it. Other fields are refused by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with model and input")]
pub(super) struct EmbeddingsRequest {
    model: String,
    input: Inputs<Input>,
    #[serde(default)]
    encoding_format: Option<Encoding>,
    #[serde(default)]
    dimensions: Option<Whole<1>>,
    #[serde(default)]
    user: Option<String>,
}

/// How vectors are written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Deserialize)]
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
    let pool = match app.registry.served(&request.model, terms.deadline).await? {
        Served::Ranker(Ranker::Embedding(pool)) => pool,
        Served::Text(_) => return Err(ApiError::writes_text(&request.model)),
        Served::Ranker(_) => {
            let why = "is a cross-encoder, which makes no vectors; use it with /v1/rerank";
            return Err(ApiError::wrong_model(&request.model, why));
        }
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
