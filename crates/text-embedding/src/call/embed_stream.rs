use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, Stream};

use super::{CallOptions, Input, call_options, prompt_options};
use crate::embedding::{Embedding, TextEmbedding};
use crate::error::Error;

/// So many inputs are read ahead of the answers: enough for the next batch of short texts while one computes.
const JOBS_AHEAD: usize = 512;
/// Inputs read ahead hold at most so many bytes, unless one alone is larger.
const BYTES_AHEAD: usize = 16 << 20;

/// The embeddings of a stream of inputs, in their order.
///
/// Inputs are read a bounded way ahead, so that batches fill and memory stays bounded however long the stream is. An
/// input that fails is an item that is an error; the stream goes on. It waits for room in the queue unless
/// [`wait(false)`](Self::wait) is asked for.
///
/// # Cancel safety
///
/// Dropping it cancels the jobs that were read ahead.
#[must_use = "nothing is embedded unless the stream is read"]
pub struct EmbedStream<S> {
    pool: TextEmbedding,
    inputs: S,
    ended: bool,
    options: CallOptions,
    ahead: FuturesOrdered<BoxFuture<'static, Answer>>,
    bytes_ahead: usize,
}

/// An input's end, and the bytes it held.
type Answer = (usize, Result<Embedding, Error>);

impl<S> EmbedStream<S> {
    pub(crate) fn new(pool: TextEmbedding, inputs: S) -> Self {
        let options = CallOptions { wait: true, ..CallOptions::default() };
        Self { pool, inputs, ended: false, options, ahead: FuturesOrdered::new(), bytes_ahead: 0 }
    }

    call_options!();
    prompt_options!();

    fn has_room(&self) -> bool {
        self.ahead.is_empty() || (self.ahead.len() < JOBS_AHEAD && self.bytes_ahead < BYTES_AHEAD)
    }

    fn push(&mut self, input: Input) {
        let bytes = input.bytes();
        self.bytes_ahead += bytes;
        let pool = self.pool.clone();
        let options = self.options.clone();
        self.ahead.push_back(Box::pin(async move {
            let answer = async {
                let request = pool.request(input, &options)?;
                Ok(pool.submit(request, &options).await?.await?)
            };
            (bytes, answer.await)
        }));
    }
}

impl<S: Stream<Item: Into<Input>> + Unpin> Stream for EmbedStream<S> {
    type Item = Result<Embedding, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.ended && this.has_room() {
            match Pin::new(&mut this.inputs).poll_next(context) {
                Poll::Ready(Some(input)) => this.push(input.into()),
                Poll::Ready(None) => this.ended = true,
                Poll::Pending => break,
            }
        }
        match Pin::new(&mut this.ahead).poll_next(context) {
            Poll::Ready(Some((bytes, answer))) => {
                this.bytes_ahead -= bytes;
                Poll::Ready(Some(answer))
            }
            Poll::Ready(None) if this.ended => Poll::Ready(None),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<S> fmt::Debug for EmbedStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbedStream")
            .field("options", &self.options)
            .field("ahead", &self.ahead.len())
            .finish_non_exhaustive()
    }
}
