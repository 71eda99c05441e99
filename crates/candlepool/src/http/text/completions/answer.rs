//! The answer, whole.

use serde::Serialize;
use text_to_text::{Generation, TextToText};

use super::super::identity::Identity;
use super::super::logprobs::CompletionLogprobs;
use super::super::usage::TokenUsage;

#[derive(Serialize, Debug)]
pub(super) struct CompletionAnswer {
    #[serde(flatten)]
    identity: Identity,
    choices: Vec<CompletionChoice>,
    usage: TokenUsage,
    #[serde(skip)]
    bytes: usize,
}

#[derive(Serialize, Debug)]
struct CompletionChoice {
    index: usize,
    text: String,
    logprobs: Option<CompletionLogprobs>,
    finish_reason: &'static str,
}

/// What a token with its logprobs takes as JSON, and each alternative.
const BYTES_A_TOKEN: usize = 50;

impl CompletionAnswer {
    /// Choices follow each other in the order of the prompts.
    pub(super) fn new(
        model: String,
        pool: &TextToText,
        generations: Vec<Generation>,
        logprobs: bool,
    ) -> Self {
        let identity = Identity::new("cmpl", "text_completion", model, pool);
        let usage = TokenUsage::of(generations.iter().map(|generation| &generation.usage));
        let mut bytes = identity.bytes();
        let choices = generations.into_iter().flat_map(|generation| generation.choices).enumerate();
        let choice = |(index, choice): (usize, text_to_text::Choice)| {
            let told = choice.tokens.iter().filter_map(|token| token.logprobs.as_ref());
            let told: usize = told.map(|logprobs| 1 + logprobs.top.len()).sum();
            bytes += choice.text.len() + told * BYTES_A_TOKEN;
            CompletionChoice {
                index,
                text: choice.text,
                logprobs: logprobs.then(|| CompletionLogprobs::of(pool, &choice.tokens, &mut 0)),
                finish_reason: choice.finish.as_str(),
            }
        };
        let choices = choices.map(choice).collect();
        Self { identity, choices, usage, bytes }
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
