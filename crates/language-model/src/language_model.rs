use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use generation::{Generation, Occupancy};
use model_source::{IntoSource, LanguageTokenizer};
use pool_core::{DrainReport, Engine, Group, Streaming, Ticket};
use serde_json::json;

use crate::call::{CallOptions, Chat, Complete, CompleteAll, GenerationStream, Prompt};
use crate::error::Error;
use crate::info::ModelInfo;
use crate::load::Load;
use crate::message::Message;
use crate::modality::{Modality, PictureOf, ReadsPictures};
use crate::model::{Input, Occupancies, PooledModel, Request};

/// Deltas that wait for the reader of a stream: some seconds of writing, so that a reader that is busy for a moment does
/// not pause its job.
const DELTAS_AHEAD: NonZeroUsize = NonZeroUsize::MIN.saturating_add(127);

/// A language model in an engine. Cheap to clone; every clone keeps the engine alive.
#[derive(Clone)]
pub struct LanguageModel<M: Modality> {
    inner: Arc<Inner<M>>,
}

struct Inner<M: Modality> {
    group: Group<PooledModel<M>>,
    info: ModelInfo,
    tokenizer: Arc<LanguageTokenizer>,
    vision: Option<Arc<M::Vision>>,
    occupancies: Occupancies,
}

impl<M: Modality> LanguageModel<M> {
    /// Loads a model into an engine of its own: `hf:owner/name`, a folder, a `.gguf` file. Await it.
    pub fn load(source: impl IntoSource) -> Load<M> {
        Load::new(None, source)
    }

    /// Loads a model into an engine. Await it.
    pub fn load_in(engine: &Engine, source: impl IntoSource) -> Load<M> {
        Load::new(Some(engine.clone()), source)
    }

    pub(crate) fn new(
        group: Group<PooledModel<M>>,
        info: ModelInfo,
        tokenizer: Arc<LanguageTokenizer>,
        vision: Option<Arc<M::Vision>>,
        occupancies: Occupancies,
    ) -> Self {
        Self { inner: Arc::new(Inner { group, info, tokenizer, vision, occupancies }) }
    }

    /// Answers a conversation, through the model's chat template. Await it, or stream it.
    pub fn chat<I>(&self, messages: I) -> Chat<M>
    where
        I: IntoIterator,
        I::Item: Into<Message>,
    {
        Chat::new(self.clone(), messages.into_iter().map(Into::into).collect())
    }

    /// Goes on with a text or token ids as they are, without a chat template. Await it, or stream it.
    pub fn complete(&self, prompt: impl Into<Prompt>) -> Complete<M> {
        Complete::new(self.clone(), prompt.into())
    }

    /// Goes on with each prompt of a list: whole or not at all, answers in order. Await it.
    pub fn complete_all<I>(&self, prompts: I) -> CompleteAll<M>
    where
        I: IntoIterator,
        I::Item: Into<Prompt>,
    {
        CompleteAll::new(self.clone(), prompts.into_iter().map(Into::into).collect())
    }

    /// The very bytes that a token adds to a text; for a control token, those of its name. A character may be spread over
    /// several tokens. `None`: there is no such token.
    pub fn token_bytes(&self, token: u32) -> Option<&[u8]> {
        self.inner.tokenizer.token_bytes(token)
    }

    /// A token's text, for people to read: bytes that are not UTF-8 by themselves become U+FFFD.
    pub fn token_text(&self, token: u32) -> Cow<'_, str> {
        String::from_utf8_lossy(self.token_bytes(token).unwrap_or_default())
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.inner.info
    }

    /// How full each of its workers is: one entry for each that is loaded.
    pub fn occupancy(&self) -> Vec<Arc<Occupancy>> {
        self.inner.occupancies.all()
    }

    /// Its group in the engine: statistics, eviction, loading ahead of the first job.
    pub fn group(&self) -> &Group<PooledModel<M>> {
        &self.inner.group
    }

    /// The engine it runs in.
    pub fn engine(&self) -> &Engine {
        self.inner.group.engine()
    }

    /// Ends the engine: refuses new work, finishes what was accepted, and reports. See [`Engine::drain`].
    pub async fn drain(&self, within: Duration) -> DrainReport {
        self.engine().drain(within).await
    }

    /// Checks a call against the model, as far as that needs no tokens.
    pub(crate) fn request(
        &self,
        input: Input,
        pictures: Vec<PictureOf<M>>,
        options: &CallOptions,
    ) -> Result<Request<M>, Error> {
        Request::new(input, pictures, options, self.info(), self.inner.vision.as_deref())
    }

    /// The text that an answer begins with, if it is to begin with its prompt.
    pub(crate) fn echo(
        &self,
        echo: bool,
        prompt: &Prompt,
        options: &CallOptions,
    ) -> Result<Option<Arc<str>>, Error> {
        if echo && options.logprobs.is_some() {
            let message = "echo and logprobs exclude each other: the prompt's probabilities are not computed";
            return Err(Error::invalid(message));
        }
        Ok(echo.then(|| match prompt {
            Prompt::Text(text) => Arc::clone(text),
            // Longer ones are refused with the numbers when they are prepared; nobody sees their text.
            Prompt::Tokens(ids) if ids.len() > self.info().context => Arc::default(),
            Prompt::Tokens(ids) => self.inner.tokenizer.decode(ids, true).into(),
        }))
    }

    pub(crate) async fn submit(
        &self,
        request: Request<M>,
        options: &CallOptions,
    ) -> Result<Ticket<Generation>, Error> {
        let (group, job) = (self.group(), options.job.clone());
        Ok(if options.wait { group.submit(request, job).await? } else { group.try_submit(request, job)? })
    }

    /// Admits a list whole or not at all, or each part of it when there is room.
    pub(crate) async fn submit_all(
        &self,
        requests: Vec<Request<M>>,
        options: &CallOptions,
    ) -> Result<Vec<Ticket<Generation>>, Error> {
        let group = self.group();
        if !options.wait {
            return Ok(group.try_submit_all(requests, options.job.clone()).await?);
        }
        let mut tickets = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            tickets.push(group.submit(request, options.job.clone()).await.map_err(Error::at(index))?);
        }
        Ok(tickets)
    }

    /// Admits a list whole or not at all, or each part of it when there is room.
    pub(crate) async fn stream_all(
        &self,
        requests: Vec<Request<M>>,
        options: &CallOptions,
    ) -> Result<Vec<Streaming<PooledModel<M>>>, Error> {
        let group = self.group();
        if !options.wait {
            return Ok(group.try_submit_all_streaming(requests, options.job.clone(), DELTAS_AHEAD)?);
        }
        let mut streams = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            let stream = group.submit_streaming(request, options.job.clone(), DELTAS_AHEAD).await;
            streams.push(stream.map_err(Error::at(index))?);
        }
        Ok(streams)
    }

    pub(crate) async fn stream(
        &self,
        request: Request<M>,
        options: &CallOptions,
        echo: Option<Arc<str>>,
    ) -> Result<GenerationStream, Error> {
        let (group, job) = (self.group(), options.job.clone());
        let (ticket, deltas) = match options.wait {
            true => group.submit_streaming(request, job, DELTAS_AHEAD).await?,
            false => group.try_submit_streaming(request, job, DELTAS_AHEAD)?,
        };
        Ok(GenerationStream::new(ticket, deltas, echo))
    }
}

impl<M: ReadsPictures> LanguageModel<M> {
    /// Answers a question about a picture, through the model's chat template. Await it, or stream it.
    pub fn describe(&self, picture: impl Into<PictureOf<M>>, question: impl Into<String>) -> Chat<M> {
        let question: String = question.into();
        let parts = json!([{"type": "image"}, {"type": "text", "text": question}]);
        self.chat([Message::user(parts)]).pictures([picture])
    }
}

impl<M: Modality> fmt::Debug for LanguageModel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LanguageModel").field("info", &self.inner.info).finish_non_exhaustive()
    }
}
