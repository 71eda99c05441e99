use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::Value;

use super::fields::Fields;
use super::refusal::Refusal;
use crate::model::{Part, Role, Turn};

/// The most characters of an id that a client gives.
const ID_CHARACTERS: usize = 64;
/// What an item and each of its parts count beside their texts: what they take in memory.
const OVERHEAD: usize = 128;

/// An item as a client sends it: not yet in any conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Draft {
    pub(crate) id: Option<Arc<str>>,
    pub(crate) role: Role,
    pub(crate) content: Vec<Content>,
}

/// An item of a conversation, or of a response: a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Item {
    pub(crate) id: Arc<str>,
    pub(crate) role: Role,
    pub(crate) status: ItemStatus,
    pub(crate) content: Vec<Content>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ItemStatus {
    InProgress,
    Completed,
    Incomplete,
}

/// A part of an item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    InputText(Arc<str>),
    OutputText(Arc<str>),
    /// The bytes of the picture's file. They are never sent back: whoever is told of the item has sent them.
    InputImage(Bytes),
}

impl Draft {
    /// Reads an item. A long one belongs in a lane: the base64 of pictures is decoded here.
    pub(crate) fn read(path: &str, value: Value) -> Result<Self, Refusal> {
        let mut fields = Fields::of(path, value)?;
        let kind = fields.required_text("type")?;
        if kind != "message" {
            return Err(Refusal::value(
                &fields.name("type"),
                kind,
                "'message': there are no other items here",
            ));
        }
        fields.one_of("object", &["realtime.item"])?;
        // It has no effect, as OpenAI has it: what a client sends is complete.
        fields.one_of("status", &["completed", "incomplete", "in_progress"])?;
        let id = fields.text("id")?.map(|id| checked_id(&fields.name("id"), id)).transpose()?;
        let role = match fields.required_text("role")?.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            other => {
                let accepted = "'user', 'assistant' or 'system'";
                return Err(Refusal::value(&fields.name("role"), other, accepted));
            }
        };
        let parts = fields.required("content")?;
        let name = fields.name("content");
        fields.finish()?;
        let Value::Array(parts) = parts else { return Err(Refusal::mistyped(&name, "an array of parts")) };
        if parts.is_empty() {
            return Err(Refusal::new(
                "empty_array",
                format!("'{name}' is empty: an item has at least one part"),
            )
            .of(name));
        }
        let content = parts
            .into_iter()
            .enumerate()
            .map(|(at, part)| Content::read(&format!("{name}[{at}]"), role, part))
            .collect::<Result<_, _>>()?;
        Ok(Self { id, role, content })
    }

    /// What it counts against the limit of bytes.
    pub(crate) fn bytes(&self) -> usize {
        bytes(&self.content)
    }

    /// How long its texts are.
    pub(crate) fn text_bytes(&self) -> usize {
        self.content.iter().map(|part| part.text().map_or(0, str::len)).sum()
    }

    pub(crate) fn has_images(&self) -> bool {
        self.content.iter().any(|part| matches!(part, Content::InputImage(_)))
    }

    pub(crate) fn turn(self) -> Option<Turn> {
        turn(self.role, &self.content)
    }
}

impl Item {
    pub(crate) fn bytes(&self) -> usize {
        bytes(&self.content)
    }

    /// As models see it; `None` if it says nothing.
    pub(crate) fn turn(&self) -> Option<Turn> {
        turn(self.role, &self.content)
    }
}

fn bytes(content: &[Content]) -> usize {
    let parts = content.iter().map(|part| {
        OVERHEAD
            + match part {
                Content::InputText(text) | Content::OutputText(text) => text.len(),
                Content::InputImage(bytes) => bytes.len(),
            }
    });
    OVERHEAD + parts.sum::<usize>()
}

fn turn(role: Role, content: &[Content]) -> Option<Turn> {
    let parts: Vec<Part> = content
        .iter()
        .filter_map(|part| match part {
            Content::InputText(text) | Content::OutputText(text) => {
                (!text.is_empty()).then(|| Part::Text(Arc::clone(text)))
            }
            Content::InputImage(bytes) => Some(Part::Image(bytes.clone())),
        })
        .collect();
    (!parts.is_empty()).then_some(Turn { role, parts })
}

impl Content {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::InputText(text) | Self::OutputText(text) => Some(text),
            Self::InputImage(_) => None,
        }
    }

    fn read(path: &str, role: Role, value: Value) -> Result<Self, Refusal> {
        let mut fields = Fields::of(path, value)?;
        let kind = fields.required_text("type")?;
        let part = match (role, kind.as_str()) {
            (Role::User | Role::System, "input_text") => {
                Self::InputText(fields.required_text("text")?.into())
            }
            (Role::Assistant, "output_text") => Self::OutputText(fields.required_text("text")?.into()),
            (Role::User, "input_image") => {
                // Pictures are seen as the model's own preparation makes them, which is its highest detail.
                fields.one_of("detail", &["auto", "high"])?;
                let url = fields.required_text("image_url")?;
                Self::InputImage(picture(&fields.name("image_url"), &url)?)
            }
            (_, "input_audio" | "output_audio") => {
                return Err(Refusal::unsupported(&fields.name("type"), "there is no audio; send its text"));
            }
            (role, other) => {
                let accepted = match role {
                    Role::User => "'input_text' or 'input_image' in a user's item",
                    Role::System => "'input_text' in a system item",
                    Role::Assistant => "'output_text' in an assistant's item",
                };
                return Err(Refusal::value(&fields.name("type"), other, accepted));
            }
        };
        fields.finish()?;
        Ok(part)
    }
}

/// The bytes that a `data:` URL holds.
fn picture(name: &str, url: &str) -> Result<Bytes, Refusal> {
    const FORM: &str = "a URL such as data:image/png;base64,...: nothing is fetched from elsewhere";
    let encoded = url
        .strip_prefix("data:image/")
        .and_then(|rest| rest.split_once(','))
        .filter(|(kind, _)| kind.strip_suffix(";base64").is_some_and(is_subtype))
        .map(|(_, encoded)| encoded)
        .ok_or_else(|| Refusal::value(name, url, FORM))?;
    match STANDARD.decode(encoded) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes.into()),
        Ok(_) => Err(Refusal::value(name, url, "a picture: there is nothing in it")),
        Err(error) => {
            let message = format!("'{name}' is broken base64 ({error}): encode the picture's file again");
            Err(Refusal::new("invalid_value", message).of(name))
        }
    }
}

fn is_subtype(kind: &str) -> bool {
    !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// An id that a client gives, which is repeated in events and so must be short.
pub(crate) fn checked_id(name: &str, id: String) -> Result<Arc<str>, Refusal> {
    let accepted = "1 to 64 visible ASCII characters, and not 'root'";
    let shaped =
        !id.is_empty() && id.len() <= ID_CHARACTERS && id.bytes().all(|byte| byte.is_ascii_graphic());
    if shaped && id != "root" { Ok(id.into()) } else { Err(Refusal::value(name, id, accepted)) }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let role = match self.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let mut item = serializer.serialize_struct("Item", 6)?;
        item.serialize_field("id", &self.id)?;
        item.serialize_field("object", "realtime.item")?;
        item.serialize_field("type", "message")?;
        item.serialize_field("status", &self.status)?;
        item.serialize_field("role", role)?;
        item.serialize_field("content", &self.content)?;
        item.end()
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, text) = match self {
            Self::InputText(text) => ("input_text", Some(text)),
            Self::OutputText(text) => ("output_text", Some(text)),
            Self::InputImage(_) => ("input_image", None),
        };
        let mut part = serializer.serialize_struct("Content", 2)?;
        part.serialize_field("type", kind)?;
        match text {
            Some(text) => part.serialize_field("text", text)?,
            None => part.skip_field("text")?,
        }
        part.end()
    }
}
