use std::future::IntoFuture;

use futures::future::BoxFuture;
use generation::{Generation, Tool};
use serde_json::{Map, Value};

use super::{CallOptions, GenerationStream, call_options};
use crate::error::Error;
use crate::language_model::LanguageModel;
use crate::message::Message;
use crate::modality::{Modality, PictureOf, ReadsPictures};
use crate::model::{ChatInput, Input};

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
pub struct Chat<M: Modality> {
    pool: LanguageModel<M>,
    input: ChatInput,
    pictures: Vec<PictureOf<M>>,
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

impl<M: Modality> Chat<M> {
    pub(crate) fn new(pool: LanguageModel<M>, messages: Vec<Message>) -> Self {
        let (input, options) = (ChatInput::new(messages), CallOptions::default());
        Self { pool, input, pictures: Vec::new(), options }
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
        let request = self.pool.request(Input::Chat(self.input), self.pictures, &self.options)?;
        self.pool.stream(request, &self.options, None).await
    }
}

impl<M: ReadsPictures> Chat<M> {
    /// Sets the conversation's pictures, one for each part `{"type": "image"}` of its messages, in their order. Default:
    /// none.
    pub fn pictures<P: Into<PictureOf<M>>>(mut self, pictures: impl IntoIterator<Item = P>) -> Self {
        self.pictures = pictures.into_iter().map(Into::into).collect();
        self
    }
}

impl<M: Modality> IntoFuture for Chat<M> {
    type Output = Result<Generation, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = self.pool.request(Input::Chat(self.input), self.pictures, &self.options)?;
            Ok(self.pool.submit(request, &self.options).await?.await?)
        })
    }
}
