//! `messages`: what was said so far.

use std::fmt;

use language_model::Message;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::tools::Kind;
use crate::http::json;
use crate::http::pictures::NamedPicture;

/// A message, checked as far as that needs no model.
#[derive(Deserialize, Debug)]
#[serde(try_from = "Spelled")]
pub(super) struct ChatMessage {
    message: Message,
    /// Those that its content has places for, in order.
    pictures: Vec<NamedPicture>,
}

/// Takes the pictures out of messages, which keep their places.
pub(super) fn parted(messages: Vec<ChatMessage>) -> (Vec<Message>, Vec<NamedPicture>) {
    let mut pictures = Vec::new();
    let message = |ChatMessage { message, pictures: own }| {
        pictures.extend(own);
        message
    };
    (messages.into_iter().map(message).collect(), pictures)
}

/// A message, as OpenAI spells it. An answer can be sent back as it came, with the fields that it has for nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"role\": \"user\", \"content\": \"...\"}")]
struct Spelled {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
    #[serde(default)]
    tool_call_id: Option<String>,
    /// What the model thought before it answered, where its template wants to see it again.
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    refusal: Option<Anything>,
    #[serde(default)]
    annotations: Option<Anything>,
    #[serde(default)]
    audio: Option<Anything>,
    #[serde(default)]
    function_call: Option<Anything>,
    /// The content once more, as clients add it that parse.
    #[serde(default, rename = "parsed")]
    _parsed: Option<IgnoredAny>,
}

/// What is read only to see whether there is anything.
#[derive(Deserialize)]
#[serde(untagged)]
enum Anything {
    Nothing([IgnoredAny; 0]),
    Something(IgnoredAny),
}

/// A call of a tool that the model made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with id, type and function")]
struct Call {
    id: String,
    #[serde(default, rename = "type")]
    _type: Option<Kind>,
    function: CalledFunction,
    /// Its place, as streams tell it.
    #[serde(default, rename = "index")]
    _index: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with name and arguments")]
struct CalledFunction {
    name: String,
    arguments: String,
    /// The arguments once more, as clients add them that parse.
    #[serde(default, rename = "parsed_arguments")]
    _parsed: Option<IgnoredAny>,
}

impl TryFrom<Spelled> for ChatMessage {
    type Error = String;

    fn try_from(spelled: Spelled) -> Result<Self, String> {
        let Spelled { role, content, name, tool_calls, tool_call_id, reasoning_content, .. } = spelled;
        let unread = [
            ("refusal", &spelled.refusal),
            ("annotations", &spelled.annotations),
            ("audio", &spelled.audio),
            ("function_call", &spelled.function_call),
        ];
        let there = |value: &Option<Anything>| matches!(value, Some(Anything::Something(_)));
        if let Some((field, _)) = unread.iter().find(|(_, value)| there(value)) {
            return Err(format!("{field} is not supported in messages; leave it out"));
        }
        // What OpenAI calls a developer, chat templates call the system.
        let role = if role == "developer" { "system" } else { role.as_str() };
        if !["system", "user", "assistant", "tool"].contains(&role) {
            return Err(format!(
                "role {role:?} is none of \"system\", \"developer\", \"user\", \"assistant\" and \"tool\""
            ));
        }
        let calls = tool_calls.filter(|calls| !calls.is_empty());
        if calls.is_some() && role != "assistant" {
            return Err(format!("tool_calls are the assistant's, and this message's role is {role:?}"));
        }
        if role == "tool" && tool_call_id.is_none() {
            return Err(
                "a message of a tool has the tool_call_id of the call that it answers; add it".to_owned()
            );
        }
        let (content, pictures) = match content {
            Some(content) => content.parted(),
            None if calls.is_some() => (Value::from(""), Vec::new()),
            None => return Err(format!("a message of the role {role:?} needs content")),
        };
        if role != "user" && !pictures.is_empty() {
            return Err(format!("pictures are the user's, and this message's role is {role:?}"));
        }
        let mut fields = Map::new();
        fields.insert("role".to_owned(), role.into());
        fields.insert("content".to_owned(), content);
        let texts =
            [("name", name), ("tool_call_id", tool_call_id), ("reasoning_content", reasoning_content)];
        for (field, text) in texts {
            if let Some(text) = text {
                fields.insert(field.to_owned(), text.into());
            }
        }
        if let Some(calls) = calls {
            let call = |Call { id, function, .. }: Call| json!({"id": id, "type": "function", "function": {"name": function.name, "arguments": function.arguments}});
            fields.insert("tool_calls".to_owned(), calls.into_iter().map(call).collect());
        }
        Ok(Self { message: fields.into(), pictures })
    }
}

/// What a message says.
#[derive(Debug)]
enum Content {
    /// Given whole.
    Text(String),
    /// Given in parts.
    Parts(Vec<Part>),
}

impl Content {
    /// The content as templates read it, and the pictures that it has places for. Texts alone are put one below the other:
    /// most templates read no parts.
    fn parted(self) -> (Value, Vec<NamedPicture>) {
        let parts = match self {
            Self::Text(text) => return (text.into(), Vec::new()),
            Self::Parts(parts) => parts,
        };
        let texts: Option<Vec<&str>> = parts.iter().map(Part::text).collect();
        if let Some(texts) = texts {
            return (texts.join("\n").into(), Vec::new());
        }
        let mut pictures = Vec::new();
        let part = |part| match part {
            Part::Text(text) => json!({"type": "text", "text": text}),
            Part::Picture(picture) => {
                pictures.push(picture);
                json!({"type": "image"})
            }
        };
        (parts.into_iter().map(part).collect(), pictures)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of parts such as {\"type\": \"text\", \"text\": \"...\"}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                let parts: Vec<Part> = json::entries(parts, "content")?;
                if parts.is_empty() {
                    return Err(de::Error::custom("an empty list; send at least one part"));
                }
                Ok(Content::Parts(parts))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

/// A part of a message's content.
#[derive(Deserialize, Debug)]
#[serde(try_from = "SpelledPart")]
enum Part {
    Text(String),
    Picture(NamedPicture),
}

impl Part {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Picture(_) => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"type\": \"text\", \"text\": \"...\"}")]
struct SpelledPart {
    r#type: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    image_url: Option<ImageUrl>,
    #[serde(default)]
    input_audio: Option<Anything>,
    #[serde(default)]
    file: Option<Anything>,
    #[serde(default)]
    refusal: Option<Anything>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"url\": \"data:image/png;base64,...\"}")]
struct ImageUrl {
    url: NamedPicture,
    #[serde(default, rename = "detail")]
    _detail: Option<Detail>,
}

/// How closely a picture is looked at: as closely as the model does.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Detail;

impl TryFrom<String> for Detail {
    type Error = String;

    fn try_from(detail: String) -> Result<Self, String> {
        match detail.as_str() {
            "auto" | "high" => Ok(Self),
            "low" => {
                Err("\"low\" is not supported: models see pictures as they were trained to; send \"auto\""
                    .to_owned())
            }
            _ => Err(format!("{detail:?} is none of \"auto\", \"high\" and \"low\"")),
        }
    }
}

impl TryFrom<SpelledPart> for Part {
    type Error = String;

    fn try_from(part: SpelledPart) -> Result<Self, String> {
        let others = [&part.input_audio, &part.file, &part.refusal];
        let alone = !others.into_iter().any(|other| matches!(other, Some(Anything::Something(_))));
        match (part.r#type.as_str(), part.text, part.image_url) {
            ("text", Some(text), None) if alone => Ok(Self::Text(text)),
            ("image_url", None, Some(image)) if alone => Ok(Self::Picture(image.url)),
            ("text", _, _) => Err("a part of type \"text\" has text and nothing else".to_owned()),
            ("image_url", _, _) => {
                Err("a part of type \"image_url\" has image_url and nothing else".to_owned())
            }
            (other, _, _) => {
                Err(format!("parts of type {other:?} are not supported; send \"text\" or \"image_url\""))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(message: &Value) -> Result<Map<String, Value>, String> {
        let read = serde_json::from_value::<ChatMessage>(message.clone());
        read.map(|read| read.message.fields().clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn messages_are_given_to_the_template_as_they_are() {
        let user = json!({"role": "user", "content": "hello", "name": "ada"});
        assert_eq!(Value::from(read(&user).unwrap()), user);
        let parts = json!({"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]});
        assert_eq!(Value::from(read(&parts).unwrap()), json!({"role": "system", "content": "a\nb"}));
    }

    #[test]
    fn pictures_leave_their_places_to_the_template() {
        let picture = |bytes: &str| json!({"type": "image_url", "image_url": {"url": format!("data:,{bytes}"), "detail": "high"}});
        let text = json!({"type": "text", "text": "a"});
        let messages = json!([
            {"role": "user", "content": [picture("1"), text, picture("2")]},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": [picture("3")]},
        ]);
        let (messages, pictures) = parted(serde_json::from_value(messages).unwrap());
        let image = json!({"type": "image"});
        assert_eq!(messages[0].fields()["content"], json!([image, text, image]));
        assert_eq!(messages[2].fields()["content"], json!([image]));
        let given: Vec<_> = pictures
            .into_iter()
            .map(|picture| match picture {
                NamedPicture::Given(bytes) => bytes,
                NamedPicture::At(url) => panic!("{url}"),
            })
            .collect();
        assert_eq!(given.iter().map(|bytes| &**bytes).collect::<Vec<_>>(), [b"1", b"2", b"3"]);
    }

    #[test]
    fn an_answer_can_be_sent_back_as_it_came() {
        let call = json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let answer = json!({
            "role": "assistant", "content": null, "refusal": null, "annotations": [], "audio": null,
            "function_call": null, "tool_calls": [call], "parsed": null,
        });
        let wanted = json!({"role": "assistant", "content": "", "tool_calls": [call]});
        assert_eq!(Value::from(read(&answer).unwrap()), wanted);
        let result = json!({"role": "tool", "content": "5", "tool_call_id": "call_1"});
        assert_eq!(Value::from(read(&result).unwrap()), result);
    }

    #[test]
    fn what_is_no_message_is_told_so() {
        for (message, wanted) in [
            (json!({"role": "user"}), "needs content"),
            (json!({"role": "assistant", "content": null}), "needs content"),
            (json!({"role": "robot", "content": "a"}), "role \"robot\" is none of"),
            (json!({"role": "user", "content": []}), "an empty list"),
            (json!({"role": "user", "content": 5}), "expected a text or a list of parts"),
            (json!({"role": "tool", "content": "5"}), "has the tool_call_id"),
            (
                json!({"role": "user", "content": "a", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}),
                "are the assistant's",
            ),
            (json!({"role": "assistant", "content": "a", "refusal": "no"}), "refusal is not supported"),
            (
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
                "not a data URL with a picture",
            ),
            (
                json!({"role": "user", "content": [{"type": "image_url", "image_url": "data:,a"}]}),
                "an object such as {\"url\"",
            ),
            (json!({"role": "user", "content": [{"type": "image_url"}]}), "has image_url and nothing else"),
            (
                json!({"role": "user", "content": [{"type": "text", "text": "a", "file": {"file_id": "b"}}]}),
                "has text and nothing else",
            ),
            (
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,a", "detail": "low"}}]}),
                "\"low\" is not supported",
            ),
            (
                json!({"role": "user", "content": [{"type": "text", "text": "a", "image_url": {"url": "data:,a"}}]}),
                "has text and nothing else",
            ),
            (
                json!({"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "data:,a"}}]}),
                "pictures are the user's",
            ),
            (
                json!({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}),
                "parts of type \"input_audio\"",
            ),
            (
                json!({"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]}),
                "unknown field `cache_control`",
            ),
            (json!({"role": "user", "content": "a", "mood": "good"}), "unknown field `mood`"),
        ] {
            let error = read(&message).unwrap_err();
            assert!(error.contains(wanted), "{message}: {error}");
        }
    }
}
