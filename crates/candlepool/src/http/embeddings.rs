//! `POST /v1/embeddings`.

use std::ops::RangeInclusive;

use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image_embedding::{ImageEmbedding, Input as ImageInput};
use pool_core::Deadline;
use serde::ser::{SerializeSeq as _, Serializer};
use serde::{Deserialize, Serialize};
use text_embedding::{Input, Ranker, TextEmbedding};

use super::asked::Asked;
use super::envelope::Terms;
use super::errors::ApiError;
use super::inputs::{Entered, Inputs};
use super::pictures::NamedPicture;
use super::{App, answer, pictures};
use crate::number::Whole;
use crate::registry::Served;

/// The request, as OpenAI defines it. Other fields are refused by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with model and input")]
pub(super) struct EmbeddingsRequest {
    model: String,
    input: Inputs<EmbeddingInput>,
    #[serde(default)]
    encoding_format: Option<Encoding>,
    #[serde(default)]
    dimensions: Option<Whole<1>>,
    #[serde(default)]
    user: Option<String>,
}

/// What is embedded.
enum EmbeddingInput {
    Text(Input),
    Picture(NamedPicture),
}

impl From<String> for EmbeddingInput {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Vec<u32>> for EmbeddingInput {
    fn from(ids: Vec<u32>) -> Self {
        Self::Text(ids.into())
    }
}

impl Entered for EmbeddingInput {
    const FORMS: &str = "a text, a list of texts and images ({\"image\": \"data:...\"}), a list of token ids, or a list of lists of token ids";

    fn picture(picture: NamedPicture) -> Result<Self, &'static str> {
        Ok(Self::Picture(picture))
    }
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
    data: (Encoding, Vec<Vec<f32>>),
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
    match app.registry.served(&request.model, terms.deadline).await? {
        Served::Ranker(Ranker::Embedding(pool)) => of_texts(&app, pool, request, &terms).await,
        Served::Image(pool) => of_images(&app, pool, request, &terms).await,
        other => Err(ApiError::wrong_model(&request.model, other.purpose())),
    }
}

async fn of_texts(
    app: &App,
    pool: TextEmbedding,
    request: EmbeddingsRequest,
    terms: &Terms,
) -> Result<Response, ApiError> {
    let EmbeddingsRequest { model, input, encoding_format, dimensions, user } = request;
    check_dimensions(&model, dimensions, 1..=pool.info().full_dimensions)?;
    let call = pool.embed_all(texts(&model, input)?).priority(terms.priority).deadline(terms.deadline);
    let call = call.principal(terms.caller.principal(user.as_deref()));
    let call = match dimensions {
        Some(dimensions) => call.dimensions(dimensions.count()),
        // As the model itself says, which may cut without renormalising.
        None => call,
    };
    let embeddings = call.await.map_err(|error| ApiError::of_pool(&error, "input"))?;
    let tokens = embeddings.iter().map(|embedding| embedding.tokens).sum();
    let vectors = embeddings.into_iter().map(Vec::from).collect();
    answered(app, model, encoding_format, vectors, tokens).await
}

async fn of_images(
    app: &App,
    pool: ImageEmbedding,
    request: EmbeddingsRequest,
    terms: &Terms,
) -> Result<Response, ApiError> {
    let EmbeddingsRequest { model, input, encoding_format, dimensions, user } = request;
    let all = pool.info().dimensions;
    check_dimensions(&model, dimensions, all..=all)?;
    let inputs = images(app, &model, input, terms.deadline).await?;
    let call = pool.embed_all(inputs).priority(terms.priority).deadline(terms.deadline);
    let call = call.principal(terms.caller.principal(user.as_deref()));
    let embeddings = call.await.map_err(|error| ApiError::of_images(&error, "input"))?;
    let tokens = embeddings.iter().map(|embedding| embedding.tokens).sum();
    let vectors = embeddings.into_iter().map(Vec::from).collect();
    answered(app, model, encoding_format, vectors, tokens).await
}

async fn answered(
    app: &App,
    model: String,
    encoding: Option<Encoding>,
    vectors: Vec<Vec<f32>>,
    tokens: usize,
) -> Result<Response, ApiError> {
    let bytes = vectors.iter().map(|vector| vector.len() * BYTES_A_NUMBER).sum();
    let data = (encoding.unwrap_or_default(), vectors);
    let answer = EmbeddingsAnswer { object: "list", data, model, usage: Usage::of(tokens) };
    answer::json(app, answer, bytes).await
}

/// The inputs of a model that reads texts only.
fn texts(model: &str, Inputs(inputs): Inputs<EmbeddingInput>) -> Result<Vec<Input>, ApiError> {
    let text = |(index, input)| match input {
        EmbeddingInput::Text(text) => Ok(text),
        EmbeddingInput::Picture(_) => {
            let why = "reads no images; use a model of the modality image-embedding";
            Err(ApiError::wrong_model(model, why).param(format!("input[{index}]")))
        }
    };
    inputs.into_iter().enumerate().map(text).collect()
}

/// The inputs of a model that reads pictures, and texts but no tokens.
async fn images(
    app: &App,
    model: &str,
    Inputs(inputs): Inputs<EmbeddingInput>,
    deadline: Deadline,
) -> Result<Vec<ImageInput>, ApiError> {
    let mut slots = Vec::with_capacity(inputs.len());
    let (mut named, mut places) = (Vec::new(), Vec::new());
    for (index, input) in inputs.into_iter().enumerate() {
        slots.push(match input {
            EmbeddingInput::Text(Input::Text(text)) => Some(ImageInput::Text(text)),
            EmbeddingInput::Picture(picture) => {
                named.push(picture);
                places.push(index);
                None
            }
            EmbeddingInput::Text(_) => {
                let why = "embeds pictures and texts, and no token ids; send the text";
                return Err(ApiError::wrong_model(model, why).param(format!("input[{index}]")));
            }
        });
    }
    // Each in the slot that was left for it.
    let name = |picture: usize| format!("input[{}]", places[picture]);
    let pictures = pictures::read(app, named, deadline, name).await?;
    let mut pictures = pictures.into_iter().map(ImageInput::Image);
    Ok(slots.into_iter().filter_map(|slot| slot.or_else(|| pictures.next())).collect())
}

fn check_dimensions(
    model: &str,
    asked: Option<Whole<1>>,
    known: RangeInclusive<usize>,
) -> Result<(), ApiError> {
    let Some(asked) = asked.map(Whole::count).filter(|asked| !known.contains(asked)) else {
        return Ok(());
    };
    let (least, most) = known.into_inner();
    let known = if least == most { format!("{most} and no other") } else { format!("{least} to {most}") };
    let message = format!("dimensions is {asked}; model {model} has {known}");
    Err(ApiError::invalid("invalid_value", message).param("dimensions"))
}

fn write_data<S: Serializer>(data: &(Encoding, Vec<Vec<f32>>), serializer: S) -> Result<S::Ok, S::Error> {
    let (encoding, vectors) = data;
    let mut list = serializer.serialize_seq(Some(vectors.len()))?;
    for (index, vector) in vectors.iter().enumerate() {
        let embedding = match encoding {
            Encoding::Float => Vector::Float(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                Vector::Base64(STANDARD.encode(bytes))
            }
        };
        list.serialize_element(&Datum { object: "embedding", index, embedding })?;
    }
    list.end()
}
