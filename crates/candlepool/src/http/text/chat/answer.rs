//! The answer, whole.

use language_model::{Choice, Generation, LanguageModel, Modality};
use serde::Serialize;

use super::super::identity::Identity;
use super::super::logprobs::ChatLogprobs;
use super::super::usage::TokenUsage;
use super::tools::AnsweredCall;

#[derive(Serialize, Debug)]
pub(super) struct ChatAnswer {
    #[serde(flatten)]
    identity: Identity,
    choices: Vec<ChatChoice>,
    usage: TokenUsage,
}

#[derive(Serialize, Debug)]
struct ChatChoice {
    index: usize,
    message: AnsweredMessage,
    logprobs: Option<ChatLogprobs>,
    finish_reason: &'static str,
}

#[derive(Serialize, Debug)]
struct AnsweredMessage {
    role: &'static str,
    /// `null` where tools are called and nothing else is said.
    content: Option<String>,
    /// No model here refuses in a channel of its own.
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<AnsweredCall>,
}

impl ChatAnswer {
    pub(super) fn new<M: Modality>(
        model: String,
        pool: &LanguageModel<M>,
        generation: Generation,
        logprobs: bool,
    ) -> Self {
        let identity = Identity::new("chatcmpl", "chat.completion", model, pool.info());
        let usage = TokenUsage::of([generation.usage]);
        let format = pool.info().tool_format;
        let choice = |(index, choice): (usize, Choice)| {
            let calls: Vec<_> =
                choice.tool_calls.into_iter().map(|call| AnsweredCall::new(call, format, None)).collect();
            let content = (calls.is_empty() || !choice.text.is_empty()).then_some(choice.text);
            ChatChoice {
                index,
                message: AnsweredMessage { role: "assistant", content, refusal: None, tool_calls: calls },
                logprobs: logprobs.then(|| ChatLogprobs::of(pool, &choice.tokens)),
                finish_reason: choice.finish.as_str(),
            }
        };
        let choices = generation.choices.into_iter().enumerate().map(choice).collect();
        Self { identity, choices, usage }
    }
}
