//! Answers as they are written: server-sent events, in OpenAI's order.

use std::future::poll_fn;
use std::task::{Context, Poll};

use axum::response::Response;
use axum::response::sse::Event;
use futures::stream::{self, StreamExt as _};
use language_model::{Delta, Error as TextError, GenerationStream};
use serde::Serialize;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::identity::Identity;
use super::usage::TokenUsage;
use crate::http::errors::ApiError;
use crate::http::events::{self, PATIENCE, failure};

/// What is new, or what failed, and of which prompt's answer.
type News = Result<(usize, Delta), (usize, TextError)>;

/// The answers to the prompts of a request, read as one.
#[derive(Debug)]
pub(super) struct Streams {
    open: Vec<GenerationStream>,
    /// Which is looked at first, so that none is left behind.
    turn: usize,
}

impl Streams {
    pub(super) fn new(open: Vec<GenerationStream>) -> Self {
        Self { open, turn: 0 }
    }

    /// What is new, and of which prompt's answer. After a failure the others are cancelled.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    async fn next(&mut self) -> Option<News> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<News>> {
        let count = self.open.len();
        let mut pending = false;
        for step in 0..count {
            let index = (self.turn + step) % count;
            match self.open[index].poll_next_unpin(context) {
                Poll::Ready(Some(Ok(delta))) => {
                    self.turn = index + 1;
                    return Poll::Ready(Some(Ok((index, delta))));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.open.clear();
                    return Poll::Ready(Some(Err((index, error))));
                }
                Poll::Ready(None) => {}
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(None) }
    }

    /// What all of it took, once it has been read.
    fn usage(&self) -> TokenUsage {
        TokenUsage::of(self.open.iter().filter_map(GenerationStream::usage))
    }
}

/// How what is new is told.
pub(super) trait Pieces: Send + 'static {
    /// The events of it.
    fn of_delta(&mut self, prompt: usize, delta: Delta) -> Vec<Event>;

    /// What all pieces say of the answer.
    fn identity(&self) -> &Identity;

    /// A failure, as the answer to the whole request would tell it.
    fn of_error(&self, prompt: usize, error: &TextError) -> ApiError;
}

/// A piece as it is sent.
#[derive(Serialize)]
struct Piece<'a, C> {
    #[serde(flatten)]
    identity: &'a Identity,
    choices: &'a [C],
    /// Where it is asked for: of the last piece, and `null` before.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<TokenUsage>>,
}

/// The event of what is new of one choice.
pub(super) fn piece<C: Serialize>(identity: &Identity, choice: C, include_usage: bool) -> Event {
    event(&Piece { identity, choices: &[choice], usage: include_usage.then_some(None) })
}

fn event<C: Serialize>(piece: &Piece<'_, C>) -> Event {
    Event::default().json_data(piece).unwrap_or_else(|error| {
        failure(&ApiError::internal(format!("a piece of the answer cannot be written: {error}")))
    })
}

/// What is sent.
struct Answer<P> {
    streams: Streams,
    pieces: P,
    first: Option<(usize, Delta)>,
    include_usage: bool,
    over: bool,
    /// A drain waits for the end.
    _held: Option<TaskTrackerToken>,
}

impl<P: Pieces> Answer<P> {
    async fn next(&mut self) -> Option<Vec<Event>> {
        if self.over {
            return None;
        }
        let next = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.streams.next().await,
        };
        Some(match next {
            Some(Ok((prompt, delta))) => self.pieces.of_delta(prompt, delta),
            Some(Err((prompt, error))) => {
                self.over = true;
                vec![failure(&self.pieces.of_error(prompt, &error))]
            }
            None => {
                self.over = true;
                let usage = self.include_usage.then(|| {
                    let usage = Some(Some(self.streams.usage()));
                    event(&Piece::<()> { identity: self.pieces.identity(), choices: &[], usage })
                });
                usage.into_iter().chain([Event::default().data("[DONE]")]).collect()
            }
        })
    }
}

/// Answers with what is written, as it is written.
///
/// # Errors
///
/// What fails before the first piece, or a while, has passed.
pub(super) async fn respond<P: Pieces>(
    mut streams: Streams,
    pieces: P,
    include_usage: bool,
    held: Option<TaskTrackerToken>,
) -> Result<Response, ApiError> {
    let first = match tokio::time::timeout(PATIENCE, streams.next()).await {
        Ok(Some(Err((prompt, error)))) => return Err(pieces.of_error(prompt, &error)),
        Ok(Some(Ok(first))) => Some(first),
        Ok(None) | Err(_) => None,
    };
    let answer = Answer { streams, pieces, first, include_usage, over: false, _held: held };
    let events = stream::unfold(answer, async |mut answer| {
        let events = answer.next().await?;
        Some((stream::iter(events), answer))
    });
    Ok(events::respond(events.flatten()))
}
