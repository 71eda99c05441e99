//! Leases out and back, and the one end of every job.

use super::*;

impl<M: Model> Queue<M> {
    /// Leases what fits now. `idle`: the worker holds nothing.
    pub(in crate::request_queue) fn try_lease(&self, room: Room, idle: bool) -> Vec<Leased<M>> {
        let now = Instant::now();
        let mut replies = Replies::new();
        let mut gone = Vec::new();
        let mut state = lock(&self.state);
        let pull = state.core.lease(room, idle, now);
        for job in pull.expired {
            gone.extend(self.end(&mut state, job, Err(self.deadline_exceeded()), &mut replies));
        }
        let mut leased = Vec::with_capacity(pull.leased.len());
        for id in pull.leased {
            if let Some(record) = state.core.get_mut(id) {
                self.metrics.waited(now.saturating_duration_since(record.accepted));
                leased.push(Leased {
                    job: Arc::clone(&record.payload.job),
                    events: record.payload.events.clone(),
                    priority: record.payload.priority,
                    cost: record.cost,
                    alone: record.alone,
                });
            }
        }
        let more = state.core.has_ready();
        let empty = state.core.len() == 0;
        drop(state);
        drop(gone);
        self.answer(replies, empty);
        if more && !leased.is_empty() {
            // Another worker may be idle.
            self.wake_one();
        }
        leased
    }

    /// Resolves when a job may have become ready since it was created. Idle workers and those that hold jobs wait apart:
    /// what the one cannot take the other may.
    pub(in crate::request_queue) fn arrival(&self, idle: bool) -> impl Future<Output = ()> + '_ {
        if idle { self.ready_idle.notified() } else { self.ready_busy.notified() }
    }

    /// Puts leased jobs back to where they stood.
    pub(in crate::request_queue) fn give_back(&self, jobs: &[JobId], alone: bool) {
        if jobs.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for job in jobs {
            state.core.give_back(*job, alone);
        }
        let demanded = std::mem::take(&mut state.demand_armed);
        drop(state);
        self.wake_one();
        if demanded {
            self.demand.notify_one();
        }
    }

    /// Keeps the items of jobs that have not ended; the others' ids come back.
    pub(in crate::request_queue) fn retain_live<T>(&self, items: &mut FxHashMap<JobId, T>) -> Vec<JobId> {
        let state = lock(&self.state);
        let gone: Vec<JobId> = items.keys().copied().filter(|job| !state.core.contains(*job)).collect();
        drop(state);
        for job in &gone {
            items.remove(job);
        }
        gone
    }

    /// Ends jobs: each waiting caller of each gets its answer. Jobs that have ended already are passed over.
    /// `step`: what the step that ended them computed, and in what time.
    pub(crate) fn settle(
        &self,
        ends: Vec<(JobId, Result<M::Output, Error>)>,
        step: Option<(Tokens, Duration)>,
    ) {
        let mut replies = Replies::new();
        let mut gone = Vec::new();
        let mut state = lock(&self.state);
        for (job, end) in ends {
            gone.extend(self.end(&mut state, job, end, &mut replies));
        }
        if let Some((tokens, elapsed)) = step {
            state.rate.record(tokens, elapsed);
        }
        state.last_active = Instant::now();
        let empty = state.core.len() == 0;
        drop(state);
        drop(gone);
        self.answer(replies, empty);
    }

    /// Ends one job under the lock; what must be dropped outside of it comes back.
    pub(super) fn end(
        &self,
        state: &mut State<M>,
        job: JobId,
        end: Result<M::Output, Error>,
        replies: &mut Replies<M::Output>,
    ) -> Option<Record<Payload<M>>> {
        let mut record = state.core.remove(job)?;
        let payload = &mut record.payload;
        payload.job.end(&end);
        if let Some(key) = payload.join.take()
            && state.joins.get(&key) == Some(&job)
        {
            state.joins.remove(&key);
        }
        let waiters = std::mem::take(&mut payload.waiters);
        let count = waiters.len() as u64;
        state.outstanding -= waiters.len();
        match &end {
            Ok(_) => state.counts.completed += count,
            Err(Error::DeadlineExceeded { .. }) => state.counts.expired += count,
            Err(Error::Cancelled) => state.counts.cancelled += count,
            Err(_) => state.counts.failed += count,
        }
        self.metrics.ended(&end, count);
        let mut waiters = waiters.into_iter().peekable();
        let mut end = Some(end);
        while let Some(waiter) = waiters.next() {
            let answer = if waiters.peek().is_some() { end.clone() } else { end.take() };
            replies.push((waiter.reply, answer.unwrap_or(Err(Error::Lost))));
        }
        Some(record)
    }

    /// Answers those whose jobs have ended, outside of the lock, and wakes who waited for that.
    fn answer(&self, replies: Replies<M::Output>, empty: bool) {
        if replies.is_empty() {
            return;
        }
        send(replies);
        self.vacated(empty);
    }

    /// There is room for one more, and maybe nothing left at all.
    fn vacated(&self, empty: bool) {
        self.room.notify_one();
        if empty {
            self.empty.notify_waiters();
        }
    }

    /// Ends every job with this error.
    pub(crate) fn fail_all(&self, error: &Error) {
        self.fail(Core::jobs, error);
    }

    /// Ends every job that no worker holds with this error.
    pub(crate) fn fail_waiting(&self, error: &Error) {
        self.fail(Core::waiting, error);
    }

    fn fail(&self, which: impl Fn(&Core<Payload<M>>) -> Vec<JobId>, error: &Error) {
        let mut replies = Replies::new();
        let mut gone = Vec::new();
        let mut state = lock(&self.state);
        for job in which(&state.core) {
            gone.extend(self.end(&mut state, job, Err(error.clone()), &mut replies));
        }
        drop(state);
        drop(gone);
        send(replies);
        self.room.notify_waiters();
        self.empty.notify_waiters();
    }
}

/// A send fails only where the ticket was dropped a moment ago; its job has ended all the same.
fn send<T>(replies: Replies<T>) {
    for (reply, end) in replies {
        let _ = reply.send(end);
    }
}

impl<M: Model> Desk for Queue<M> {
    fn withdraw(&self, job: JobId, ticket: u64, expired: bool) -> Option<Error> {
        let mut state = lock(&self.state);
        let record = state.core.get_mut(job)?;
        let waiters = &mut record.payload.waiters;
        let position = waiters.iter().position(|waiter| waiter.ticket == ticket)?;
        let waiter = waiters.swap_remove(position);
        let last = waiters.is_empty();
        state.outstanding -= 1;
        let end = if expired { self.deadline_exceeded() } else { Error::Cancelled };
        if expired {
            state.counts.expired += 1;
        } else {
            state.counts.cancelled += 1;
        }
        self.metrics.ended::<()>(&Err(end.clone()), 1);
        let record =
            if last { self.end(&mut state, job, Err(end.clone()), &mut Replies::new()) } else { None };
        let empty = state.core.len() == 0;
        drop(state);
        drop((waiter, record));
        self.vacated(empty);
        Some(end)
    }
}
