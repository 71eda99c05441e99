use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::engine::Engine;
use super::group_task::Command;
use super::member::{Member, Shared};
use super::report::GroupStats;
use crate::compute::Claim;
use crate::error::Error;
use crate::model::Model;
use crate::request_queue::{Accepted, JobOptions, Queue};
use crate::types::{ModelId, Ticket};

/// An accepted job whose events its caller wants to see: its end, and the events on the way there.
pub type Streaming<M> = (Ticket<<M as Model>::Output>, mpsc::Receiver<<M as Model>::Event>);

/// A model in an engine: where jobs are submitted. Cheap to clone; every clone keeps the engine alive.
pub struct Group<M: Model> {
    shared: Arc<Shared<M>>,
    commands: mpsc::Sender<Command>,
    engine: Engine,
}

impl<M: Model> Group<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>, commands: mpsc::Sender<Command>, engine: Engine) -> Self {
        Self { shared, commands, engine }
    }

    /// The group's name.
    pub fn model(&self) -> &ModelId {
        self.shared.model()
    }

    /// The engine it runs in.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Submits a job, or refuses it at once.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`] with an honest time to retry when there is no room or the deadline cannot be met; whatever
    /// else keeps the job out.
    pub fn try_submit(&self, request: M::Request, options: JobOptions) -> Result<Ticket<M::Output>, Error> {
        require_runtime()?;
        let mut tickets = at_the_door(&self.shared.queue, vec![request], &options)?;
        tickets.pop().ok_or(Error::Lost)
    }

    /// Submits a list of jobs: all of them, or none. A list of hundreds goes in by the prepare lane, since making its jobs, and
    /// dropping the inputs of one that is refused, takes milliseconds.
    ///
    /// # Errors
    ///
    /// As [`Group::try_submit`]; the first reason found.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels what has been submitted: at once, or as soon as the lane is done with it.
    pub async fn try_submit_all(
        &self,
        requests: Vec<M::Request>,
        options: JobOptions,
    ) -> Result<Vec<Ticket<M::Output>>, Error> {
        require_runtime()?;
        if requests.len() <= LONG_LIST {
            return at_the_door(&self.shared.queue, requests, &options);
        }
        let queue = Arc::clone(&self.shared.queue);
        let claim = Claim::new(self.model().clone());
        let submitted = self.engine.lanes().prepare(&claim, move || at_the_door(&queue, requests, &options));
        submitted.await.map_err(|error| Error::of_lane(self.model(), &error))?
    }

    /// Submits a job whose events the caller wants to see. At most `ahead` events wait for their reader: beyond that
    /// the job pauses, and in the end is ended ([`Error::SlowConsumer`]).
    ///
    /// # Errors
    ///
    /// As [`Group::try_submit`].
    pub fn try_submit_streaming(
        &self,
        request: M::Request,
        options: JobOptions,
        ahead: NonZeroUsize,
    ) -> Result<Streaming<M>, Error> {
        let mut streams = self.try_submit_all_streaming(vec![request], options, ahead)?;
        streams.pop().ok_or(Error::Lost)
    }

    /// Submits a list whose events the caller wants to see, in order: whole or not at all. See
    /// [`Group::try_submit_streaming`].
    ///
    /// # Errors
    ///
    /// As [`Group::try_submit_all`].
    pub fn try_submit_all_streaming(
        &self,
        requests: Vec<M::Request>,
        options: JobOptions,
        ahead: NonZeroUsize,
    ) -> Result<Vec<Streaming<M>>, Error> {
        require_runtime()?;
        let accepted = self.shared.queue.try_submit(requests, &options, Some(ahead.get()), true);
        let accepted = accepted.map_err(|(error, _)| error)?;
        accepted.into_iter().map(|accepted| with_events::<M>(accepted).ok_or(Error::Lost)).collect()
    }

    /// Submits a job, waiting for room in the queue until its deadline.
    ///
    /// # Errors
    ///
    /// [`Error::DeadlineExceeded`] if no room was found in time; never [`Error::Overloaded`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn submit(&self, request: M::Request, options: JobOptions) -> Result<Ticket<M::Output>, Error> {
        require_runtime()?;
        Ok(self.shared.queue.submit(request, &options, None).await?.0)
    }

    /// Submits a job whose events the caller wants to see, waiting for room. See [`Group::try_submit_streaming`].
    ///
    /// # Errors
    ///
    /// As [`Group::submit`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn submit_streaming(
        &self,
        request: M::Request,
        options: JobOptions,
        ahead: NonZeroUsize,
    ) -> Result<Streaming<M>, Error> {
        require_runtime()?;
        let accepted = self.shared.queue.submit(request, &options, Some(ahead.get())).await?;
        with_events::<M>(accepted).ok_or(Error::Lost)
    }

    /// Loads the model now, if it is not there, and waits until it is.
    ///
    /// # Errors
    ///
    /// [`Error::LoadFailed`] with the cause; [`Error::ShuttingDown`]; [`Error::Removed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the load.
    pub async fn warm(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let ended = || self.shared.closing_error();
        self.commands.send(Command::Warm { reply }).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Frees the model once the steps at hand are done. The next job loads it again.
    pub fn evict(&self) {
        self.shared.evict();
    }

    /// How the group stands.
    pub fn stats(&self) -> GroupStats {
        self.shared.stats()
    }
}

/// A longer list is too much to make jobs of on a runtime's thread.
const LONG_LIST: usize = 256;

fn at_the_door<M: Model>(
    queue: &Arc<Queue<M>>,
    requests: Vec<M::Request>,
    options: &JobOptions,
) -> Result<Vec<Ticket<M::Output>>, Error> {
    let accepted = queue.try_submit(requests, options, None, true).map_err(|(error, _)| error)?;
    Ok(accepted.into_iter().map(|(ticket, _)| ticket).collect())
}

fn require_runtime() -> Result<(), Error> {
    tokio::runtime::Handle::try_current().map(drop).map_err(|_| Error::NoRuntime)
}

fn with_events<M: Model>(accepted: Accepted<M>) -> Option<Streaming<M>> {
    let (ticket, events) = accepted;
    Some((ticket, events?))
}

impl<M: Model> Clone for Group<M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            commands: self.commands.clone(),
            engine: self.engine.clone(),
        }
    }
}

impl<M: Model> fmt::Debug for Group<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shared, f)
    }
}
