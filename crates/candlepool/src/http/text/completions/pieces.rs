//! The answer, piece by piece.

use std::collections::BTreeMap;

use axum::response::sse::Event;
use language_model::{Delta, Error as TextError, LanguageModel, Modality};
use serde::Serialize;

use super::super::identity::Identity;
use super::super::logprobs::CompletionLogprobs;
use super::super::streams::{Pieces, piece};
use super::refusal;
use crate::http::errors::ApiError;

pub(super) struct CompletionPieces<M: Modality> {
    identity: Identity,
    pool: LanguageModel<M>,
    /// Choices of each prompt.
    choices: u32,
    logprobs: bool,
    include_usage: bool,
    /// The character at which each choice goes on.
    offsets: BTreeMap<usize, usize>,
}

#[derive(Serialize)]
struct PieceChoice {
    index: usize,
    text: String,
    logprobs: Option<CompletionLogprobs>,
    finish_reason: Option<&'static str>,
}

impl<M: Modality> CompletionPieces<M> {
    pub(super) fn new(
        model: String,
        pool: LanguageModel<M>,
        choices: u32,
        logprobs: bool,
        include_usage: bool,
    ) -> Self {
        let identity = Identity::new("cmpl", "text_completion", model, pool.info());
        Self { identity, pool, choices, logprobs, include_usage, offsets: BTreeMap::new() }
    }
}

impl<M: Modality> Pieces for CompletionPieces<M> {
    fn of_delta(&mut self, prompt: usize, delta: Delta) -> Vec<Event> {
        let Delta { choice, text, tokens, finish, .. } = delta;
        let logprobs = self.logprobs && !tokens.is_empty();
        if text.is_empty() && finish.is_none() && !logprobs {
            return Vec::new();
        }
        let index = prompt * self.choices as usize + choice as usize;
        let offset = self.offsets.entry(index).or_default();
        let logprobs = logprobs.then(|| CompletionLogprobs::of(&self.pool, &tokens, offset));
        let choice =
            PieceChoice { index, text, logprobs, finish_reason: finish.map(|finish| finish.as_str()) };
        vec![piece(&self.identity, choice, self.include_usage)]
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn of_error(&self, prompt: usize, error: &TextError) -> ApiError {
        match error {
            TextError::Pool(inner) => refusal(&TextError::Item { index: prompt, error: inner.clone() }),
            error => refusal(error),
        }
    }
}
