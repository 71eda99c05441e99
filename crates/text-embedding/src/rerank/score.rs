use std::future::IntoFuture;
use std::ops::Deref;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::Reranker;
use crate::call::{CallOptions, call_options};
use crate::error::Error;

/// A cross-encoder's scores of one pair, its activation applied.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Scores {
    /// One for a ranker, one a label for a classifier.
    pub values: Vec<f32>,
    /// Tokens that were computed, special ones included.
    pub tokens: usize,
}

impl Deref for Scores {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

/// The scoring of one pair, to be awaited.
///
/// # Errors
///
/// Awaiting gives [`Error::Pool`]: the pair is refused, the queue is full, the deadline passed.
///
/// # Cancel safety
///
/// Dropping it, awaited or not, cancels the job.
#[derive(Clone, Debug)]
#[must_use = "nothing is scored unless it is awaited"]
pub struct Score {
    pool: Reranker,
    query: Arc<str>,
    document: Arc<str>,
    options: CallOptions,
}

impl Score {
    pub(super) fn new(pool: Reranker, query: Arc<str>, document: Arc<str>) -> Self {
        Self { pool, query, document, options: CallOptions::default() }
    }

    call_options!();
}

impl IntoFuture for Score {
    type Output = Result<Scores, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = self.pool.request(self.query, self.document, &self.options);
            let mut tickets =
                crate::embedding::submit_all(self.pool.group(), vec![request], &self.options).await?;
            let ticket = tickets.pop().ok_or(pool_core::Error::Lost)?;
            Ok(ticket.await?)
        })
    }
}
