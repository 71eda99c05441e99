//! Tokens that an answer took, as OpenAI tells them.

use language_model::Usage;
use serde::Serialize;

/// What was read and written.
#[derive(Clone, Copy, Default, Serialize, Debug)]
pub(super) struct TokenUsage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptDetails,
}

#[derive(Clone, Copy, Default, Serialize, Debug)]
struct PromptDetails {
    /// Those that were in the cache of an earlier prompt.
    cached_tokens: usize,
}

impl TokenUsage {
    /// What several jobs took together.
    pub(super) fn of(usages: impl IntoIterator<Item = Usage>) -> Self {
        let mut all = Self::default();
        for usage in usages {
            all.prompt_tokens += usage.prompt;
            all.completion_tokens += usage.completion;
            all.prompt_tokens_details.cached_tokens += usage.cached;
        }
        all.total_tokens = all.prompt_tokens + all.completion_tokens;
        all
    }
}
