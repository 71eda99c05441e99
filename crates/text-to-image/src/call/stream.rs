use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::Stream;
use pool_core::Ticket;
use tokio::sync::mpsc;

use crate::drawing::{Drawing, DrawingEvent, DrawingStep};
use crate::error::Error;

/// A drawing as it is made: each step, then the pictures, or why there are none.
///
/// A reader that is slower than the model pauses its own job only; one that reads nothing for long loses it
/// ([`pool_core::Error::SlowConsumer`]).
///
/// # Cancel safety
///
/// Dropping it cancels the job. Nothing is lost by dropping the future of its next item.
#[must_use = "the picture is drawn as the stream is read"]
pub struct DrawingStream {
    steps: mpsc::Receiver<DrawingStep>,
    /// `None`: the job has ended.
    ticket: Option<Ticket<Drawing>>,
    end: Option<Result<Drawing, pool_core::Error>>,
}

impl DrawingStream {
    pub(crate) fn new(ticket: Ticket<Drawing>, steps: mpsc::Receiver<DrawingStep>) -> Self {
        Self { steps, ticket: Some(ticket), end: None }
    }
}

impl Stream for DrawingStream {
    type Item = Result<DrawingEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // The ticket holds the deadline's timer, so it is asked even while there are steps to tell.
        if let Some(ticket) = &mut this.ticket
            && let Poll::Ready(end) = Pin::new(ticket).poll(context)
        {
            this.ticket = None;
            this.end = Some(end);
            // No more will come, even if a step that the job is in has not ended yet.
            this.steps.close();
        }
        match this.steps.poll_recv(context) {
            Poll::Ready(Some(step)) => Poll::Ready(Some(Ok(DrawingEvent::Step(step)))),
            Poll::Ready(None) if this.ticket.is_some() => Poll::Pending,
            Poll::Ready(None) => {
                Poll::Ready(this.end.take().map(|end| end.map(DrawingEvent::Done).map_err(Error::from)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for DrawingStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrawingStream").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
