use std::future::IntoFuture;
use std::sync::Arc;

use futures::future::BoxFuture;
use generation::Generation;

use super::{CallOptions, GenerationStream, Prompt, call_options};
use crate::error::Error;
use crate::language_model::LanguageModel;
use crate::modality::{Modality, PictureOf, ReadsPictures};
use crate::model::Input;

/// The text that follows a prompt, to be awaited or [streamed](Self::stream).
///
/// # Errors
///
/// Awaiting gives [`Error::Pool`]: the prompt is too long, a parameter is out of range, the queue is full, the deadline
/// passed.
///
/// # Cancel safety
///
/// Dropping it, awaited or not, cancels the job.
#[derive(Clone, Debug)]
#[must_use = "nothing is written unless it is awaited or streamed"]
pub struct Complete<M: Modality> {
    pool: LanguageModel<M>,
    prompt: Prompt,
    pictures: Vec<PictureOf<M>>,
    add_special: bool,
    echo: bool,
    options: CallOptions,
}

impl<M: Modality> Complete<M> {
    pub(crate) fn new(pool: LanguageModel<M>, prompt: Prompt) -> Self {
        let options = CallOptions::default();
        Self { pool, prompt, pictures: Vec::new(), add_special: true, echo: false, options }
    }

    call_options!();

    /// Whether the model's own tokens are put around a text: the beginning of text, where the model wants one. Those
    /// spelled in the text become tokens in any case. Default: they are.
    pub fn add_special(mut self, add: bool) -> Self {
        self.add_special = add;
        self
    }

    /// Whether each answer's text begins with the prompt. Default: it does not.
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }

    /// Submits the job, and gives the text as it is written.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] where the job is refused at once. What else goes wrong is an item of the stream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the stream, cancels the job.
    pub async fn stream(self) -> Result<GenerationStream, Error> {
        let echo = self.pool.echo(self.echo, &self.prompt, &self.options)?;
        let input = Input::Completion { prompt: self.prompt, add_special: self.add_special };
        let request = self.pool.request(input, self.pictures, &self.options)?;
        self.pool.stream(request, &self.options, echo).await
    }
}

impl<M: ReadsPictures> Complete<M> {
    /// Sets the prompt's pictures, one for each time that it spells the model's image token, in their order. Default:
    /// none.
    pub fn pictures<P: Into<PictureOf<M>>>(mut self, pictures: impl IntoIterator<Item = P>) -> Self {
        self.pictures = pictures.into_iter().map(Into::into).collect();
        self
    }
}

impl<M: Modality> IntoFuture for Complete<M> {
    type Output = Result<Generation, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let echo = self.pool.echo(self.echo, &self.prompt, &self.options)?;
            let input = Input::Completion { prompt: self.prompt, add_special: self.add_special };
            let request = self.pool.request(input, self.pictures, &self.options)?;
            let generation = self.pool.submit(request, &self.options).await?.await?;
            Ok(echoed(generation, echo.as_ref()))
        })
    }
}

/// An answer with the prompt before each choice, if that is to be.
pub(super) fn echoed(mut generation: Generation, echo: Option<&Arc<str>>) -> Generation {
    if let Some(prompt) = echo {
        for choice in &mut generation.choices {
            choice.text.insert_str(0, prompt);
        }
    }
    generation
}
