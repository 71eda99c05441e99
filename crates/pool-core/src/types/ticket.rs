use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::{Deadline, JobId};
use crate::error::Error;

/// How a job's end reaches its caller.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// Where a ticket is handed back before its job has ended.
pub(crate) trait Desk: Send + Sync {
    /// Withdraws one ticket. `None` if the job has ended already, and its end is on the way; else the error that is
    /// the ticket's end.
    fn withdraw(&self, job: JobId, ticket: u64, expired: bool) -> Option<Error>;
}

/// An accepted job's claim to exactly one end: an output or a typed error.
///
/// Await it. Dropping it cancels the job at once, wherever it is: queued, being prepared, or between two steps.
///
/// # Cancel safety
///
/// A `Ticket` may be polled by `&mut` across `tokio::select!` branches; nothing is lost by not finishing a poll.
#[must_use = "dropping a ticket cancels its job"]
pub struct Ticket<T> {
    job: JobId,
    number: u64,
    reply: oneshot::Receiver<Result<T, Error>>,
    timer: Option<Pin<Box<Sleep>>>,
    desk: Option<Arc<dyn Desk>>,
}

impl<T> Ticket<T> {
    pub(crate) fn new(
        job: JobId,
        number: u64,
        reply: oneshot::Receiver<Result<T, Error>>,
        deadline: Deadline,
        desk: Arc<dyn Desk>,
    ) -> Self {
        let timer = deadline.instant().map(|at| Box::pin(tokio::time::sleep_until(at)));
        Self { job, number, reply, timer, desk: Some(desk) }
    }

    /// It stands for this job instead: one that it joins.
    pub(crate) fn rebind(&mut self, job: JobId) {
        self.job = job;
    }

    /// Nothing was accepted, so there is nothing to withdraw.
    pub(crate) fn void(mut self) {
        self.desk = None;
    }

    /// The job this ticket stands for. Joined jobs share one.
    pub fn job(&self) -> JobId {
        self.job
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(end) = Pin::new(&mut this.reply).poll(context) {
            this.desk = None;
            return Poll::Ready(end.unwrap_or(Err(Error::Lost)));
        }
        let expired = this.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready());
        if expired {
            this.timer = None;
            let end = this.desk.as_ref().and_then(|desk| desk.withdraw(this.job, this.number, true));
            if let Some(end) = end {
                this.desk = None;
                return Poll::Ready(Err(end));
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.take() {
            desk.withdraw(self.job, self.number, false);
        }
    }
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("job", &self.job).field("has_deadline", &self.timer.is_some()).finish()
    }
}
