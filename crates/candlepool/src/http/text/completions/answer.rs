//! The answer, whole.

use language_model::{Choice, Generation, LanguageModel, Modality};
use serde::Serialize;

use super::super::identity::Identity;
use super::super::logprobs::CompletionLogprobs;
use super::super::usage::TokenUsage;

#[derive(Serialize, Debug)]
pub(super) struct CompletionAnswer {
    #[serde(flatten)]
    identity: Identity,
    choices: Vec<CompletionChoice>,
    usage: TokenUsage,
}

#[derive(Serialize, Debug)]
struct CompletionChoice {
    index: usize,
    text: String,
    logprobs: Option<CompletionLogprobs>,
    finish_reason: &'static str,
}

impl CompletionAnswer {
    /// Choices follow each other in the order of the prompts.
    pub(super) fn new<M: Modality>(
        model: String,
        pool: &LanguageModel<M>,
        generations: Vec<Generation>,
        logprobs: bool,
    ) -> Self {
        let identity = Identity::new("cmpl", "text_completion", model, pool.info());
        let usage = TokenUsage::of(generations.iter().map(|generation| generation.usage));
        let choices = generations.into_iter().flat_map(|generation| generation.choices).enumerate();
        let choice = |(index, choice): (usize, Choice)| CompletionChoice {
            index,
            text: choice.text,
            logprobs: logprobs.then(|| CompletionLogprobs::of(pool, &choice.tokens, &mut 0)),
            finish_reason: choice.finish.as_str(),
        };
        let choices = choices.map(choice).collect();
        Self { identity, choices, usage }
    }
}
