//! `POST /v1/chat/completions`.

mod answer;
mod message;
mod pieces;
mod tools;

use axum::extract::State;
use axum::response::Response;
use language_model::{Chat, LanguageModel, Modality};
use serde::Deserializer;
use serde_json::{Map, Value};

use super::sampling::{PARAMS, check_stream_options, text_request, with_sampling};
use super::streams::{Streams, respond};
use super::{Writer, bytes_of};
use crate::http::asked::Asked;
use crate::http::envelope::Terms;
use crate::http::errors::ApiError;
use crate::http::{App, answer as http_answer, json, pictures};
use crate::number::Whole;
use answer::ChatAnswer;
use message::{ChatMessage, parted};
use pieces::ChatPieces;
use tools::{Choice, FunctionTool, FunctionTools};

text_request! {
    /// The request, as OpenAI defines it, and what its peers have added.
    struct ChatRequest {
        #[serde(deserialize_with = "messages")]
        messages: Vec<ChatMessage>,
        #[serde(default)]
        max_completion_tokens: Option<Whole<1>>,
        #[serde(default)]
        logprobs: Option<bool>,
        #[serde(default)]
        top_logprobs: Option<Whole<0>>,
        #[serde(default)]
        tools: Option<FunctionTools>,
        #[serde(default)]
        tool_choice: Option<Choice>,
        #[serde(default)]
        parallel_tool_calls: Option<bool>,
        /// Variables that the model's chat template reads, such as `enable_thinking`.
        #[serde(default)]
        chat_template_kwargs: Option<Map<String, Value>>,
    }
}

fn messages<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ChatMessage>, D::Error> {
    json::list(deserializer, "messages")
}

/// Variables of templates that the request has parameters for, or none.
const OWN_VARIABLES: [&str; 4] = ["messages", "tools", "add_generation_prompt", "strftime_now"];

impl ChatRequest {
    /// Checks what contradicts itself.
    fn check(&self) -> Result<(), ApiError> {
        let refused =
            |param: &str, message: &str| Err(ApiError::invalid("invalid_value", message).param(param));
        if self.top_logprobs.is_some() && self.logprobs != Some(true) {
            return refused("top_logprobs", "top_logprobs needs logprobs; send \"logprobs\": true with it");
        }
        check_stream_options(self.stream, self.stream_options)?;
        let variables = self.chat_template_kwargs.iter().flat_map(Map::keys);
        if let Some(name) = variables.into_iter().find(|name| OWN_VARIABLES.contains(&name.as_str())) {
            let message =
                format!("chat_template_kwargs has {name:?}, which the request itself sets; leave it out");
            return refused("chat_template_kwargs", &message);
        }
        if let (Some(old), Some(new)) = (self.max_tokens, self.max_completion_tokens)
            && old.get() != new.get()
        {
            return refused("max_tokens", "max_tokens and max_completion_tokens differ; send one of them");
        }
        Ok(())
    }
}

/// Answers the request.
pub(in crate::http) async fn chat_completions(
    State(app): State<App>,
    Asked { terms, mut request }: Asked<ChatRequest>,
) -> Result<Response, ApiError> {
    request.check()?;
    let (messages, pictures) = parted(std::mem::take(&mut request.messages));
    match super::writer(&app, &request.model, terms.deadline).await? {
        Writer::Text(_) if !pictures.is_empty() => {
            let why = "reads no pictures; ask a model of the modality llava-vision";
            Err(ApiError::wrong_model(&request.model, why))
        }
        Writer::Text(pool) => {
            let chat = pool.chat(messages);
            answer(&app, pool, chat, request, terms).await
        }
        Writer::Vision(pool) => {
            let name = |index: usize| format!("picture {}", index + 1);
            let pictures = pictures::read(&app, pictures, terms.deadline, name).await?;
            let chat = pool.chat(messages).pictures(pictures);
            answer(&app, pool, chat, request, terms).await
        }
    }
}

async fn answer<M: Modality>(
    app: &App,
    pool: LanguageModel<M>,
    chat: Chat<M>,
    mut request: ChatRequest,
    terms: Terms,
) -> Result<Response, ApiError> {
    let chat = told(chat, &mut request, &terms);
    let logprobs = request.logprobs == Some(true);
    if request.stream == Some(true) {
        let include_usage = request.stream_options.unwrap_or_default().include_usage();
        let stream = chat.stream().await.map_err(|error| refusal(&error))?;
        let pieces = ChatPieces::new(request.model, pool, logprobs, include_usage);
        return respond(Streams::new(vec![stream]), pieces, include_usage, terms.held).await;
    }
    let generation = chat.await.map_err(|error| refusal(&error))?;
    let bytes = bytes_of(&generation, BYTES_A_TOKEN);
    let answer = move || ChatAnswer::new(request.model, &pool, generation, logprobs);
    http_answer::json_of(app, answer, bytes).await
}

/// What a token with its logprobs takes as JSON, and each alternative.
const BYTES_A_TOKEN: usize = 100;

/// The call with all that the request says of it.
fn told<M: Modality>(chat: Chat<M>, request: &mut ChatRequest, terms: &Terms) -> Chat<M> {
    let mut chat = with_sampling!(chat, request, terms);
    if let Some(most) = request.max_completion_tokens.or(request.max_tokens) {
        chat = chat.max_tokens(most.count());
    }
    if request.logprobs == Some(true) {
        chat = chat.logprobs(request.top_logprobs.map_or(0, Whole::count));
    }
    if let Some(Choice(choice)) = request.tool_choice.take() {
        chat = chat.tool_choice(choice);
    }
    if let Some(several) = request.parallel_tool_calls {
        chat = chat.parallel_tool_calls(several);
    }
    if let Some(variables) = request.chat_template_kwargs.take() {
        chat = chat.template_variables(variables);
    }
    match request.tools.take() {
        Some(FunctionTools(tools)) => chat.tools(tools.into_iter().map(FunctionTool::into_tool)),
        None => chat,
    }
}

fn refusal(error: &language_model::Error) -> ApiError {
    const OWN: &[&str] = &["top_logprobs", "messages", "tools", "tool_choice"];
    ApiError::of_text(error, "messages", &[PARAMS, OWN].concat())
}
