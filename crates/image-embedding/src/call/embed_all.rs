use std::future::IntoFuture;

use futures::future::BoxFuture;

use super::{CallOptions, Input, call_options, normalize_option};
use crate::embedding::{Embedding, ImageEmbedding};
use crate::error::Error;

/// The embeddings of a list of pictures and texts, to be awaited: all of them, in order, or none.
///
/// The list is admitted whole or not at all; with [`wait`](Self::wait) each input waits for its room.
///
/// # Errors
///
/// Awaiting gives [`Error::Item`] with the position of the first input that failed, [`Error::Pool`] where the list was
/// refused as a whole.
///
/// # Cancel safety
///
/// Dropping it, awaited or not, cancels its jobs.
#[derive(Clone, Debug)]
#[must_use = "nothing is embedded unless it is awaited"]
pub struct EmbedAll {
    pool: ImageEmbedding,
    inputs: Vec<Input>,
    options: CallOptions,
}

impl EmbedAll {
    pub(crate) fn new(pool: ImageEmbedding, inputs: Vec<Input>) -> Self {
        Self { pool, inputs, options: CallOptions::default() }
    }

    call_options!();
    normalize_option!();
}

impl IntoFuture for EmbedAll {
    type Output = Result<Vec<Embedding>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.pool.run_all(self.inputs, &self.options).await })
    }
}
