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
use text_to_text::TextToText;

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
