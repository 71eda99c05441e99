//! `POST /v1/completions`.

mod answer;
mod pieces;

use axum::extract::State;
use axum::response::Response;
use text_to_text::{Prompt, TextToText};

use super::sampling::{PARAMS, StreamOptions, text_request, with_sampling};
use super::streams::{Streams, respond};
use crate::http::asked::Asked;
use crate::http::envelope::Terms;
use crate::http::errors::ApiError;
use crate::http::inputs::Inputs;
use crate::http::{App, answer as http_answer};
use crate::number::Whole;
use answer::CompletionAnswer;
use pieces::CompletionPieces;

text_request! {
    /// The request, as OpenAI defines it, and what its peers have added.
    struct CompletionRequest {
        prompt: Inputs<Prompt>,
        #[serde(default)]
        echo: Option<bool>,
        /// How many of the likeliest tokens are told of each token.
        #[serde(default)]
        logprobs: Option<Whole<0>>,
    }
}

/// What OpenAI's protocol has where a request does not say.
const MAX_TOKENS: usize = 16;

/// Tells a call all that the request says of it.
macro_rules! told {
    ($call:expr, $request:expr, $terms:expr) => {{
        let call = with_sampling!($call, $request, $terms).echo($request.echo.unwrap_or_default());
        let call = call.max_tokens($request.max_tokens.map_or(MAX_TOKENS, Whole::count));
        match $request.logprobs {
            Some(top) => call.logprobs(top.count()),
            None => call,
        }
    }};
}

/// Answers the request.
pub(in crate::http) async fn completions(
    State(app): State<App>,
    Asked { terms, mut request }: Asked<CompletionRequest>,
) -> Result<Response, ApiError> {
    if request.stream_options.is_some() && request.stream != Some(true) {
        let message = "stream_options is for streams; send \"stream\": true with it";
        return Err(ApiError::invalid("invalid_value", message).param("stream_options"));
    }
    let pool = super::pool(&app, &request.model, terms.deadline).await?;
    let prompts = std::mem::take(&mut request.prompt.0);
    let logprobs = request.logprobs.is_some();
    if request.stream == Some(true) {
        let StreamOptions { include_usage } = request.stream_options.unwrap_or_default();
        let choices = request.n.map_or(1, Whole::get);
        let streams = begin(&pool, prompts, &request, &terms).await?;
        let pieces = CompletionPieces::new(request.model, pool, choices, logprobs, include_usage);
        return respond(streams, pieces, include_usage, terms.held).await;
    }
    let call = told!(pool.complete_all(prompts), request, terms);
    let generations = call.await.map_err(|error| refusal(&error))?;
    let answer = CompletionAnswer::new(request.model, &pool, generations, logprobs);
    let bytes = answer.bytes();
    http_answer::json(&app, answer, bytes).await
}

/// Begins an answer to each prompt. If one is refused, those before it are cancelled, and none is answered.
async fn begin(
    pool: &TextToText,
    prompts: Vec<Prompt>,
    request: &CompletionRequest,
    terms: &Terms,
) -> Result<Streams, ApiError> {
    let mut streams = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let call = told!(pool.complete(prompt), request, terms);
        streams.push(call.stream().await.map_err(|error| refusal(&error))?);
    }
    Ok(Streams::new(streams))
}

fn refusal(error: &text_to_text::Error) -> ApiError {
    ApiError::of_text(error, "prompt", &[PARAMS, &["echo", "logprobs"]].concat())
}
