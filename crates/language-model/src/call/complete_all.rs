use std::future::IntoFuture;
use std::sync::Arc;

use futures::future::BoxFuture;
use generation::Generation;

use super::complete::echoed;
use super::{CallOptions, GenerationStream, Prompt, call_options};
use crate::error::Error;
use crate::language_model::LanguageModel;
use crate::modality::Modality;
use crate::model::{Input, Request};

/// The texts that follow the prompts of a list, to be awaited: all of them, in order, or none.
///
/// The list is admitted whole or not at all; with [`wait`](Self::wait) each prompt waits for its room.
///
/// # Errors
///
/// Awaiting gives [`Error::Item`] with the position of the first prompt that failed, [`Error::Pool`] where the list was
/// refused as a whole.
///
/// # Cancel safety
///
/// Dropping it, awaited or not, cancels its jobs.
#[derive(Clone, Debug)]
#[must_use = "nothing is written unless it is awaited"]
pub struct CompleteAll<M: Modality> {
    pool: LanguageModel<M>,
    prompts: Vec<Prompt>,
    add_special: bool,
    echo: bool,
    options: CallOptions,
}

impl<M: Modality> CompleteAll<M> {
    pub(crate) fn new(pool: LanguageModel<M>, prompts: Vec<Prompt>) -> Self {
        Self { pool, prompts, add_special: true, echo: false, options: CallOptions::default() }
    }

    call_options!();

    /// Whether the model's own tokens are put around texts. See [`Complete::add_special`](crate::Complete::add_special).
    pub fn add_special(mut self, add: bool) -> Self {
        self.add_special = add;
        self
    }

    /// Whether each answer's text begins with its prompt. Default: it does not.
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }

    /// Submits the list, and gives each prompt's answer as it is written, in the order of the prompts.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] where the list is refused at once. What else goes wrong is an item of a stream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the jobs; dropping a stream, its own.
    pub async fn stream(self) -> Result<Vec<GenerationStream>, Error> {
        let Begun { pool, options, requests, echoes } = self.begin()?;
        let streams = pool.stream_all(requests, &options).await?;
        let streams = streams.into_iter().zip(echoes);
        Ok(streams.map(|((ticket, deltas), echo)| GenerationStream::new(ticket, deltas, echo)).collect())
    }

    /// What is submitted, checked as far as that needs no tokens.
    fn begin(self) -> Result<Begun<M>, Error> {
        let Self { pool, prompts, add_special, echo, options } = self;
        let echoes = prompts.iter().map(|prompt| pool.echo(echo, prompt, &options));
        let echoes = echoes.collect::<Result<Vec<_>, _>>()?;
        let request = |prompt| pool.request(Input::Completion { prompt, add_special }, Vec::new(), &options);
        let requests = prompts.into_iter().map(request).collect::<Result<Vec<_>, _>>()?;
        Ok(Begun { pool, options, requests, echoes })
    }
}

/// A list about to be submitted.
struct Begun<M: Modality> {
    pool: LanguageModel<M>,
    options: CallOptions,
    requests: Vec<Request<M>>,
    echoes: Vec<Option<Arc<str>>>,
}

impl<M: Modality> IntoFuture for CompleteAll<M> {
    type Output = Result<Vec<Generation>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Begun { pool, options, requests, echoes } = self.begin()?;
            let tickets = pool.submit_all(requests, &options).await?.into_iter().enumerate();
            let ends = tickets.map(|(index, ticket)| async move { ticket.await.map_err(Error::at(index)) });
            let generations = futures::future::try_join_all(ends).await?;
            Ok(generations.into_iter().zip(&echoes).map(|(one, echo)| echoed(one, echo.as_ref())).collect())
        })
    }
}
