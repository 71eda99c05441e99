use std::future::IntoFuture;

use futures::future::BoxFuture;
use generation::Generation;

use super::complete::echoed;
use super::{CallOptions, Prompt, call_options};
use crate::error::Error;
use crate::model::Input;
use crate::text_to_text::TextToText;

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
pub struct CompleteAll {
    pool: TextToText,
    prompts: Vec<Prompt>,
    add_special: bool,
    echo: bool,
    options: CallOptions,
}

impl CompleteAll {
    pub(crate) fn new(pool: TextToText, prompts: Vec<Prompt>) -> Self {
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
}

impl IntoFuture for CompleteAll {
    type Output = Result<Vec<Generation>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let pool = self.pool;
            let echoes = self.prompts.iter().map(|prompt| pool.echo(self.echo, prompt, &self.options));
            let echoes = echoes.collect::<Result<Vec<_>, _>>()?;
            let request = |prompt| {
                let input = Input::Completion { prompt, add_special: self.add_special };
                pool.request(input, &self.options)
            };
            let requests = self.prompts.into_iter().map(request).collect::<Result<Vec<_>, _>>()?;
            let tickets = pool.submit_all(requests, &self.options).await?.into_iter().enumerate();
            let ends = tickets.map(|(index, ticket)| async move { ticket.await.map_err(Error::at(index)) });
            let generations = futures::future::try_join_all(ends).await?;
            Ok(generations.into_iter().zip(&echoes).map(|(one, echo)| echoed(one, echo.as_ref())).collect())
        })
    }
}
