//! At the door: what is let in, and how.

use super::*;

impl<M: Model> Queue<M> {
    /// Accepts all of these or none. On refusal the requests come back with the reason.
    pub(crate) fn try_submit(
        self: &Arc<Self>,
        requests: Vec<M::Request>,
        options: &JobOptions,
        events: Option<usize>,
        heed_time: bool,
    ) -> Result<Vec<Accepted<M>>, TurnedAway<M>> {
        let now = Instant::now();
        // Everything that takes time or memory happens before the lock.
        let mut parcels = Vec::with_capacity(requests.len());
        let mut total = Cost::ZERO;
        for request in &requests {
            let cost = M::estimate(request);
            let fingerprint = M::fingerprint(request);
            total += cost;
            parcels.push((cost, fingerprint));
        }
        let mut inputs = match self.governor.try_reserve(Account::Inputs, total.bytes) {
            Ok(reservation) => reservation,
            Err(_) => {
                let retry_after = Duration::from_secs(1);
                let error = self.overloaded(Overload::Memory, retry_after);
                if heed_time {
                    self.count_refused(requests.len());
                }
                return Err((error, requests));
            }
        };
        let mut state = lock(&self.state);
        if let Err(error) = self.admit(&mut state, &parcels, total, options, heed_time, now) {
            drop(state);
            if heed_time {
                self.count_refused(requests.len());
            }
            return Err((error, requests));
        }
        let mut accepted = Vec::with_capacity(requests.len());
        let (mut any_raw, mut any_ready) = (false, false);
        for (request, (cost, fingerprint)) in requests.into_iter().zip(parcels) {
            let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
            let (reply, answer) = oneshot::channel();
            let waiter = Waiter { ticket, reply };
            let join = fingerprint
                .filter(|_| self.config.coalesce && events.is_none())
                .map(|fingerprint| (options.principal.clone(), fingerprint));
            let joined = join.as_ref().and_then(|key| state.joins.get(key).copied());
            let (job, receiver) = match joined {
                Some(job) if state.core.contains(job) => {
                    self.join(&mut state, job, waiter, options, now);
                    (job, None)
                }
                _ => {
                    let job = JobId::new(self.job_ids.fetch_add(1, Ordering::Relaxed));
                    let (sender, receiver) = match events {
                        // The caller chose the bound: how far a job may run ahead of its reader.
                        Some(bound) => {
                            let (sender, receiver) = mpsc::channel(bound.max(1));
                            (Some(sender), Some(receiver))
                        }
                        None => (None, None),
                    };
                    let span = tracing::debug_span!("job", model = %self.config.model, %job);
                    let input = inputs.split(cost.bytes);
                    let raw = (self.preparation)(cost) == Preparation::Lane;
                    any_raw |= raw;
                    any_ready |= !raw;
                    if let Some(key) = &join {
                        state.joins.insert(key.clone(), job);
                    }
                    let shared = Arc::new(Job::new(job, request, fingerprint, span, input));
                    let payload = Payload {
                        job: shared,
                        waiters: vec![waiter],
                        events: sender,
                        join,
                        priority: options.priority,
                    };
                    let arrival = Arrival {
                        job,
                        payload,
                        cost,
                        deadline: options.deadline,
                        principal: options.principal.clone(),
                        priority: options.priority,
                        raw,
                    };
                    state.core.insert(arrival, now);
                    (job, receiver)
                }
            };
            state.counts.accepted += 1;
            state.outstanding += 1;
            let desk: Arc<dyn Desk> = Arc::<Self>::clone(self);
            accepted.push((Ticket::new(job, ticket, answer, options.deadline, desk), receiver));
        }
        state.last_active = now;
        let demanded = std::mem::take(&mut state.demand_armed);
        drop(state);
        self.metrics.accepted(accepted.len() as u64);
        if any_raw {
            self.raw.notify_one();
        }
        if any_ready {
            // One worker wakes; it wakes the next if it leaves something.
            self.wake_one();
        }
        if demanded {
            self.demand.notify_one();
        }
        Ok(accepted)
    }

    /// Accepts one request, waiting for room until its deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while it waits leaves nothing behind.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        request: M::Request,
        options: &JobOptions,
        events: Option<usize>,
    ) -> Result<Accepted<M>, Error> {
        let mut requests = vec![request];
        // Whether this caller was told of room that it has not used.
        let mut told = false;
        loop {
            let room = self.room.notified();
            // Before the attempt, so that memory freed after it goes unnoticed by nobody.
            let freed = self.governor.freed();
            let error = match self.try_submit(requests, options, events, false) {
                Ok(mut accepted) => {
                    // Others may wait for what room is left.
                    self.room.notify_one();
                    return accepted.pop().ok_or(Error::Lost);
                }
                Err((error @ Error::Overloaded { .. }, back)) => {
                    requests = back;
                    error
                }
                Err((error, _)) => {
                    self.count_refused(1);
                    if told {
                        self.room.notify_one();
                    }
                    return Err(error);
                }
            };
            let memory = matches!(&error, Error::Overloaded { why: Overload::Memory, .. });
            if memory && std::mem::take(&mut told) {
                // Memory is what this one waits for; the room is another's.
                self.room.notify_one();
            }
            let expired = async {
                match options.deadline.instant() {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = room, if !memory => told = true,
                () = freed, if memory => {}
                () = expired => {
                    self.count_refused(1);
                    return Err(self.deadline_exceeded());
                }
            }
        }
    }

    pub(super) fn admit(
        &self,
        state: &mut State<M>,
        parcels: &[(Cost, Option<Fingerprint>)],
        total: Cost,
        options: &JobOptions,
        heed_time: bool,
        now: Instant,
    ) -> Result<(), Error> {
        if let Some(error) = &state.refusing {
            return Err(error.clone());
        }
        if options.deadline.has_passed(now) {
            return Err(self.deadline_exceeded());
        }
        if !state.convictions.is_empty() {
            for (_, fingerprint) in parcels {
                if let Some(retry_after) =
                    fingerprint.and_then(|input| state.convictions.remaining(input, now))
                {
                    return Err(Error::Convicted { model: self.config.model.clone(), retry_after });
                }
            }
        }
        let held = Occupancy {
            jobs: state.outstanding,
            cost: state.core.cost(),
            ahead: state.core.ahead_of(options.priority),
            tokens_per_second: state.rate.per_second().map(|rate| rate * state.workers.max(1) as f64),
        };
        let allowed = options.deadline.remaining(now).filter(|_| heed_time);
        let mut limits = self.config.limits;
        if !heed_time {
            limits.max_wait = None;
        }
        let newcomer = Newcomer { jobs: parcels.len(), cost: total, allowed };
        admission::admit(&limits, &held, &newcomer).map_err(|refusal| match refusal {
            Refusal::TooLarge(why) => Error::TooLarge { model: self.config.model.clone(), why },
            Refusal::Overloaded { why, retry_after } => self.overloaded(why, retry_after),
        })
    }

    /// One more caller waits for a job: it becomes as urgent as the most urgent, and lasts until the latest deadline.
    pub(super) fn join(
        &self,
        state: &mut State<M>,
        job: JobId,
        waiter: Waiter<M::Output>,
        options: &JobOptions,
        now: Instant,
    ) {
        if let Some(record) = state.core.get_mut(job) {
            record.payload.waiters.push(waiter);
            record.payload.priority = record.payload.priority.max(options.priority);
            record.deadline = record.deadline.latest(options.deadline);
        }
        state.core.raise(job, options.priority, now);
        self.metrics.joined();
    }
}
