//! Leases out and back, and the one end of every job.

use super::super::lease::Held;
use super::*;

impl<M: Model> Queue<M> {
    /// Leases what fits now. `idle`: the worker holds nothing.
    pub(in crate::request_queue) fn try_lease(&self, room: Room, idle: bool) -> Vec<Leased<M>> {
        let now = Instant::now();
        let (leased, expired, more, empty) = self.change(|state| {
            let pull = state.core.lease(room, idle, now);
            let expired = self.expire(state, pull.expired);
            let mut leased = Vec::with_capacity(pull.taken.len());
            leased.extend(pull.taken.into_iter().filter_map(|job| state.hand_out(job, now)));
            (leased, expired, state.core.has_ready(), state.core.len() == 0)
        });
        self.tell(expired, empty);
        for wait in leased.iter().filter_map(|leased| leased.waited) {
            self.metrics.waited(wait);
        }
        if more && !leased.is_empty() {
            // Another worker may be idle.
            self.wake_one();
        }
        leased
    }

    /// Ends jobs whose deadline has passed.
    pub(super) fn expire(&self, state: &mut State<M>, jobs: Vec<JobId>) -> Vec<Ended<M>> {
        let ended = jobs.into_iter().filter_map(|job| {
            let record = state.end(job, Outcome::Expired)?;
            Some((record, Err(self.deadline_exceeded())))
        });
        ended.collect()
    }

    /// Resolves when a job may have become ready since it was created. Idle workers and those that hold jobs wait apart:
    /// what the one cannot take the other may.
    pub(in crate::request_queue) fn arrival(&self, idle: bool) -> impl Future<Output = ()> + '_ {
        if idle { self.ready_idle.notified() } else { self.ready_busy.notified() }
    }

    /// Counts a worker that holds jobs and waits for more.
    pub(in crate::request_queue) fn waits_busy(&self) -> WaitsBusy<'_> {
        self.waiting_busy.fetch_add(1, Ordering::Relaxed);
        WaitsBusy(&self.waiting_busy)
    }

    /// Puts leased jobs back to where they stood.
    pub(in crate::request_queue) fn give_back(&self, jobs: &[JobId], alone: bool) {
        if jobs.is_empty() {
            return;
        }
        let now = Instant::now();
        let demanded = self.change(|state| {
            for job in jobs {
                state.core.give_back(*job, alone, now);
            }
            std::mem::take(&mut state.demand_armed)
        });
        self.wake_one();
        if demanded {
            self.demand.notify_one();
        }
    }

    /// Keeps the items of jobs that have not ended; the others' ids come back.
    pub(in crate::request_queue) fn refresh(&self, held: &mut FxHashMap<JobId, Held>) -> Vec<JobId> {
        let mut gone = Vec::new();
        let state = lock(&self.state);
        for (job, held) in held.iter_mut() {
            match state.core.get(*job) {
                Some(record) => held.priority = record.payload.priority,
                None => gone.push(*job),
            }
        }
        drop(state);
        for job in &gone {
            held.remove(job);
        }
        gone
    }

    /// Resolves once one of these jobs has ended, by its caller's doing or with the whole queue.
    pub(in crate::request_queue) async fn withdrawn(self: Arc<Self>, held: Vec<JobId>) {
        if held.is_empty() {
            return std::future::pending().await;
        }
        loop {
            let withdrawn = self.withdrawn.notified();
            {
                let state = lock(&self.state);
                if !held.iter().all(|job| state.core.contains(*job)) {
                    return;
                }
            }
            withdrawn.await;
        }
    }

    /// Ends jobs: each waiting caller of each gets its answer. Jobs that have ended already are passed over.
    /// `step`: what the step that ended them computed, and in what time.
    pub(crate) fn settle(
        &self,
        ends: Vec<(JobId, Result<M::Output, Error>)>,
        step: Option<(Tokens, Duration)>,
    ) {
        let now = Instant::now();
        let mut ended = Vec::with_capacity(ends.len());
        let mut late = Vec::new();
        let empty = self.change(|state| {
            for (job, end) in ends {
                match state.end(job, Outcome::of(&end)) {
                    Some(record) => ended.push((record, end)),
                    // Dropped outside of the lock, as it may be large.
                    None => late.push(end),
                }
            }
            if let Some((tokens, elapsed)) = step {
                state.rate.record(tokens, elapsed, state.core.has_ready());
            }
            state.last_active = now;
            state.core.len() == 0
        });
        self.tell(ended, empty);
    }

    /// Tells those whose jobs have ended, and who waited for that.
    pub(super) fn tell(&self, ended: Vec<Ended<M>>, empty: bool) {
        if ended.is_empty() {
            return;
        }
        self.answer(ended);
        self.vacated(empty);
    }

    fn answer(&self, ended: Vec<Ended<M>>) {
        for (record, end) in ended {
            let waiters = record.payload.waiters;
            self.metrics.ended(Outcome::of(&end), waiters.len() as u64);
            let mut waiters = waiters.into_iter();
            let last = waiters.next_back();
            // A send fails only where the ticket was dropped a moment ago; its job has ended all the same.
            for waiter in waiters {
                let _ = waiter.reply.send(end.clone());
            }
            if let Some(waiter) = last {
                let _ = waiter.reply.send(end);
            }
        }
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
        let outcome = Outcome::of::<()>(&Err(error.clone()));
        let ended = self.change(|state| {
            let jobs = which(&state.core).into_iter();
            jobs.filter_map(|job| Some((state.end(job, outcome)?, Err(error.clone())))).collect()
        });
        self.answer(ended);
        self.withdrawn.notify_waiters();
        self.room.notify_waiters();
        self.empty.notify_waiters();
    }
}

/// A worker that holds jobs waits for more, until this is dropped.
pub(in crate::request_queue) struct WaitsBusy<'a>(&'a AtomicUsize);

impl Drop for WaitsBusy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<M: Model> State<M> {
    /// A leased job as its worker receives it.
    fn hand_out(&mut self, job: JobId, now: Instant) -> Option<Leased<M>> {
        let record = self.core.get_mut(job)?;
        let first = !std::mem::replace(&mut record.timed, true);
        Some(Leased {
            job: Arc::clone(&record.payload.job),
            events: record.payload.events.clone(),
            priority: record.payload.priority,
            cost: record.cost,
            alone: record.alone,
            waited: first.then(|| now.saturating_duration_since(record.accepted)),
        })
    }

    /// Ends one job, wherever it is. `None` if it has ended already.
    fn end(&mut self, job: JobId, outcome: Outcome) -> Option<Record<Payload<M>>> {
        let mut record = self.core.remove(job)?;
        let payload = &mut record.payload;
        payload.job.end(outcome);
        if let Some(key) = payload.join.take()
            && self.joins.get(&key) == Some(&job)
        {
            self.joins.remove(&key);
        }
        self.book(outcome, payload.waiters.len());
        Some(record)
    }

    /// So many tickets have ended: the one place where that is counted.
    fn book(&mut self, outcome: Outcome, tickets: usize) {
        self.outstanding -= tickets;
        self.counts.tally(outcome, tickets);
    }
}

impl<M: Model> Desk for Queue<M> {
    fn withdraw(&self, job: JobId, ticket: u64, expired: bool) -> Option<Error> {
        let outcome = if expired { Outcome::Expired } else { Outcome::Cancelled };
        let (waiter, record, empty) = self.change(|state| {
            let record = state.core.get_mut(job)?;
            let waiters = &mut record.payload.waiters;
            let position = waiters.iter().position(|waiter| waiter.ticket == ticket)?;
            let waiter = waiters.swap_remove(position);
            let last = waiters.is_empty();
            state.book(outcome, 1);
            let record = if last { state.end(job, outcome) } else { None };
            Some((waiter, record, state.core.len() == 0))
        })?;
        self.metrics.ended(outcome, 1);
        if record.as_ref().is_some_and(Record::is_leased) {
            self.withdrawn.notify_waiters();
        }
        drop((waiter, record));
        self.vacated(empty);
        Some(if expired { self.deadline_exceeded() } else { Error::Cancelled })
    }
}
