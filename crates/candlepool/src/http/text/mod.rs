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

use language_model::{Choice, Generation};
use llava_vision::LlavaVision;
use pool_core::Deadline;
use text_to_text::TextToText;

use super::AppState;
use super::errors::ApiError;
use crate::registry::Served;

/// A model that writes text.
enum Writer {
    /// From text alone.
    Text(TextToText),
    /// From texts and pictures.
    Vision(LlavaVision),
}

/// The model of that name, if it writes text.
async fn writer(app: &AppState, model: &str, deadline: Deadline) -> Result<Writer, ApiError> {
    match app.registry.served(model, deadline).await? {
        Served::Text(pool) => Ok(Writer::Text(pool)),
        Served::Vision(pool) => Ok(Writer::Vision(pool)),
        other => Err(ApiError::wrong_model(model, other.purpose())),
    }
}

/// About how many bytes an answer takes as JSON, if a token with its logprobs takes so many, and each alternative too.
fn bytes_of(generation: &Generation, token: usize) -> usize {
    let choice = |choice: &Choice| {
        let told = choice.tokens.iter().filter_map(|token| token.logprobs.as_ref());
        let told: usize = told.map(|logprobs| 1 + logprobs.top.len()).sum();
        let calls: usize = choice.tool_calls.iter().map(|call| 128 + call.arguments.len()).sum();
        256 + choice.text.len() + told * token + calls
    };
    generation.choices.iter().map(choice).sum()
}
