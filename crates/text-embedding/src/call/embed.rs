use std::future::IntoFuture;

use futures::future::BoxFuture;

use super::{CallOptions, Input, call_options, prompt_options};
use crate::embedding::{Embedding, TextEmbedding};
use crate::error::Error;

/// The embedding of one input, to be awaited.
///
/// # Errors
///
/// Awaiting gives [`Error::Pool`]: the input is refused, the queue is full, the deadline passed.
///
/// # Cancel safety
///
/// Dropping it, awaited or not, cancels the job.
#[derive(Clone, Debug)]
#[must_use = "nothing is embedded unless it is awaited"]
pub struct Embed {
    pool: TextEmbedding,
    input: Input,
    options: CallOptions,
}

impl Embed {
    pub(crate) fn new(pool: TextEmbedding, input: Input) -> Self {
        Self { pool, input, options: CallOptions::default() }
    }

    call_options!();
    prompt_options!();
}

impl IntoFuture for Embed {
    type Output = Result<Embedding, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = self.pool.request(self.input, &self.options)?;
            let ticket = self.pool.submit(request, &self.options).await?;
            Ok(ticket.await?)
        })
    }
}
