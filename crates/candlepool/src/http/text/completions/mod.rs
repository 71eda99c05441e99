//! `POST /v1/completions`.

mod answer;
mod pieces;

use axum::extract::State;
use axum::response::Response;
use language_model::{CompleteAll, LanguageModel, Modality, Prompt};

use super::sampling::{PARAMS, check_stream_options, text_request, with_sampling};
use super::streams::{Streams, respond};
use super::{Writer, bytes_of};
use crate::http::asked::Asked;
use crate::http::envelope::Terms;
use crate::http::errors::ApiError;
use crate::http::inputs::{Entered, Inputs, TEXTS};
use crate::http::pictures::NamedPicture;
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

impl Entered for Prompt {
    const FORMS: &str = TEXTS;

    fn picture(_: NamedPicture) -> Result<Self, &'static str> {
        Err("completions follow texts alone; send pictures to /v1/chat/completions")
    }
}

impl CompletionRequest {
    /// Checks what contradicts itself, and what has another name here than in the pool's messages.
    fn check(&self) -> Result<(), ApiError> {
        check_stream_options(self.stream, self.stream_options)?;
        if let Some(top) = self.logprobs.filter(|top| top.count() > MOST_LOGPROBS) {
            let message =
                format!("logprobs is {}; accepted: a number from 0 to {MOST_LOGPROBS}", top.count());
            return Err(ApiError::invalid("invalid_value", message).param("logprobs"));
        }
        Ok(())
    }
}

/// Alternatives that are told of a token.
const MOST_LOGPROBS: usize = 20;
/// What OpenAI's protocol has where a request does not say.
const MAX_TOKENS: usize = 16;

/// Answers the request.
pub(in crate::http) async fn completions(
    State(app): State<App>,
    Asked { terms, request }: Asked<CompletionRequest>,
) -> Result<Response, ApiError> {
    request.check()?;
    match super::writer(&app, &request.model, terms.deadline).await? {
        Writer::Text(pool) => answer(&app, pool, request, terms).await,
        Writer::Vision(pool) => answer(&app, pool, request, terms).await,
    }
}

async fn answer<M: Modality>(
    app: &App,
    pool: LanguageModel<M>,
    mut request: CompletionRequest,
    terms: Terms,
) -> Result<Response, ApiError> {
    let call = told(pool.complete_all(std::mem::take(&mut request.prompt.0)), &mut request, &terms);
    let logprobs = request.logprobs.is_some();
    if request.stream == Some(true) {
        let include_usage = request.stream_options.unwrap_or_default().include_usage();
        let choices = request.n.map_or(1, Whole::get);
        let streams = call.stream().await.map_err(|error| refusal(&error))?;
        let pieces = CompletionPieces::new(request.model, pool, choices, logprobs, include_usage);
        return respond(Streams::new(streams), pieces, include_usage, terms.held).await;
    }
    let generations = call.await.map_err(|error| refusal(&error))?;
    let bytes = generations.iter().map(|generation| bytes_of(generation, BYTES_A_TOKEN)).sum();
    let answer = move || CompletionAnswer::new(request.model, &pool, generations, logprobs);
    http_answer::json_of(app, answer, bytes).await
}

/// What a token with its logprobs takes as JSON, and each alternative.
const BYTES_A_TOKEN: usize = 50;

/// The call with all that the request says of it.
fn told<M: Modality>(call: CompleteAll<M>, request: &mut CompletionRequest, terms: &Terms) -> CompleteAll<M> {
    let call = with_sampling!(call, request, terms).echo(request.echo.unwrap_or_default());
    let call = call.max_tokens(request.max_tokens.map_or(MAX_TOKENS, Whole::count));
    match request.logprobs {
        Some(top) => call.logprobs(top.count()),
        None => call,
    }
}

fn refusal(error: &language_model::Error) -> ApiError {
    ApiError::of_text(error, "prompt", &[PARAMS, &["echo"]].concat())
}
