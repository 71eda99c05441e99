//! Models that write text, as sessions and rooms see them.

use std::sync::Arc;

use chat_realtime::Responder;
use chat_realtime::model::{Answer, FailureKind, Finish, ModelFailure, Part, Piece, Prompt, Role, Usage};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use imaging::EncodedImage;
use language_model::{
    Chat, Error as TextError, FinishReason, GenerationStream, Message, Modality as Writing,
};
use pool_core::{Deadline, Error as PoolError};
use serde_json::{Value, json};

use crate::config::Modality;
use crate::failure::told;
use crate::registry::{Entry, NotServed, Served};

/// A model of the registry, which is looked for and loaded when it is first asked.
#[derive(Clone, Debug)]
pub(super) struct PoolResponder {
    entry: Arc<Entry>,
    image_limits: imaging::Limits,
}

impl PoolResponder {
    /// The model; `None` if it writes no text.
    pub(super) fn new(entry: &Arc<Entry>, image_limits: imaging::Limits) -> Option<Self> {
        let writes = matches!(entry.settings().modality, Modality::TextToText | Modality::LlavaVision);
        writes.then(|| Self { entry: Arc::clone(entry), image_limits })
    }

    async fn begin(self, prompt: Prompt) -> Result<Answer, ModelFailure> {
        let served = self.entry.served(Deadline::NONE).await.map_err(not_served)?;
        let (messages, pictures) = messages(&prompt);
        let stream = match served {
            Served::Text(pool) if pictures.is_empty() => told_of(pool.chat(messages), &prompt).stream().await,
            Served::Text(_) => {
                let message = format!(
                    "model {} reads no pictures; use one of the modality llava-vision",
                    self.entry.name()
                );
                return Err(ModelFailure { kind: FailureKind::Invalid, message });
            }
            Served::Vision(pool) => {
                let encoded = |file: &[u8]| EncodedImage::with_limits(file, self.image_limits);
                let pictures: Vec<EncodedImage> = pictures.into_iter().map(encoded).collect();
                told_of(pool.chat(messages).pictures(pictures), &prompt).stream().await
            }
            other => {
                let message = format!("model {} {}", self.entry.name(), other.purpose());
                return Err(ModelFailure { kind: FailureKind::Invalid, message });
            }
        };
        Ok(answer(stream.map_err(|error| failure(&error))?))
    }
}

impl Responder for PoolResponder {
    fn model(&self) -> &str {
        self.entry.name()
    }

    fn sees(&self) -> bool {
        self.entry.settings().modality == Modality::LlavaVision
    }

    fn respond(&self, prompt: Prompt) -> BoxFuture<'static, Result<Answer, ModelFailure>> {
        Box::pin(self.clone().begin(prompt))
    }
}

fn told_of<M: Writing>(chat: Chat<M>, prompt: &Prompt) -> Chat<M> {
    let chat = chat.priority(prompt.priority).principal(prompt.principal.clone());
    match prompt.max_output_tokens {
        Some(most) => chat.max_tokens(usize::try_from(most).unwrap_or(usize::MAX)),
        None => chat,
    }
}

/// The conversation as chat templates read it, and its pictures in order.
fn messages(prompt: &Prompt) -> (Vec<Message>, Vec<&[u8]>) {
    let mut pictures = Vec::new();
    let mut messages: Vec<Message> =
        prompt.instructions.iter().map(|text| Message::system(&**text)).collect();
    for turn in &prompt.turns {
        let role = match turn.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let plain = turn.parts.iter().all(|part| matches!(part, Part::Text(_)));
        let parts = turn.parts.iter().map(|part| match part {
            Part::Text(text) => json!({"type": "text", "text": &**text}),
            Part::Image(file) => {
                pictures.push(&file[..]);
                json!({"type": "image"})
            }
        });
        let content = if plain {
            let texts = turn.parts.iter().filter_map(|part| match part {
                Part::Text(text) => Some(&**text),
                Part::Image(_) => None,
            });
            Value::String(texts.collect::<Vec<_>>().join("\n"))
        } else {
            Value::Array(parts.collect())
        };
        messages.push(Message::new(role, content));
    }
    (messages, pictures)
}

/// What is written, piece by piece, and one end.
fn answer(stream: GenerationStream) -> Answer {
    struct Writing {
        stream: GenerationStream,
        finish: Finish,
        ended: bool,
    }
    let writing = Writing { stream, finish: Finish::Stop, ended: false };
    let pieces = stream::unfold(writing, async |mut writing| {
        if writing.ended {
            return None;
        }
        loop {
            match writing.stream.next().await {
                Some(Ok(delta)) => {
                    if delta.finish == Some(FinishReason::Length) {
                        writing.finish = Finish::Length;
                    }
                    if !delta.text.is_empty() {
                        return Some((Ok(Piece::Text(delta.text)), writing));
                    }
                }
                Some(Err(error)) => {
                    writing.ended = true;
                    return Some((Err(failure(&error)), writing));
                }
                None => {
                    writing.ended = true;
                    let usage = writing.stream.usage().map(|usage| Usage {
                        input_tokens: usage.prompt as u64,
                        cached_tokens: usage.cached as u64,
                        output_tokens: usage.completion as u64,
                    });
                    let end = Piece::End { finish: writing.finish, usage: usage.unwrap_or_default() };
                    return Some((Ok(end), writing));
                }
            }
        }
    });
    Box::pin(pieces)
}

fn failure(error: &TextError) -> ModelFailure {
    of_pool(error.pool(), error.to_string())
}

/// What can be done about what a pool said.
pub(super) fn of_pool(error: Option<&PoolError>, message: String) -> ModelFailure {
    let kind = match error {
        Some(
            error @ (PoolError::Overloaded { .. }
            | PoolError::LoadFailed { .. }
            | PoolError::Unavailable { .. }),
        ) => FailureKind::Overloaded {
            retry_after: error.retry_after().unwrap_or(std::time::Duration::from_secs(1)),
        },
        Some(PoolError::TooLarge { .. } | PoolError::Invalid { .. } | PoolError::Convicted { .. }) => {
            FailureKind::Invalid
        }
        Some(PoolError::ShuttingDown | PoolError::Cancelled) => FailureKind::ShuttingDown,
        _ => FailureKind::Failed,
    };
    ModelFailure { kind, message: told(message) }
}

/// Why a model of the registry cannot be asked.
pub(super) fn not_served(error: NotServed) -> ModelFailure {
    match error {
        NotServed::NotYet { name, why, retry_after } => {
            let message = told(format!("model {name} is not ready: {why}"));
            ModelFailure { kind: FailureKind::Overloaded { retry_after }, message }
        }
        NotServed::Unknown { name, .. } | NotServed::TooLate { name } => {
            ModelFailure { kind: FailureKind::Failed, message: format!("model {name} is not there") }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use chat_realtime::model::Turn;
    use pool_core::{Principal, Priority};

    use super::*;

    #[test]
    fn a_conversation_is_told_as_templates_read_it() {
        let text = |text: &str| Part::Text(text.into());
        let turn = |role, parts| Turn { role, parts };
        let prompt = Prompt {
            instructions: Some("Be brief.".into()),
            turns: vec![
                turn(Role::User, vec![text("What is this?"), Part::Image(Bytes::from_static(b"PNG"))]),
                turn(Role::Assistant, vec![text("A cat.")]),
                turn(Role::User, vec![text("And"), text("now?")]),
            ],
            max_output_tokens: None,
            priority: Priority::Normal,
            principal: Principal::default(),
        };
        let (messages, pictures) = messages(&prompt);
        let told: Vec<Value> = messages.into_iter().map(Value::from).collect();
        assert_eq!(
            json!(told),
            json!([
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image"}]},
                {"role": "assistant", "content": "A cat."},
                {"role": "user", "content": "And\nnow?"},
            ])
        );
        assert_eq!(pictures, [b"PNG"]);
    }

    #[test]
    fn what_can_be_done_about_a_failure_is_kept() {
        let invalid = PoolError::Invalid { message: "the prompt is too long".into() };
        let told = of_pool(Some(&invalid), invalid.to_string());
        assert_eq!((told.kind, told.message.as_str()), (FailureKind::Invalid, "the prompt is too long"));
        let gone = of_pool(Some(&PoolError::ShuttingDown), String::new());
        assert_eq!(gone.kind, FailureKind::ShuttingDown);
        let retry_after = Duration::from_secs(3);
        let soon = NotServed::NotYet { name: "m".into(), why: "no file".into(), retry_after };
        assert_eq!(not_served(soon).kind, FailureKind::Overloaded { retry_after });
    }
}
