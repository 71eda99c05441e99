//! How many workers a group should have: pure.
//!
//! Up when what is queued would take too long, down when a worker has had nothing to do for long, to none only when
//! nobody has wanted the model for longer still. Between two changes lies a time in which the first can show its effect.

use std::time::Duration;

use crate::types::Tokens;

#[cfg(test)]
mod tests;

/// When a group gets more or fewer workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ScalePolicy {
    /// Never fewer workers.
    pub(crate) min: usize,
    /// Never more workers. Where it is less than `min`, it is taken to be `min`.
    pub(crate) max: usize,
    /// More workers where what is queued takes longer.
    pub(crate) scale_up_wait: Duration,
    /// Fewer workers where one has had nothing to do for so long.
    pub(crate) idle_scale_down: Duration,
    /// No worker, if `min` allows, where there was no work at all for so long; `None` for never.
    pub(crate) idle_evict_after: Option<Duration>,
    /// The time a change is given to show its effect before the next.
    pub(crate) settle: Duration,
}

impl Default for ScalePolicy {
    fn default() -> Self {
        Self {
            min: 0,
            max: 1,
            scale_up_wait: Duration::from_secs(2),
            idle_scale_down: Duration::from_secs(30),
            idle_evict_after: None,
            settle: Duration::from_secs(5),
        }
    }
}

/// What a group has to do, and with what.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Load {
    /// Jobs that wait.
    pub(crate) queued_jobs: usize,
    /// What they cost together.
    pub(crate) queued: Tokens,
    /// Tokens a second that one worker was measured to do; `None` where nothing was measured yet.
    pub(crate) rate: Option<f64>,
    /// Workers there are, those that still load among them.
    pub(crate) present: usize,
    /// Workers that have jobs.
    pub(crate) busy: usize,
    /// Since the number of workers last changed, or a worker last finished loading.
    pub(crate) since_change: Duration,
    /// For how long there has been a worker without a job and no job without a worker.
    pub(crate) spare_for: Duration,
    /// For how long there has been no work at all.
    pub(crate) idle_for: Duration,
}

/// How many workers the group should have.
pub(crate) fn target(load: &Load, policy: &ScalePolicy) -> usize {
    let most = policy.max.max(policy.min);
    let within = |workers: usize| workers.clamp(policy.min, most);
    if load.queued_jobs > 0 {
        return within(load.present.max(1).max(grown(load, policy)));
    }
    if load.busy == 0
        && policy.min == 0
        && policy.idle_evict_after.is_some_and(|after| load.idle_for >= after)
    {
        return 0;
    }
    let has_spare = load.busy < load.present && load.spare_for >= policy.idle_scale_down;
    if has_spare && load.present > 1 && load.since_change >= policy.settle {
        return within(load.present - 1);
    }
    within(load.present)
}

/// How many workers would do what is queued in time: at most twice those there are, since a rate measured on few says
/// little about many.
fn grown(load: &Load, policy: &ScalePolicy) -> usize {
    if load.present == 0 || load.since_change < policy.settle {
        return load.present;
    }
    let Some(rate) = load.rate.filter(|rate| rate.is_finite() && *rate > 0.0) else {
        let all_busy = load.busy >= load.present;
        return load.present + usize::from(all_busy);
    };
    let one_worker_does = rate * policy.scale_up_wait.as_secs_f64();
    let needed = (load.queued.get() as f64 / one_worker_does).ceil();
    // A float to integer cast saturates, and makes nothing of what is no number.
    (needed as usize).min(load.present.saturating_mul(2)).max(load.present)
}
