use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::fields::Fields;
use super::refusal::Refusal;

/// The most pairs of a response's metadata, and how long they may be, as OpenAI has it.
const METADATA: (usize, usize, usize) = (16, 64, 512);

/// The most tokens of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum MaxTokens {
    /// As many as the model's context has room for.
    #[default]
    Inf,
    Most(u32),
}

impl MaxTokens {
    pub(crate) const fn most(self) -> Option<u32> {
        match self {
            Self::Inf => None,
            Self::Most(most) => Some(most),
        }
    }

    /// `None` if it is not said.
    fn take(fields: &mut Fields) -> Result<Option<Self>, Refusal> {
        const MEMBER: &str = "max_output_tokens";
        if !fields.has(MEMBER) {
            return Ok(None);
        }
        let name = fields.name(MEMBER);
        let accepted = || format!("an integer from 1 to {} or 'inf'", u32::MAX);
        match fields.take(MEMBER) {
            None => Ok(Some(Self::Inf)),
            Some(Value::String(inf)) if inf == "inf" => Ok(Some(Self::Inf)),
            Some(Value::Number(number)) => {
                let most = number.as_u64().and_then(|most| u32::try_from(most).ok()).filter(|most| *most > 0);
                most.map(Self::Most).map(Some).ok_or_else(|| Refusal::value(&name, number, accepted()))
            }
            Some(Value::String(text)) => Err(Refusal::value(&name, text, accepted())),
            Some(_) => Err(Refusal::mistyped(&name, accepted())),
        }
    }
}

impl Serialize for MaxTokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inf => serializer.serialize_str("inf"),
            Self::Most(most) => serializer.serialize_u32(*most),
        }
    }
}

/// What a `session.update` changes: what it says nothing of stays.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Update {
    /// `Some(None)`: there are to be none.
    pub(crate) instructions: Option<Option<String>>,
    pub(crate) max_output_tokens: Option<MaxTokens>,
    /// The client's idea of the model, which must be the session's.
    pub(crate) model: Option<String>,
}

impl Update {
    pub(crate) fn read(value: Value) -> Result<Self, Refusal> {
        let mut fields = Fields::of("session", value)?;
        fields.one_of("type", &["realtime"])?;
        let model = fields.text("model")?;
        let instructions = instructions(&mut fields)?;
        let max_output_tokens = MaxTokens::take(&mut fields)?;
        without_effect(&mut fields)?;
        fields.unsupported("include", "there are no transcriptions")?;
        fields.unsupported("tracing", "sessions are not traced")?;
        match fields.take("truncation") {
            None => {}
            Some(Value::String(disabled)) if disabled == "disabled" => {}
            Some(_) => {
                let instead = "only 'disabled' is; delete items that the model's context has no room for";
                return Err(Refusal::unsupported(&fields.name("truncation"), instead));
            }
        }
        fields.finish()?;
        Ok(Self { instructions, max_output_tokens, model })
    }
}

/// What one response is to be; the rest is as the session has it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct ResponseTerms {
    pub(crate) instructions: Option<Option<String>>,
    pub(crate) max_output_tokens: Option<MaxTokens>,
    pub(crate) metadata: Option<BTreeMap<String, String>>,
}

impl ResponseTerms {
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, Refusal> {
        let terms = Self {
            // `null` leaves the session's.
            instructions: instructions(fields)?.filter(Option::is_some),
            max_output_tokens: MaxTokens::take(fields)?,
            metadata: metadata(fields)?,
        };
        without_effect(fields)?;
        Ok(terms)
    }
}

/// An empty text is as good as none.
fn instructions(fields: &mut Fields) -> Result<Option<Option<String>>, Refusal> {
    if !fields.has("instructions") {
        return Ok(None);
    }
    Ok(Some(fields.text("instructions")?))
}

/// What both a session and a response may say, as long as it says what is so anyway.
fn without_effect(fields: &mut Fields) -> Result<(), Refusal> {
    if let Some(modalities) = fields.list("output_modalities")?
        && modalities != ["text"]
    {
        return Err(Refusal::unsupported(&fields.name("output_modalities"), "only [\"text\"] is"));
    }
    fields.unsupported("tools", "models here call no functions")?;
    match fields.take("tool_choice") {
        None => {}
        Some(Value::String(choice)) if choice == "auto" || choice == "none" => {}
        Some(_) => {
            let instead = "models here call no functions; it may be 'auto' or 'none'";
            return Err(Refusal::unsupported(&fields.name("tool_choice"), instead));
        }
    }
    fields.unsupported("audio", "there is no audio, only text")?;
    fields.unsupported("prompt", "there are no stored prompts; say it in 'instructions'")?;
    fields.unsupported("reasoning", "it cannot be set")?;
    fields.unsupported("parallel_tool_calls", "models here call no functions")
}

fn metadata(fields: &mut Fields) -> Result<Option<BTreeMap<String, String>>, Refusal> {
    let name = fields.name("metadata");
    let Some(value) = fields.take("metadata") else { return Ok(None) };
    let (most, key_length, value_length) = METADATA;
    let accepted = format!(
        "an object of at most {most} strings of at most {value_length} characters, their names of at most {key_length}"
    );
    let Value::Object(members) = value else { return Err(Refusal::mistyped(&name, accepted)) };
    let long = |text: &str, most: usize| text.chars().nth(most).is_some();
    let mut metadata = BTreeMap::new();
    for (key, value) in members {
        let Value::String(value) = value else { return Err(Refusal::mistyped(&name, accepted)) };
        if long(&key, key_length) || long(&value, value_length) {
            return Err(Refusal::value(&name, key, accepted));
        }
        metadata.insert(key, value);
    }
    if metadata.len() > most {
        return Err(Refusal::value(&name, format!("{} pairs", metadata.len()), accepted));
    }
    Ok(Some(metadata))
}
