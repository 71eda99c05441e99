//! Text that follows text: `POST /v1/chat/completions` and `POST /v1/completions`.

mod chat;
mod completions;
mod identity;
mod logprobs;
mod response_format;
mod sampling;
mod streams;
mod usage;

pub(super) use chat::chat_completions;
pub(super) use completions::completions;

use pool_core::Deadline;
use text_to_text::{Generation, TextToText};

use super::AppState;
use super::errors::ApiError;
use crate::registry::Served;

/// The model of that name, if it writes text.
async fn pool(app: &AppState, model: &str, deadline: Deadline) -> Result<TextToText, ApiError> {
    match app.registry.served(model, deadline).await? {
        Served::Text(pool) => Ok(pool),
        Served::Ranker(_) => {
            let why = "writes no text; use it with /v1/embeddings or /v1/rerank";
            Err(ApiError::wrong_model(model, why))
        }
    }
}

/// About how many bytes an answer takes as JSON, if a token with its logprobs takes so many, and each alternative too.
fn bytes_of(generation: &Generation, token: usize) -> usize {
    let choice = |choice: &text_to_text::Choice| {
        let told = choice.tokens.iter().filter_map(|token| token.logprobs.as_ref());
        let told: usize = told.map(|logprobs| 1 + logprobs.top.len()).sum();
        let calls: usize = choice.tool_calls.iter().map(|call| 128 + call.arguments.len()).sum();
        256 + choice.text.len() + told * token + calls
    };
    generation.choices.iter().map(choice).sum()
}
