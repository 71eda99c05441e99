use serde_json::{Value, json};

use super::*;
use crate::model::{FailureKind, Finish, Usage};
use crate::session::checked::Checked;

mod events;
mod refusals;
pub(in crate::session) mod walk;

/// A machine, and what it has asked for beside what it has sent.
pub(super) struct Played {
    pub(super) machine: Machine,
    pub(super) checked: Checked,
    pub(super) now: Duration,
    /// Every effect but `Send`, oldest first.
    pub(super) asked: Vec<Effect>,
}

pub(super) fn setting() -> Setting {
    Setting {
        model: "small".into(),
        instructions: Some("Be kind.".into()),
        principal: Principal::default(),
        priority: Priority::default(),
        limits: SessionLimits::default(),
        sees: true,
        cites: false,
    }
}

impl Played {
    /// A session that has told of itself.
    pub(super) fn new(setting: Setting) -> Self {
        let mut played = Self {
            machine: Machine::new(setting, Ids::new(7)),
            checked: Checked::default(),
            now: Duration::ZERO,
            asked: Vec::new(),
        };
        let opened = played.machine.open();
        let told = played.take(opened);
        assert_eq!(types(&told), ["session.created"]);
        played
    }

    pub(super) fn take(&mut self, effects: Vec<Effect>) -> Vec<Value> {
        let mut told = Vec::new();
        for effect in effects {
            assert!(
                !matches!(self.asked.last(), Some(Effect::Close(_))),
                "nothing follows a close, not {effect:?}"
            );
            match effect {
                Effect::Send(event) => {
                    let event = serde_json::to_value(&event).unwrap();
                    self.checked.see(&event);
                    told.push(event);
                }
                Effect::Close(code) => {
                    self.checked.close();
                    self.asked.push(Effect::Close(code));
                }
                other => self.asked.push(other),
            }
        }
        told
    }

    pub(super) fn say(&mut self, event: &Value) -> Vec<Value> {
        let message = ClientMessage::read(event.to_string().as_bytes());
        let effects = self.machine.message(message, self.now);
        self.take(effects)
    }

    /// The error that an event is refused with, and nothing else.
    pub(super) fn refused(&mut self, event: &Value) -> Value {
        let told = self.say(event);
        assert_eq!(types(&told), ["error"], "{event} is refused");
        told[0]["error"].clone()
    }

    pub(super) fn create(&mut self, id: &str, role: &str, said: &str) {
        let kind = if role == "assistant" { "output_text" } else { "input_text" };
        let item =
            json!({"id": id, "type": "message", "role": role, "content": [{"type": kind, "text": said}]});
        let told = self.say(&json!({"type": "conversation.item.create", "item": item}));
        assert_eq!(types(&told), ["conversation.item.added", "conversation.item.done"]);
    }

    /// Begins a response and gives its id.
    pub(super) fn respond(&mut self, response: &Value) -> String {
        let told = self.say(&json!({"type": "response.create", "response": response}));
        assert_eq!(types(&told), ["response.created", "rate_limits.updated"], "{told:?}");
        told[0]["response"]["id"].as_str().unwrap().to_owned()
    }

    pub(super) fn piece(&mut self, response: &str, said: &str) -> Vec<Value> {
        let effects = self.machine.piece(response, Piece::Text(said.to_owned()));
        self.take(effects)
    }

    pub(super) fn end(&mut self, response: &str, finish: Finish) -> Vec<Value> {
        let usage = Usage { input_tokens: 9, cached_tokens: 4, output_tokens: 2 };
        let effects = self.machine.piece(response, Piece::End { finish, usage });
        self.take(effects)
    }

    /// The prompt that the model was last asked with.
    pub(super) fn prompt(&self) -> &Prompt {
        let prompts = self.asked.iter().rev();
        prompts
            .filter_map(|effect| match effect {
                Effect::Respond { prompt, .. } => Some(prompt),
                _ => None,
            })
            .next()
            .expect("the model was asked")
    }
}

pub(super) fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

pub(super) fn failure(kind: FailureKind) -> ModelFailure {
    ModelFailure { kind, message: "it does not work; try another".to_owned() }
}
