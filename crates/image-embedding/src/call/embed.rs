use std::future::IntoFuture;

use futures::future::BoxFuture;

use super::{CallOptions, Input, call_options, normalize_option};
use crate::embedding::{Embedding, ImageEmbedding};
use crate::error::Error;

/// The embedding of one picture or text, to be awaited.
///
/// # Errors
///
/// Awaiting gives [`Error::Pool`]: the input is refused, the queue is full, the deadline passed.
///
/// # Cancel safety
///
/// Dropping it, awaited or not, cancels the job, in the middle of the model's layers if need be.
#[derive(Clone, Debug)]
#[must_use = "nothing is embedded unless it is awaited"]
pub struct Embed {
    pool: ImageEmbedding,
    input: Input,
    options: CallOptions,
}

impl Embed {
    pub(crate) fn new(pool: ImageEmbedding, input: Input) -> Self {
        Self { pool, input, options: CallOptions::default() }
    }

    call_options!();
    normalize_option!();
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
