//! What clients say, read and checked as far as one event alone can be.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::limits::RoomLimits;
use crate::delivery::Inbound;

/// An event of a client, and what it calls it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::room) struct Stamped {
    pub(in crate::room) event_id: Option<String>,
    pub(in crate::room) said: Said,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::room) enum Said {
    Create(Create),
    Update(Update),
    Delete { id: String },
    Stop { answer: Option<String> },
    Typing(bool),
    Read { seq: u64 },
    Members,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::room) struct Create {
    pub(in crate::room) id: Option<String>,
    pub(in crate::room) text: String,
    #[serde(default)]
    pub(in crate::room) images: Vec<String>,
    pub(in crate::room) assistant: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::room) struct Update {
    pub(in crate::room) id: String,
    pub(in crate::room) text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    answer: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    seq: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Why an event is refused, for its sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::room) struct Refused {
    pub(in crate::room) event_id: Option<String>,
    pub(in crate::room) code: &'static str,
    pub(in crate::room) message: String,
}

const TYPES: &str = "message.create, message.update, message.delete, answer.stop, typing.start, typing.stop, read \
                     and presence.list";

/// What an inbound message says.
pub(in crate::room) fn read(inbound: &Inbound, limits: &RoomLimits) -> Result<Stamped, Refused> {
    let refuse = |code, message: String| Refused { event_id: None, code, message };
    let bytes = match inbound {
        Inbound::Text(bytes) => bytes,
        Inbound::Binary { bytes } => {
            return Err(refuse("binary", format!("a binary message of {bytes} bytes: send JSON as text")));
        }
        Inbound::NotUtf8 => return Err(refuse("not_utf8", "the message is no UTF-8".to_owned())),
        Inbound::TooLong { limit } => {
            return Err(refuse("too_long", format!("the message is longer than {limit} bytes")));
        }
    };
    if bytes.len() > limits.event_bytes {
        let (len, most) = (bytes.len(), limits.event_bytes);
        return Err(refuse("too_long", format!("the event has {len} bytes, and may have {most}")));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| refuse("not_utf8", "the message is no UTF-8".to_owned()))?;
    let value: Value =
        serde_json::from_str(text).map_err(|error| refuse("invalid_json", format!("no JSON: {error}")))?;
    let Value::Object(mut fields) = value else {
        return Err(refuse("invalid_event", "an event is a JSON object with a \"type\"".to_owned()));
    };
    let event_id = match fields.remove("event_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if id.len() <= 64 => Some(id),
        Some(_) => {
            let message = "\"event_id\" is not a string of at most 64 bytes".to_owned();
            return Err(refuse("invalid_event", message));
        }
    };
    match said(fields, limits) {
        Ok(said) => Ok(Stamped { event_id, said }),
        Err((code, message)) => Err(Refused { event_id, code, message }),
    }
}

type Fault = (&'static str, String);

fn said(mut fields: Map<String, Value>, limits: &RoomLimits) -> Result<Said, Fault> {
    let Some(Value::String(kind)) = fields.remove("type") else {
        return Err(("invalid_event", format!("the event has no \"type\": it is one of {TYPES}")));
    };
    Ok(match kind.as_str() {
        "message.create" => {
            let create: Create = parsed(&kind, fields)?;
            check(&create, limits)?;
            Said::Create(create)
        }
        "message.update" => {
            let update: Update = parsed(&kind, fields)?;
            check_text(&update.text, limits)?;
            if update.text.trim().is_empty() {
                return Err(("invalid_event", "the text is empty: delete the message instead".to_owned()));
            }
            Said::Update(update)
        }
        "message.delete" => Said::Delete { id: parsed::<Delete>(&kind, fields)?.id },
        "answer.stop" => Said::Stop { answer: parsed::<Stop>(&kind, fields)?.answer },
        "typing.start" => parsed::<Nothing>(&kind, fields).map(|Nothing {}| Said::Typing(true))?,
        "typing.stop" => parsed::<Nothing>(&kind, fields).map(|Nothing {}| Said::Typing(false))?,
        "read" => Said::Read { seq: parsed::<Read>(&kind, fields)?.seq },
        "presence.list" => parsed::<Nothing>(&kind, fields).map(|Nothing {}| Said::Members)?,
        _ => {
            let kind: String = kind.chars().take(64).collect();
            return Err(("unknown_type", format!("rooms know no event {kind:?}: there are {TYPES}")));
        }
    })
}

fn parsed<T: DeserializeOwned>(kind: &str, fields: Map<String, Value>) -> Result<T, Fault> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        // An unknown field's name may be as long as the event.
        let error: String = error.to_string().chars().take(256).collect();
        ("invalid_event", format!("{kind}: {error}"))
    })
}

fn check(create: &Create, limits: &RoomLimits) -> Result<(), Fault> {
    check_text(&create.text, limits)?;
    if let Some(id) = &create.id {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !(1..=64).contains(&id.len()) || !id.chars().all(fits) {
            return Err(("invalid_event", "\"id\" is not 1 to 64 of A-Z, a-z, 0-9, '_' and '-'".to_owned()));
        }
        if id.starts_with("msg_") || id.starts_with("ans_") {
            return Err((
                "invalid_event",
                "ids that begin with msg_ or ans_ are given by the room".to_owned(),
            ));
        }
    }
    if create.text.trim().is_empty() && create.images.is_empty() {
        return Err(("invalid_event", "the message has neither text nor images".to_owned()));
    }
    if create.images.len() > limits.images {
        let (count, most) = (create.images.len(), limits.images);
        return Err(("invalid_event", format!("the message has {count} images, and may have {most}")));
    }
    for (at, image) in create.images.iter().enumerate() {
        if !is_picture(image) {
            let message = format!("images[{at}] is no data URL of a PNG, JPEG, WebP, GIF or BMP in base64");
            return Err(("invalid_event", message));
        }
    }
    Ok(())
}

fn check_text(text: &str, limits: &RoomLimits) -> Result<(), Fault> {
    if text.len() > limits.text_bytes {
        let (len, most) = (text.len(), limits.text_bytes);
        return Err(("too_long", format!("the text has {len} bytes, and may have {most}")));
    }
    Ok(())
}

/// Whether it has the form of a picture's data URL. What is in it shows when a model looks at it.
fn is_picture(url: &str) -> bool {
    picture_data(url).is_some_and(|data| {
        !data.is_empty()
            && data.len().is_multiple_of(4)
            && data
                .trim_end_matches('=')
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
            && data.len() - data.trim_end_matches('=').len() <= 2
    })
}

/// The base64 of a picture's data URL.
pub(in crate::room) fn picture_data(url: &str) -> Option<&str> {
    let (kind, data) = url.strip_prefix("data:image/")?.split_once(";base64,")?;
    matches!(kind, "png" | "jpeg" | "webp" | "gif" | "bmp").then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Stamped, Refused> {
        read(&Inbound::Text(text.to_owned().into()), &RoomLimits::default())
    }

    #[test]
    fn events_are_read_and_what_is_not_known_is_named() {
        let create = of(r#"{"type":"message.create","event_id":"e","id":"a","text":"hi"}"#).unwrap();
        let said = Create { id: Some("a".into()), text: "hi".into(), images: vec![], assistant: None };
        assert_eq!(create, Stamped { event_id: Some("e".into()), said: Said::Create(said) });
        assert_eq!(of(r#"{"type":"typing.start"}"#).unwrap().said, Said::Typing(true));
        assert_eq!(of(r#"{"type":"answer.stop"}"#).unwrap().said, Said::Stop { answer: None });
        for (text, code, named) in [
            ("{", "invalid_json", "EOF"),
            ("[1]", "invalid_event", "object"),
            ("{}", "invalid_event", "type"),
            (r#"{"type":"audio.append","event_id":"e"}"#, "unknown_type", "audio.append"),
            (r#"{"type":"message.create","text":"a","colour":1}"#, "invalid_event", "colour"),
            (r#"{"type":"message.create"}"#, "invalid_event", "text"),
            (r#"{"type":"message.create","text":"a","images":[1]}"#, "invalid_event", "images[0]"),
            (r#"{"type":"message.create","text":" "}"#, "invalid_event", "neither"),
            (r#"{"type":"message.create","text":"a","id":"msg_1"}"#, "invalid_event", "msg_"),
            (r#"{"type":"message.create","text":"a","id":"a b"}"#, "invalid_event", "id"),
            (r#"{"type":"message.create","text":"a","images":["http://x"]}"#, "invalid_event", "images[0]"),
            (r#"{"type":"read","seq":-1}"#, "invalid_event", "seq"),
            (r#"{"type":"typing.stop","text":""}"#, "invalid_event", "text"),
            (r#"{"type":"message.update","id":"a","text":""}"#, "invalid_event", "delete"),
        ] {
            let refused = of(text).unwrap_err();
            assert_eq!(refused.code, code, "{text}");
            assert!(refused.message.contains(named), "{text}: {}", refused.message);
            assert_eq!(refused.event_id.is_some(), text.contains("event_id"));
        }
    }

    #[test]
    fn what_is_no_text_or_too_long_is_refused() {
        let limits = RoomLimits { text_bytes: 4, event_bytes: 64, ..RoomLimits::default() };
        let code = |inbound| read(&inbound, &limits).unwrap_err().code;
        assert_eq!(code(Inbound::Binary { bytes: 3 }), "binary");
        assert_eq!(code(Inbound::NotUtf8), "not_utf8");
        assert_eq!(code(Inbound::Text(vec![0xff, 0xfe].into())), "not_utf8");
        assert_eq!(code(Inbound::TooLong { limit: 9 }), "too_long");
        assert_eq!(code(Inbound::Text(vec![b' '; 65].into())), "too_long");
        let text = r#"{"type":"message.create","text":"12345"}"#;
        assert_eq!(code(Inbound::Text(text.into())), "too_long");
    }
}
