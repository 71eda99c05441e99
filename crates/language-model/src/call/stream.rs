use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{Stream, StreamExt as _};
use generation::{Delta, Generation, Usage};
use pool_core::Ticket;
use tokio::sync::mpsc;

use super::complete::echoed;
use crate::error::Error;

/// An answer as it is written: what is new of a choice, again and again; at the end, the [whole](Self::finish).
///
/// All deltas of a choice together are the choice. A failure is the last item. A reader that is slower than the model
/// pauses its own job only; one that reads nothing for long loses it ([`pool_core::Error::SlowConsumer`]).
///
/// # Cancel safety
///
/// Dropping it cancels the job. Nothing is lost by dropping the future of its next item.
#[must_use = "the answer is written as the stream is read"]
pub struct GenerationStream {
    deltas: mpsc::Receiver<Delta>,
    /// `None`: the job has ended.
    ticket: Option<Ticket<Generation>>,
    end: Option<Result<Generation, pool_core::Error>>,
    /// Put before each choice, once.
    echo: Option<Arc<str>>,
    echoed: BTreeSet<u32>,
    /// All deltas, and the failure if it is one, have been given out.
    told: bool,
}

impl GenerationStream {
    pub(crate) fn new(
        ticket: Ticket<Generation>,
        deltas: mpsc::Receiver<Delta>,
        echo: Option<Arc<str>>,
    ) -> Self {
        Self { deltas, ticket: Some(ticket), end: None, echo, echoed: BTreeSet::new(), told: false }
    }

    /// Reads what is left, and gives the whole: all choices, and what they took.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`]: why the job ended without an answer, whether an item has told it before or not.
    pub async fn finish(mut self) -> Result<Generation, Error> {
        while self.next().await.is_some() {}
        match self.end {
            Some(Ok(generation)) => Ok(echoed(generation, self.echo.as_ref())),
            Some(Err(error)) => Err(error.into()),
            None => Err(pool_core::Error::Lost.into()),
        }
    }

    /// What the job took, once all of it has been read. `None` before, and where it failed.
    pub fn usage(&self) -> Option<Usage> {
        if !self.told {
            return None;
        }
        self.end.as_ref().and_then(|end| end.as_ref().ok()).map(|generation| generation.usage)
    }

    fn with_echo(&mut self, mut delta: Delta) -> Delta {
        if let Some(prompt) = &self.echo
            && self.echoed.insert(delta.choice)
        {
            delta.text.insert_str(0, prompt);
        }
        delta
    }
}

impl Stream for GenerationStream {
    type Item = Result<Delta, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.told {
            return Poll::Ready(None);
        }
        // The ticket holds the deadline's timer, so it is asked even while there are deltas.
        if let Some(ticket) = &mut this.ticket
            && let Poll::Ready(end) = Pin::new(ticket).poll(context)
        {
            this.ticket = None;
            this.end = Some(end);
            // No more will come, even if a step that the job is in has not ended yet.
            this.deltas.close();
        }
        match this.deltas.poll_recv(context) {
            Poll::Ready(Some(delta)) => Poll::Ready(Some(Ok(this.with_echo(delta)))),
            Poll::Ready(None) if this.ticket.is_some() => Poll::Pending,
            Poll::Ready(None) => {
                this.told = true;
                let failure = this.end.as_ref().and_then(|end| end.as_ref().err()).cloned();
                Poll::Ready(failure.map(|error| Err(error.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for GenerationStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerationStream")
            .field("ticket", &self.ticket)
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
