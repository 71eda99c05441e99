//! Workers down: eviction, the ways a worker ends, and the group's own end.

use super::*;

impl<L: Loader> GroupTask<L> {
    pub(super) fn evict(&mut self) {
        let before = self.shared.state();
        self.shared.apply(GroupEvent::Evict);
        if self.shared.state() != GroupState::Evicting {
            return;
        }
        if before != GroupState::Evicting {
            self.metrics.evictions.increment(1);
        }
        if self.bring_up.take().is_some() {
            self.breaker.on_abandoned(Instant::now());
        }
        self.drain_some(usize::MAX);
        self.settle_empty();
    }

    /// Lets so many workers go: those without jobs first, and of them the newest.
    pub(super) fn drain_some(&mut self, count: usize) {
        let mut serving: Vec<&mut Hand> =
            self.hands.values_mut().rev().filter(|hand| !hand.draining).collect();
        serving.sort_by_key(|hand| hand.is_busy());
        for hand in serving.into_iter().take(count) {
            hand.draining = true;
            hand.orders.send_replace(Order::Drain);
        }
    }

    pub(super) fn ended(&mut self, ended: Result<TaskEnd, JoinError>) {
        match ended {
            Ok(TaskEnd::Worker(id, exit)) => {
                let hand = self.hands.remove(&id);
                if hand.is_some_and(|hand| !hand.loaded) && matches!(exit, Exit::Drained) {
                    // Called off before it could show anything.
                    self.breaker.on_abandoned(Instant::now());
                }
                self.worker_ended(id, exit);
            }
            Ok(TaskEnd::Preparer) => self.start_preparer(),
            // Panics are contained within the tasks, so nothing but an abort is left.
            Err(error) => tracing::debug!(model = %self.shared.model(), %error, "a task was aborted"),
        }
        self.settle_empty();
        self.publish();
    }

    pub(super) fn worker_ended(&mut self, id: WorkerId, exit: Exit) {
        let model = self.shared.model();
        match exit {
            Exit::Drained => tracing::debug!(%model, worker = %id, "worker drained"),
            Exit::LoadFailed(LoadFailure::Model(error)) => self.load_failed(error),
            Exit::LoadFailed(LoadFailure::Compute(error)) => self.load_failed(Arc::new(error)),
            Exit::Died { message, convicted } => {
                tracing::warn!(%model, worker = %id, %message, convicted, "worker died");
                self.died(&message, convicted);
            }
            Exit::Unresponsive { after, convicted } => {
                tracing::error!(%model, worker = %id, ?after, convicted, "step overdue, worker given up");
                self.metrics.unresponsive.increment(1);
                self.shared.set_error(Some(format!("a step did not return for {} s", after.as_secs())));
                if self.is_inputs_fault(convicted) {
                    self.start_again = Instant::now();
                } else {
                    self.breaker.on_failure(Failure::Death, Instant::now(), jitter());
                }
                self.lost(unavailable);
            }
            Exit::Refused => {
                let cause = self.refusal();
                self.shared.set_error(Some(cause.to_string()));
                self.breaker.on_failure(Failure::Load, Instant::now(), jitter());
                self.lost(|model, retry_after| Error::LoadFailed {
                    model,
                    cause: Arc::clone(&cause),
                    retry_after,
                });
            }
            Exit::Gone => self.going_down(),
        }
    }

    /// A model could not be had: whoever waits for it hears why, and it rests. Where others of its workers serve, they go
    /// on, and only a further one waits.
    pub(super) fn load_failed(&mut self, cause: SharedCause) {
        tracing::warn!(model = %self.shared.model(), error = %cause, "loading failed");
        let now = Instant::now();
        self.metrics.load_failures.increment(1);
        self.shared.set_error(Some(cause.to_string()));
        self.shared.apply(GroupEvent::LoadFailed);
        if self.serving() > 0 {
            self.breaker.on_abandoned(now);
            self.scale_again = now + SCALE_PAUSE;
            return;
        }
        self.breaker.on_failure(Failure::Load, now, jitter());
        self.rest(|model, retry_after| Error::LoadFailed { model, cause: Arc::clone(&cause), retry_after });
    }

    pub(super) fn died(&mut self, message: &str, convicted: bool) {
        self.metrics.worker_deaths.increment(1);
        self.shared.set_error(Some(message.to_owned()));
        if self.is_inputs_fault(convicted) {
            self.breaker.on_conviction(Instant::now());
            self.start_again = Instant::now();
        } else {
            self.breaker.on_failure(Failure::Death, Instant::now(), jitter());
        }
        self.lost(unavailable);
    }

    /// Why the model is not even loaded: it would get no thread to step on.
    pub(super) fn refusal(&self) -> SharedCause {
        Arc::new(ComputeError::Refused { model: self.shared.model().clone() })
    }

    /// Whether one input is to blame, not the model: it was convicted, and the model has done something right since the last
    /// conviction.
    fn is_inputs_fault(&mut self, convicted: bool) -> bool {
        let completed = self.shared.queue.stats().counts.completed;
        let fault = convicted && self.completed_at_conviction != Some(completed);
        if fault {
            self.completed_at_conviction = Some(completed);
        }
        fault
    }

    /// A worker is lost. If it was the last, the group rests for as long as the breaker says; if that is open, whoever
    /// waits hears of it.
    pub(super) fn lost(&mut self, error: impl Fn(ModelId, Duration) -> Error) {
        if !self.hands.is_empty() || self.bring_up.is_some() {
            return;
        }
        self.shared.apply(GroupEvent::WorkersLost);
        if self.breaker.is_open() {
            self.rest(error);
        }
    }

    /// The group takes nothing until its backoff ends; what waits is told.
    pub(super) fn rest(&mut self, error: impl Fn(ModelId, Duration) -> Error) {
        let now = Instant::now();
        let rests_for = self.rests_for(now);
        let error = error(self.shared.model().clone(), rests_for);
        self.resting = Some((error.clone(), now + rests_for));
        if !self.draining {
            self.shared.queue.refuse(error.clone(), Some(now + rests_for));
        }
        // A worker that drains goes on with what it holds.
        self.shared.queue.fail_waiting(&error);
        for reply in self.warm.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
    }

    pub(super) fn going_down(&mut self) {
        self.draining = true;
        let error = self.shared.closing_error();
        self.shared.queue.refuse(error.clone(), None);
        self.shared.queue.fail_all(&error);
        for reply in self.warm.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
        self.shared.apply(GroupEvent::Close);
    }

    /// Once the last worker is gone, the group's state says so.
    pub(super) fn settle_empty(&mut self) {
        if !self.hands.is_empty() || self.bring_up.is_some() {
            return;
        }
        match self.shared.state() {
            GroupState::Evicting => self.shared.apply(GroupEvent::Evicted),
            GroupState::Resident => self.shared.apply(GroupEvent::LastWorkerGone),
            _ => {}
        }
        self.publish();
    }

    pub(super) fn publish(&self) {
        let workers = self.hands.iter().map(|(id, hand)| (*id, Arc::clone(&hand.status))).collect();
        self.shared.set_workers(workers);
        let count = self.hands.len();
        let loaded = self.hands.values().filter(|hand| hand.loaded && !hand.draining).count();
        self.shared.queue.set_workers(loaded);
        let working_sets = Bytes(self.footprint.working_set.get().saturating_mul(count as u64));
        let resident = if count == 0 { Bytes::ZERO } else { self.footprint.weights + working_sets };
        self.shared.set_resident(resident);
    }

    pub(super) fn start_preparer(&mut self) {
        let preparer =
            prepare_jobs(Arc::clone(&self.shared.queue), Arc::clone(&self.loader), self.lanes.clone());
        let model = self.shared.model().clone();
        self.tasks.spawn(async move {
            // It ends by a panic of the modality's own code alone: what it held is prepared again by the next.
            if let Err(message) = contained(preparer).await {
                tracing::error!(%model, %message, "the preparer's task panicked");
            }
            TaskEnd::Preparer
        });
    }

    /// Refuses what is new, finishes what was accepted, ends every worker. What is left at the deadline fails.
    pub(super) async fn drain(&mut self) {
        let shared = Arc::clone(&self.shared);
        let error = shared.closing_error();
        self.draining = true;
        shared.queue.refuse(error.clone(), None);
        for reply in self.warm.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
        let late = shared.closing_is_due();
        tokio::pin!(late);
        let queue = Arc::clone(&shared.queue);
        let mut in_time = true;
        while in_time {
            self.reconcile(Instant::now());
            tokio::select! {
                biased;
                () = queue.emptied() => break,
                () = &mut late => in_time = false,
                () = self.turn() => {}
            }
        }
        queue.fail_all(&error);
        self.bring_up = None;
        self.shared.apply(GroupEvent::Close);
        self.drain_some(usize::MAX);
        while in_time && !self.hands.is_empty() {
            tokio::select! {
                biased;
                () = &mut late => in_time = false,
                () = self.turn() => {}
            }
        }
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
    }
}

fn unavailable(model: ModelId, retry_after: Duration) -> Error {
    Error::Unavailable { model, retry_after }
}
