use std::sync::Arc;

use serde_json::Value;

use super::fields::Fields;
use super::item::{Draft, checked_id};
use super::refusal::Refusal;
use super::settings::{ResponseTerms, Update};

/// The most bytes of an `event_id`, which errors repeat.
const EVENT_ID_BYTES: usize = 512;

/// Every event that is understood.
pub(crate) const SUPPORTED: [&str; 7] = [
    "session.update",
    "conversation.item.create",
    "conversation.item.retrieve",
    "conversation.item.truncate",
    "conversation.item.delete",
    "response.create",
    "response.cancel",
];

/// A client's message, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClientMessage {
    /// The client's own name for it, which errors repeat.
    pub(crate) event_id: Option<String>,
    pub(crate) event: Result<ClientEvent, Refusal>,
}

/// What a client can ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ClientEvent {
    Update(Update),
    Create { item: Draft, after: Place },
    Retrieve { item: String },
    Truncate { item: String, content_index: u64, audio_end_ms: u64 },
    Delete { item: String },
    Respond(Wish),
    Cancel { response: Option<String> },
}

/// Where in the conversation an item goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    End,
    Beginning,
    After(String),
}

/// A response as it is asked for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Wish {
    /// It is not to become part of the conversation.
    pub(crate) out_of_band: bool,
    /// What it is to see instead of the conversation.
    pub(crate) input: Option<Vec<Given>>,
    pub(crate) terms: ResponseTerms,
}

/// A piece of a response's input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Given {
    Item(Draft),
    Reference(String),
}

impl ClientMessage {
    /// Reads a message. A long one belongs in a lane.
    pub(crate) fn read(text: &[u8]) -> Self {
        let members = match serde_json::from_slice(text) {
            Ok(Value::Object(members)) => members,
            Ok(_) => {
                return Self::refused(Refusal::new("invalid_event", "an event is a JSON object; send one"));
            }
            Err(error) => {
                let message = format!("the message is no JSON: {error}; send one event a message");
                return Self::refused(Refusal::new("invalid_json", message));
            }
        };
        let mut fields = Fields::new("", members);
        let event_id = match fields.text("event_id") {
            Ok(Some(id)) if id.len() > EVENT_ID_BYTES => {
                let accepted = format!("at most {EVENT_ID_BYTES} bytes");
                return Self::refused(Refusal::value("event_id", id, accepted));
            }
            Ok(id) => id,
            Err(refusal) => return Self::refused(refusal),
        };
        Self { event_id, event: ClientEvent::read(fields) }
    }

    pub(crate) const fn refused(refusal: Refusal) -> Self {
        Self { event_id: None, event: Err(refusal) }
    }
}

impl ClientEvent {
    fn read(mut fields: Fields) -> Result<Self, Refusal> {
        let kind = fields.required_text("type")?;
        let event = match kind.as_str() {
            "session.update" => Self::Update(Update::read(fields.required("session")?)?),
            "conversation.item.create" => {
                let after = match fields.text("previous_item_id")? {
                    None => Place::End,
                    Some(root) if root == "root" => Place::Beginning,
                    Some(id) => Place::After(id),
                };
                Self::Create { item: Draft::read("item", fields.required("item")?)?, after }
            }
            "conversation.item.retrieve" => Self::Retrieve { item: fields.required_text("item_id")? },
            "conversation.item.truncate" => Self::Truncate {
                item: fields.required_text("item_id")?,
                content_index: fields.required_count("content_index")?,
                audio_end_ms: fields.required_count("audio_end_ms")?,
            },
            "conversation.item.delete" => Self::Delete { item: fields.required_text("item_id")? },
            "response.create" => Self::Respond(Wish::read(fields.take("response"))?),
            "response.cancel" => Self::Cancel { response: fields.text("response_id")? },
            other => return Err(unsupported(other)),
        };
        fields.finish()?;
        Ok(event)
    }
}

fn unsupported(kind: &str) -> Refusal {
    if kind.starts_with("input_audio_buffer.") || kind.starts_with("output_audio_buffer.") {
        let message = format!(
            "the event '{}' is about audio, which there is none of here; send texts in conversation.item.create",
            super::refusal::shortened(kind)
        );
        return Refusal::new("unsupported_event", message).of("type");
    }
    Refusal::value("type", kind, format!("one of {}", SUPPORTED.map(|name| format!("'{name}'")).join(", ")))
}

impl Wish {
    fn read(value: Option<Value>) -> Result<Self, Refusal> {
        let Some(value) = value else { return Ok(Self::default()) };
        let mut fields = Fields::of("response", value)?;
        let out_of_band = fields.one_of("conversation", &["auto", "none"])?.as_deref() == Some("none");
        let input = fields
            .list("input")?
            .map(|items| {
                let items = items.into_iter().enumerate();
                items.map(|(at, item)| Given::read(&format!("response.input[{at}]"), item)).collect()
            })
            .transpose()?;
        let terms = ResponseTerms::take(&mut fields)?;
        fields.finish()?;
        Ok(Self { out_of_band, input, terms })
    }
}

impl Given {
    fn read(path: &str, value: Value) -> Result<Self, Refusal> {
        if value.get("type").and_then(Value::as_str) != Some("item_reference") {
            return Draft::read(path, value).map(Self::Item);
        }
        let mut fields = Fields::of(path, value)?;
        fields.take("type");
        let id: Arc<str> = checked_id(&fields.name("id"), fields.required_text("id")?)?;
        fields.finish()?;
        Ok(Self::Reference(id.to_string()))
    }
}
