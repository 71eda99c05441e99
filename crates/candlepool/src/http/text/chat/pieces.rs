//! The answer, piece by piece.

use std::collections::BTreeMap;

use axum::response::sse::Event;
use language_model::{Delta, Error as TextError, LanguageModel, Modality};
use serde::Serialize;

use super::super::identity::Identity;
use super::super::logprobs::ChatLogprobs;
use super::super::streams::{Pieces, piece};
use super::refusal;
use super::tools::AnsweredCall;
use crate::http::errors::ApiError;

pub(super) struct ChatPieces<M: Modality> {
    identity: Identity,
    pool: LanguageModel<M>,
    logprobs: bool,
    include_usage: bool,
    /// How many calls each choice that has begun has made.
    calls: BTreeMap<u32, usize>,
}

#[derive(Serialize)]
struct PieceChoice {
    index: u32,
    delta: PieceDelta,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct PieceDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<AnsweredCall>,
}

impl<M: Modality> ChatPieces<M> {
    pub(super) fn new(model: String, pool: LanguageModel<M>, logprobs: bool, include_usage: bool) -> Self {
        let identity = Identity::new("chatcmpl", "chat.completion.chunk", model, pool.info());
        Self { identity, pool, logprobs, include_usage, calls: BTreeMap::new() }
    }

    fn piece(&self, choice: PieceChoice) -> Event {
        piece(&self.identity, choice, self.include_usage)
    }
}

impl<M: Modality> Pieces for ChatPieces<M> {
    fn of_delta(&mut self, _prompt: usize, delta: Delta) -> Vec<Event> {
        let Delta { choice: index, text, tokens, tool_calls, finish } = delta;
        let plain = |delta| PieceChoice { index, delta, logprobs: None, finish_reason: None };
        let mut events = Vec::new();
        // What comes first of a choice says whose it is.
        let begins = !self.calls.contains_key(&index);
        let made = *self.calls.entry(index).or_default();
        if begins {
            let content = Some(String::new());
            let role = Some("assistant");
            events.push(self.piece(plain(PieceDelta { role, content, ..PieceDelta::default() })));
        }
        let logprobs = (self.logprobs && !tokens.is_empty()).then(|| ChatLogprobs::of(&self.pool, &tokens));
        if !text.is_empty() || logprobs.is_some() {
            let delta = PieceDelta { content: Some(text), ..PieceDelta::default() };
            events.push(self.piece(PieceChoice { logprobs, ..plain(delta) }));
        }
        if !tool_calls.is_empty() {
            let format = self.pool.info().tool_format;
            let numbered = tool_calls.into_iter().zip(made..);
            let tool_calls: Vec<_> =
                numbered.map(|(call, number)| AnsweredCall::new(call, format, Some(number))).collect();
            self.calls.insert(index, made + tool_calls.len());
            events.push(self.piece(plain(PieceDelta { tool_calls, ..PieceDelta::default() })));
        }
        if let Some(finish) = finish {
            let finish_reason = Some(finish.as_str());
            events.push(self.piece(PieceChoice { finish_reason, ..plain(PieceDelta::default()) }));
        }
        events
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn of_error(&self, _prompt: usize, error: &TextError) -> ApiError {
        refusal(error)
    }
}
