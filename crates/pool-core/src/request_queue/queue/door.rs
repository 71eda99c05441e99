//! At the door: what is let in, and how.

use super::*;

/// One request at the door, with all that it needs inside. Made before the lock, as making it takes a while and may
/// panic: estimates and fingerprints are a modality's code, a timer wants a runtime that has timers.
struct Parcel<M: Model> {
    /// Taken when it goes in. A request that joins another's job leaves it here, to be dropped outside of the lock.
    arrival: Option<Arrival<Payload<M>>>,
    ticket: Ticket<M::Output>,
    receiver: Option<mpsc::Receiver<M::Event>>,
    /// The list has an equal request before it.
    twin: bool,
}

/// What has come in.
struct Entry {
    joined: usize,
    raw: bool,
    ready: bool,
    demanded: bool,
}

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
        // What unwinds from within the lock drops its guard first and the tickets after it: they find the door unlocked.
        let mut parcels = self.pack(requests, options, events);
        let entry = self.change(|state| {
            self.admit(state, &mut parcels, options, heed_time, now)?;
            Ok(state.take_in(&mut parcels, options, now))
        });
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                if heed_time {
                    self.count_refused(parcels.len());
                }
                return Err((error, parcels.into_iter().filter_map(Parcel::turn_away).collect()));
            }
        };
        self.metrics.accepted(parcels.len() as u64);
        self.metrics.joined(entry.joined as u64);
        let accepted = parcels.into_iter().map(|parcel| (parcel.ticket, parcel.receiver)).collect();
        if entry.raw {
            self.raw.notify_one();
        }
        if entry.ready {
            // One worker wakes; it wakes the next if it leaves something.
            self.wake_one();
        }
        if entry.demanded {
            self.demand.notify_one();
        }
        Ok(accepted)
    }

    /// Makes everything that the requests will need inside.
    fn pack(
        self: &Arc<Self>,
        requests: Vec<M::Request>,
        options: &JobOptions,
        events: Option<usize>,
    ) -> Vec<Parcel<M>> {
        let list = requests.len() > 1;
        let mut seen = FxHashSet::default();
        let parcels = requests.into_iter().map(|request| {
            let cost = M::estimate(&request);
            let fingerprint = M::fingerprint(&request);
            let raw = (self.preparation)(cost) == Preparation::Lane;
            let join = fingerprint
                .filter(|_| self.config.coalesce && events.is_none())
                .map(|fingerprint| (options.principal.clone(), fingerprint));
            let twin = list && join.is_some() && fingerprint.is_some_and(|input| !seen.insert(input));
            let id = JobId::new(self.job_ids.fetch_add(1, Ordering::Relaxed));
            let number = self.next_ticket.fetch_add(1, Ordering::Relaxed);
            let (reply, answer) = oneshot::channel();
            let (sender, receiver) = match events {
                // The caller chose the bound: how far a job may run ahead of its reader.
                Some(bound) => {
                    let (sender, receiver) = mpsc::channel(bound.max(1));
                    (Some(sender), Some(receiver))
                }
                None => (None, None),
            };
            let span = tracing::debug_span!("job", model = %self.config.model, job = %id);
            let payload = Payload {
                job: Arc::new(Job::new(id, request, fingerprint, span, cost.bytes)),
                waiters: vec![Waiter { ticket: number, reply }],
                events: sender,
                join,
                priority: options.priority,
            };
            let arrival = Arrival {
                job: id,
                payload,
                cost,
                deadline: options.deadline,
                principal: options.principal.clone(),
                priority: options.priority,
                raw,
            };
            let desk: Arc<dyn Desk> = Arc::<Self>::clone(self);
            let ticket = Ticket::new(id, number, answer, options.deadline, desk);
            Parcel { arrival: Some(arrival), ticket, receiver, twin }
        });
        parcels.collect()
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
            let refusal = self.refusal.notified();
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
                () = refusal => {}
                () = expired => {
                    self.count_refused(1);
                    return Err(self.deadline_exceeded());
                }
            }
        }
    }

    /// Finds out whether all of these may come in, and then takes the memory for their inputs: what is turned away for any
    /// other reason takes none from others and has nothing evicted.
    fn admit(
        &self,
        state: &mut State<M>,
        parcels: &mut [Parcel<M>],
        options: &JobOptions,
        heed_time: bool,
        now: Instant,
    ) -> Result<(), Error> {
        if let Some((error, until)) = &state.refusing {
            return Err(error.at(*until, now));
        }
        if options.deadline.has_passed(now) {
            return Err(self.deadline_exceeded());
        }
        let (mut jobs, mut cost) = (0, Cost::ZERO);
        for parcel in &*parcels {
            if let Some(retry_after) = state.sentence(parcel.fingerprint(), now) {
                return Err(self.convicted(retry_after));
            }
            if !parcel.joins(state) {
                jobs += 1;
                cost += parcel.cost();
            }
        }
        let held = state.occupancy(options.priority);
        let allowed = options.deadline.remaining(now).filter(|_| heed_time);
        let mut limits = self.config.limits;
        if !heed_time {
            limits.max_wait = None;
        }
        let newcomer = Newcomer { tickets: parcels.len(), jobs, cost, allowed };
        admission::admit(&limits, &held, &newcomer).map_err(|refusal| match refusal {
            Refusal::TooLarge(why) => self.too_large(why),
            Refusal::Overloaded { why, retry_after } => self.overloaded(why, retry_after),
        })?;
        let inputs = self.governor.try_reserve(Account::Inputs, cost.bytes);
        let mut inputs = inputs.map_err(|short| self.no_memory(&held, short))?;
        let newcomers = parcels.iter_mut().filter(|parcel| !parcel.joins(state));
        newcomers.for_each(|parcel| parcel.fund(&mut inputs));
        Ok(())
    }
}

impl<M: Model> State<M> {
    /// Lets in what was admitted.
    fn take_in(&mut self, parcels: &mut [Parcel<M>], options: &JobOptions, now: Instant) -> Entry {
        let mut entry = Entry { joined: 0, raw: false, ready: false, demanded: false };
        self.counts.accepted += parcels.len() as u64;
        self.outstanding += parcels.len();
        for parcel in parcels {
            let Some(mut arrival) = parcel.arrival.take() else { continue };
            let key = arrival.payload.join.as_ref();
            let joined = key.and_then(|key| self.joins.get(key).copied());
            if let Some(job) = joined.filter(|job| self.core.contains(*job)) {
                parcel.ticket.rebind(job);
                self.join(job, std::mem::take(&mut arrival.payload.waiters), options, now);
                parcel.arrival = Some(arrival);
                entry.joined += 1;
                continue;
            }
            if let Some(key) = key {
                self.joins.insert(key.clone(), arrival.job);
            }
            entry.raw |= arrival.raw;
            entry.ready |= !arrival.raw;
            self.core.insert(arrival, now);
        }
        self.last_active = now;
        entry.demanded = std::mem::take(&mut self.demand_armed);
        entry
    }

    /// More callers wait for a job: it becomes as urgent as the most urgent, and lasts until the latest deadline.
    fn join(&mut self, job: JobId, waiters: Vec<Waiter<M::Output>>, options: &JobOptions, now: Instant) {
        if let Some(record) = self.core.get_mut(job) {
            record.payload.waiters.extend(waiters);
            record.payload.priority = record.payload.priority.max(options.priority);
            record.deadline = record.deadline.latest(options.deadline);
        }
        self.core.raise(job, options.priority, now);
    }
}

impl<M: Model> Parcel<M> {
    fn cost(&self) -> Cost {
        self.arrival.as_ref().map_or(Cost::ZERO, |arrival| arrival.cost)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.arrival.as_ref()?.payload.job.fingerprint()
    }

    /// Whether it will join another's job and so costs nothing.
    fn joins(&self, state: &State<M>) -> bool {
        let key = self.arrival.as_ref().and_then(|arrival| arrival.payload.join.as_ref());
        self.twin || key.is_some_and(|key| state.joins.contains_key(key))
    }

    /// Takes its part of what was reserved for all.
    fn fund(&mut self, inputs: &mut Reservation) {
        if let Some(arrival) = &mut self.arrival
            && let Some(job) = Arc::get_mut(&mut arrival.payload.job)
        {
            job.fund(inputs.split(arrival.cost.bytes));
        }
    }

    /// It was not let in: the request, back.
    fn turn_away(self) -> Option<M::Request> {
        self.ticket.void();
        Arc::into_inner(self.arrival?.payload.job).map(Job::into_request)
    }
}
