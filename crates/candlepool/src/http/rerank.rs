//! `POST /v1/rerank`, in the shape that Jina's and Cohere's clients share.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Deserialize as DeserializeDerive, Serialize};

use super::asked::Asked;
use super::embeddings::Usage;
use super::errors::ApiError;
use super::{App, answer, json};
use crate::number::Whole;
use crate::registry::Served;

/// The request. Other fields are refused by name.
#[derive(DeserializeDerive)]
#[serde(deny_unknown_fields, expecting = "an object with model, query and documents")]
pub(super) struct RerankRequest {
    model: String,
    query: String,
    #[serde(deserialize_with = "documents")]
    documents: Vec<Document>,
    #[serde(default)]
    top_n: Option<Whole<1>>,
    #[serde(default)]
    return_documents: Option<bool>,
    #[serde(default)]
    user: Option<String>,
}

/// A document: a text, or `{"text": "..."}`.
#[derive(Clone, Debug)]
struct Document(Arc<str>);

/// The answer, the most relevant document first.
#[derive(Serialize)]
struct RerankAnswer {
    object: &'static str,
    model: String,
    results: Vec<RankedDocument>,
    usage: Usage,
}

#[derive(Serialize)]
struct RankedDocument {
    index: usize,
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<ReturnedDocument>,
}

#[derive(Serialize)]
struct ReturnedDocument {
    #[serde(serialize_with = "write_text")]
    text: Arc<str>,
}

fn write_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn documents<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Document>, D::Error> {
    json::list(deserializer, "documents")
}

/// A result without its document takes about so many bytes.
const BYTES_A_RESULT: usize = 48;

/// Answers the request.
pub(super) async fn rerank(
    State(app): State<App>,
    Asked { terms, request }: Asked<RerankRequest>,
) -> Result<Response, ApiError> {
    if request.documents.is_empty() {
        return Err(
            ApiError::invalid("invalid_value", "documents is empty; send at least one").param("documents")
        );
    }
    let ranker = match app.registry.served(&request.model, terms.deadline).await? {
        Served::Ranker(ranker) => ranker,
        other => return Err(ApiError::wrong_model(&request.model, other.purpose())),
    };
    let documents: Vec<Arc<str>> = request.documents.into_iter().map(|Document(text)| text).collect();
    let call = ranker.rerank(request.query, documents.iter().cloned());
    let call = call.top(request.top_n.map_or(usize::MAX, Whole::count));
    let call = call.priority(terms.priority).deadline(terms.deadline);
    let call = call.principal(terms.caller.principal(request.user.as_deref()));
    let ranking = call.await.map_err(|error| ApiError::of_pool(&error, "documents"))?;
    let usage = Usage::of(ranking.tokens);
    let mut bytes = ranking.len() * BYTES_A_RESULT;
    let returned = request.return_documents.unwrap_or(false);
    let results = ranking.iter().map(|ranked| {
        let document = returned.then(|| ReturnedDocument { text: Arc::clone(&documents[ranked.index]) });
        bytes += document.as_ref().map_or(0, |document| document.text.len());
        RankedDocument { index: ranked.index, relevance_score: ranked.score, document }
    });
    let results = results.collect();
    answer::json(&app, RerankAnswer { object: "list", model: request.model, results, usage }, bytes).await
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text or {\"text\": \"...\"}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Document, E> {
        Ok(Document(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Document, A::Error> {
        let mut text = None;
        while let Some(key) = entries.next_key::<String>()? {
            if key != "text" {
                return Err(de::Error::unknown_field(&key, &["text"]));
            }
            if text.replace(entries.next_value::<String>()?).is_some() {
                return Err(de::Error::duplicate_field("text"));
            }
        }
        text.map(|text| Document(text.into())).ok_or_else(|| de::Error::missing_field("text"))
    }
}
