use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::item::Item;
use super::refusal::{ErrorKind, Refusal};
use super::settings::MaxTokens;
use crate::context::{Passage, Progress};
use crate::model::Usage;

/// An event as it goes out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Numbered {
    pub(crate) event_id: Arc<str>,
    #[serde(flatten)]
    pub(crate) event: ServerEvent,
}

/// What a client is told.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
pub(crate) enum ServerEvent {
    #[serde(rename = "session.created")]
    SessionCreated { session: SessionView },
    #[serde(rename = "session.updated")]
    SessionUpdated { session: SessionView },
    #[serde(rename = "conversation.item.added")]
    ItemAdded { previous_item_id: Option<Arc<str>>, item: Item },
    #[serde(rename = "conversation.item.done")]
    ItemDone { previous_item_id: Option<Arc<str>>, item: Item },
    #[serde(rename = "conversation.item.retrieved")]
    ItemRetrieved { item: Item },
    #[serde(rename = "conversation.item.truncated")]
    ItemTruncated { item_id: Arc<str>, content_index: u64, audio_end_ms: u64 },
    #[serde(rename = "conversation.item.deleted")]
    ItemDeleted { item_id: Arc<str> },
    #[serde(rename = "response.created")]
    ResponseCreated { response: ResponseView },
    #[serde(rename = "response.done")]
    ResponseDone { response: ResponseView },
    #[serde(rename = "response.output_item.added")]
    OutputItemAdded { response_id: Arc<str>, output_index: u32, item: Item },
    #[serde(rename = "response.output_item.done")]
    OutputItemDone { response_id: Arc<str>, output_index: u32, item: Item },
    #[serde(rename = "response.content_part.added")]
    ContentPartAdded {
        #[serde(flatten)]
        at: PartPlace,
        part: TextPart,
    },
    #[serde(rename = "response.content_part.done")]
    ContentPartDone {
        #[serde(flatten)]
        at: PartPlace,
        part: TextPart,
    },
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        #[serde(flatten)]
        at: PartPlace,
        delta: String,
    },
    #[serde(rename = "response.output_text.done")]
    TextDone {
        #[serde(flatten)]
        at: PartPlace,
        text: Arc<str>,
    },
    #[serde(rename = "rate_limits.updated")]
    RateLimits { rate_limits: [RateLimit; 1] },
    #[serde(rename = "context.updated")]
    ContextUpdated { progress: Progress },
    #[serde(rename = "error")]
    Error { error: ErrorView },
}

/// Which part of which item of which response something is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct PartPlace {
    pub(crate) response_id: Arc<str>,
    pub(crate) item_id: Arc<str>,
    pub(crate) output_index: u32,
    pub(crate) content_index: u32,
}

/// A part of an answer, as the events of parts name it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct TextPart {
    r#type: &'static str,
    pub(crate) text: Arc<str>,
}

impl TextPart {
    pub(crate) const fn new(text: Arc<str>) -> Self {
        Self { r#type: "text", text }
    }
}

/// A session as clients see it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionView {
    r#type: &'static str,
    object: &'static str,
    id: Arc<str>,
    model: Arc<str>,
    instructions: Arc<str>,
    output_modalities: [&'static str; 1],
    max_output_tokens: MaxTokens,
    tools: [&'static str; 0],
    tool_choice: &'static str,
    truncation: &'static str,
}

impl SessionView {
    pub(crate) fn new(
        id: Arc<str>,
        model: Arc<str>,
        instructions: Option<Arc<str>>,
        max_output_tokens: MaxTokens,
    ) -> Self {
        Self {
            r#type: "realtime",
            object: "realtime.session",
            id,
            model,
            instructions: instructions.unwrap_or_default(),
            output_modalities: ["text"],
            max_output_tokens,
            tools: [],
            tool_choice: "auto",
            truncation: "disabled",
        }
    }
}

/// A response as clients see it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ResponseView {
    pub(crate) object: &'static str,
    pub(crate) id: Arc<str>,
    pub(crate) status: ResponseStatus,
    pub(crate) status_details: Option<StatusDetails>,
    pub(crate) output: Vec<Item>,
    pub(crate) conversation_id: Option<Arc<str>>,
    pub(crate) output_modalities: [&'static str; 1],
    pub(crate) max_output_tokens: MaxTokens,
    pub(crate) metadata: Option<BTreeMap<String, String>>,
    pub(crate) usage: Option<UsageView>,
    /// The passages that the answer was given to cite; not in OpenAI's protocol, and left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) citations: Vec<Citation>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResponseStatus {
    InProgress,
    Completed,
    Cancelled,
    Incomplete,
    Failed,
}

/// More on why a response ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct StatusDetails {
    pub(crate) r#type: ResponseStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<StatusError>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct StatusError {
    pub(crate) r#type: ErrorKind,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// What an answer took, as clients see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UsageView(pub(crate) Usage);

impl Serialize for UsageView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Usage { input_tokens, cached_tokens, output_tokens } = self.0;
        // How many of the prompt's tokens are a picture's is not known here, so there is no such split.
        serde_json::json!({
            "total_tokens": input_tokens.saturating_add(output_tokens),
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "input_token_details": { "cached_tokens": cached_tokens, "audio_tokens": 0 },
            "output_token_details": { "text_tokens": output_tokens, "audio_tokens": 0 },
        })
        .serialize(serializer)
    }
}

/// A passage that an answer may cite.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Citation {
    pub(crate) path: String,
    pub(crate) lines: (u32, u32),
    pub(crate) score: f32,
}

impl From<&Passage> for Citation {
    fn from(passage: &Passage) -> Self {
        Self { path: passage.path.clone(), lines: passage.lines, score: passage.score }
    }
}

/// How fast a client may go on.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct RateLimit {
    pub(crate) name: &'static str,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    pub(crate) reset_seconds: f64,
}

/// An error as its event says it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct ErrorView {
    r#type: ErrorKind,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    pub(crate) event_id: Option<String>,
}

impl ErrorView {
    pub(crate) fn new(refusal: Refusal, event_id: Option<String>) -> Self {
        let Refusal { kind, code, message, param } = refusal;
        Self { r#type: kind, code, message, param, event_id }
    }
}
