use std::future::IntoFuture;

use futures::future::BoxFuture;
use generation::{Generation, Tool};
use serde_json::{Map, Value};

use super::{CallOptions, GenerationStream, call_options};
use crate::error::Error;
use crate::message::Message;
use crate::model::{ChatInput, Input};
use crate::text_to_text::TextToText;

/// The next message of a conversation, to be awaited or [streamed](Self::stream).
///
/// # Errors
///
/// Awaiting gives [`Error::Pool`]: the request is refused (the model has no chat template, or its template refuses the
/// messages; the conversation is too long; a parameter is out of range), the queue is full, the deadline passed.
///
/// # Cancel safety
///
/// Dropping it, awaited or not, cancels the job.
#[derive(Clone, Debug)]
#[must_use = "nothing is written unless it is awaited or streamed"]
pub struct Chat {
    pool: TextToText,
    input: ChatInput,
    options: CallOptions,
}

/// Whether the model calls tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolChoice {
    /// As it sees fit.
    #[default]
    Auto,
    /// It does not: the tools are not shown to it.
    None,
    /// It must call one of them.
    Required,
    /// It must call the one of this name.
    Named(String),
}

impl Chat {
    pub(crate) fn new(pool: TextToText, messages: Vec<Message>) -> Self {
        Self { pool, input: ChatInput::new(messages), options: CallOptions::default() }
    }

    call_options!();

    /// Gives the model tools that it may call. Calls are in the answer's `tool_calls`. Default: none.
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.input.tools = tools.into_iter().collect();
        self
    }

    /// Sets whether the model calls tools. Default: as it sees fit.
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.input.tool_choice = choice;
        self
    }

    /// Whether an answer may call several tools. Default: it may.
    pub fn parallel_tool_calls(mut self, several: bool) -> Self {
        self.input.parallel_tool_calls = several;
        self
    }

    /// Sets a variable that the chat template reads (`enable_thinking`, `documents`, ...).
    pub fn template_variable(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.input.variables.insert(name.into(), value.into());
        self
    }

    /// Sets several variables that the chat template reads.
    pub fn template_variables(mut self, variables: Map<String, Value>) -> Self {
        self.input.variables.extend(variables);
        self
    }

    /// Whether the model goes on with the last message rather than begin one of its own. Default: it begins one.
    pub fn continue_final_message(mut self, go_on: bool) -> Self {
        self.input.continue_final_message = go_on;
        self
    }

    /// Submits the job, and gives the answer as it is written.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] where the job is refused at once. What else goes wrong is an item of the stream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the stream, cancels the job.
    pub async fn stream(self) -> Result<GenerationStream, Error> {
        let request = self.pool.request(Input::Chat(self.input), &self.options)?;
        self.pool.stream(request, &self.options, None).await
    }
}

impl IntoFuture for Chat {
    type Output = Result<Generation, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = self.pool.request(Input::Chat(self.input), &self.options)?;
            Ok(self.pool.submit(request, &self.options).await?.await?)
        })
    }
}
