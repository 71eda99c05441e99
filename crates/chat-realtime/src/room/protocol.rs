//! What rooms and clients say to each other. `docs/realtime.md` tells clients' authors the same.

mod said;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::context::{Passage, Progress};
use crate::model::Usage;
pub(super) use said::{Refused, Said, Stamped, picture_data, read};

/// What a room remembers: one order for everybody.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Event {
    #[serde(rename = "message.created")]
    MessageCreated { message: Message },
    #[serde(rename = "message.updated")]
    MessageUpdated { id: String, text: String, client: String },
    #[serde(rename = "message.deleted")]
    MessageDeleted { id: String, client: String },
    #[serde(rename = "answer.created")]
    AnswerCreated { answer: AnswerOpened },
    #[serde(rename = "answer.done")]
    AnswerDone(AnswerDone),
    #[serde(rename = "notice")]
    Notice {
        code: Notice,
        text: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        messages: Vec<String>,
    },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) client: String,
    pub(super) name: String,
    pub(super) text: String,
    /// As data URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) images: Vec<String>,
    /// The assistant is to answer.
    pub(super) assistant: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct AnswerOpened {
    pub(super) id: String,
    /// The message that is answered.
    pub(super) question: String,
    /// Who asked.
    pub(super) client: String,
    pub(super) model: String,
    pub(super) citations: Vec<Citation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) context_error: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Citation {
    path: String,
    first_line: u32,
    last_line: u32,
    score: f32,
}

impl From<&Passage> for Citation {
    fn from(passage: &Passage) -> Self {
        let (first_line, last_line) = passage.lines;
        Self { path: passage.path.clone(), first_line, last_line, score: passage.score }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct AnswerDone {
    pub(super) id: String,
    pub(super) status: Status,
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Used>,
    /// Who stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Completed,
    Length,
    Stopped,
    Failed,
    Interrupted,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Used {
    input_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
}

impl From<Usage> for Used {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            cached_tokens: usage.cached_tokens,
            output_tokens: usage.output_tokens,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Notice {
    Restarted,
    NotAnswered,
    NoAssistant,
    Announcement,
}

/// What is said once and not remembered.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
pub(super) enum Told<'a> {
    #[serde(rename = "room.joined")]
    Joined(Box<Joined<'a>>),
    #[serde(rename = "answer.delta")]
    Delta { id: &'a str, offset: usize, delta: &'a str },
    #[serde(rename = "ack")]
    Ack {
        #[serde(skip_serializing_if = "Option::is_none")]
        event_id: Option<&'a str>,
        id: &'a str,
        at_seq: u64,
        duplicate: bool,
    },
    #[serde(rename = "error")]
    Error { event_id: Option<&'a str>, error: Problem<'a> },
    #[serde(rename = "presence.members")]
    Members { members: Vec<Person<'a>>, typing: Vec<&'a str> },
    #[serde(rename = "presence.joined")]
    Came { client: &'a str, name: &'a str, members: usize },
    #[serde(rename = "presence.left")]
    Left { client: &'a str, name: &'a str, members: usize },
    #[serde(rename = "typing.updated")]
    Typing { client: &'a str, typing: bool },
    #[serde(rename = "read.updated")]
    Read { client: &'a str, at_seq: u64 },
    #[serde(rename = "context.updated")]
    Context { context: &'a Progress },
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Joined<'a> {
    pub(super) room: &'a str,
    pub(super) last: u64,
    pub(super) resumed: bool,
    pub(super) reason: Option<&'a str>,
    pub(super) message: Option<&'a str>,
    pub(super) you: Person<'a>,
    pub(super) members: Vec<Person<'a>>,
    pub(super) typing: Vec<&'a str>,
    pub(super) reads: Vec<ReadUpTo>,
    pub(super) assistant: Option<Assistant<'a>>,
    pub(super) answering: Option<&'a str>,
    pub(super) context: Option<&'a Progress>,
    pub(super) limits: Limits,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Person<'a> {
    pub(super) client: &'a str,
    pub(super) name: &'a str,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct ReadUpTo {
    pub(super) client: String,
    pub(super) seq: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Assistant<'a> {
    pub(super) name: &'a str,
    pub(super) model: &'a str,
    pub(super) images: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Limits {
    pub(super) event_bytes: usize,
    pub(super) text_bytes: usize,
    pub(super) images: usize,
    pub(super) events_per_second: u32,
    pub(super) history_events: usize,
    pub(super) history_bytes: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Problem<'a> {
    pub(super) code: &'static str,
    pub(super) message: &'a str,
}

/// What is saved beside the events.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    #[serde(default)]
    pub(super) reads: Vec<ReadUpTo>,
    /// The answer that is being written, as far as it was when this was saved.
    #[serde(default)]
    pub(super) writing: Option<Written>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) id: String,
    pub(super) text: String,
}

/// A frame's text.
pub(super) fn frame(event: &impl Serialize, epoch: &str, seq: u64, at: Option<i64>) -> Arc<str> {
    #[derive(Serialize)]
    struct Framed<'a, T> {
        #[serde(flatten)]
        event: &'a T,
        epoch: &'a str,
        seq: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<i64>,
    }
    text(&Framed { event, epoch, seq, at })
}

/// JSON of what can always be JSON: no map here has keys other than strings.
pub(super) fn text(value: &impl Serialize) -> Arc<str> {
    serde_json::to_string(value).unwrap_or_default().into()
}
