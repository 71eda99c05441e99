//! How many workers there should be, and when to look again.

use super::*;

impl<L: Loader> GroupTask<L> {
    /// Brings the number of workers towards what it should be.
    pub(super) fn reconcile(&mut self, now: Instant) {
        let rests = self.rests_for(now) > Duration::ZERO;
        if !rests {
            // By the clock, whatever state the group was in when it was sent to rest.
            self.reopen();
        }
        if self.shared.state() == GroupState::Broken {
            if rests {
                return;
            }
            self.shared.apply(GroupEvent::BackoffEnded);
        }
        if matches!(self.shared.state(), GroupState::Evicting | GroupState::Closed) {
            return;
        }
        let target = self.target(now);
        let serving = self.serving();
        let coming = usize::from(self.bring_up.is_some());
        let loading = self.hands.values().any(|hand| !hand.loaded && !hand.draining);
        if serving + coming < target && coming == 0 && !loading {
            let again = if serving == 0 { self.start_again } else { self.start_again.max(self.scale_again) };
            if now >= again {
                match self.breaker.permit(now) {
                    Permit::Yes | Permit::Trial if self.lanes.refuses(self.shared.model()) => {
                        // A load would be for nothing: the first step of it would be refused.
                        self.shared.apply(GroupEvent::Demand);
                        self.load_failed(self.refusal());
                    }
                    Permit::Yes | Permit::Trial => self.bring_up_one(serving == 0),
                    Permit::No { until } => self.start_again = until,
                }
            }
        } else if serving > target {
            if target == 0 {
                self.evict();
            } else {
                self.drain_some(serving - target);
            }
            self.last_change = now;
        }
    }

    pub(super) fn target(&mut self, now: Instant) -> usize {
        let config = &self.shared.config;
        let queue = self.shared.queue.stats();
        self.saw_waiting = queue.waiting > 0;
        let outstanding = queue.waiting + queue.leased > 0 || !self.warm.is_empty();
        let idle_for = now.saturating_duration_since(self.shared.queue.last_active());
        let (present, busy) = (self.serving(), self.busy());
        let spare = queue.waiting == 0 && busy < present;
        self.spare_since = if spare { self.spare_since.or(Some(now)) } else { None };
        let load = Load {
            queued_jobs: queue.waiting,
            queued: queue.waiting_tokens,
            rate: queue.tokens_per_second,
            present,
            busy,
            since_change: now.saturating_duration_since(self.last_change),
            spare_for: self.spare_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            idle_for: if outstanding { Duration::ZERO } else { idle_for },
        };
        let policy = ScalePolicy {
            min: config.workers.min,
            max: config.workers.max,
            idle_evict_after: self.idle_evict_after(),
            ..ScalePolicy::default()
        };
        let target = scaler::target(&load, &policy);
        if outstanding { target.max(1) } else { target }
    }

    /// When the state should be looked at again though nothing happened.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let config = &self.shared.config;
        let state = self.shared.state();
        let rests = state == GroupState::Broken || self.resting.is_some();
        let resting = rests.then(|| now + self.rests_for(now));
        let idle = self
            .idle_evict_after()
            .filter(|_| self.serving() > config.workers.min)
            .and_then(|after| self.shared.queue.last_active().checked_add(after))
            .map(|at| at.max(now + SCALE_INTERVAL));
        let queue_active = self.saw_waiting;
        let scales = config.workers.max > 1 && self.serving() > 0;
        let scale = (scales && (queue_active || self.serving() > config.workers.min.max(1)))
            .then(|| now + SCALE_INTERVAL);
        let wanted = queue_active || !self.warm.is_empty() || self.serving() < config.workers.min;
        let replace = (wanted
            && self.serving() == 0
            && self.bring_up.is_none()
            && !matches!(state, GroupState::Evicting | GroupState::Broken | GroupState::Closed))
        .then_some(self.start_again);
        [resting, idle, scale, replace].into_iter().flatten().min()
    }

    /// Whether an arrival should wake this task: only where it would change something. What waited when the task last
    /// looked waits for something else: a backoff, memory, or another look at the load. To ask the queue again here
    /// would miss what has arrived since.
    pub(super) fn listens_for_demand(&self) -> bool {
        matches!(self.shared.state(), GroupState::Absent | GroupState::Resident)
            && self.serving() < self.shared.config.workers.max.max(1)
            && !self.saw_waiting
    }

    /// For how long whoever comes is still turned away.
    pub(super) fn rests_for(&self, now: Instant) -> Duration {
        self.breaker.retry_after(now).unwrap_or_default()
    }

    /// How long the model is kept though nobody uses it; less where memory is short.
    fn idle_evict_after(&self) -> Option<Duration> {
        let usual = self.shared.config.idle_evict_after?;
        Some(self.governor.pressure().keeps_idle(usual))
    }

    pub(super) fn serving(&self) -> usize {
        self.hands.values().filter(|hand| !hand.draining).count()
    }

    pub(super) fn busy(&self) -> usize {
        self.hands.values().filter(|hand| !hand.draining && hand.is_busy()).count()
    }
}
