use proptest::prelude::*;

use super::*;

const POLICY: ScalePolicy = ScalePolicy {
    min: 0,
    max: 4,
    scale_up_wait: Duration::from_secs(2),
    idle_scale_down: Duration::from_secs(30),
    idle_evict_after: Some(Duration::from_secs(300)),
    settle: Duration::from_secs(5),
};

/// Nothing to do since long, with so many workers.
fn idle(present: usize) -> Load {
    Load {
        queued_jobs: 0,
        queued: Tokens::ZERO,
        rate: Some(1_000.0),
        present,
        busy: 0,
        since_change: Duration::from_secs(60),
        spare_for: Duration::from_secs(60),
        idle_for: Duration::from_secs(60),
    }
}

/// Every worker has jobs, and so many tokens wait.
fn busy(present: usize, queued: u64) -> Load {
    Load {
        queued_jobs: usize::from(queued > 0),
        queued: Tokens(queued),
        busy: present,
        spare_for: Duration::ZERO,
        idle_for: Duration::ZERO,
        ..idle(present)
    }
}

fn policies() -> impl Strategy<Value = ScalePolicy> {
    let duration = || (0..100u64).prop_map(Duration::from_secs);
    let bounds = (0..4usize, 0..6usize, duration(), duration(), prop::option::of(duration()), duration());
    bounds.prop_map(|(min, max, scale_up_wait, idle_scale_down, idle_evict_after, settle)| ScalePolicy {
        min,
        max,
        scale_up_wait,
        idle_scale_down,
        idle_evict_after,
        settle,
    })
}

fn loads() -> impl Strategy<Value = Load> {
    let duration = || (0..100u64).prop_map(Duration::from_secs);
    let rate =
        prop::option::of(prop_oneof![Just(0.0), Just(-1.0), Just(f64::NAN), Just(f64::INFINITY), 0.1..1e6]);
    let work = (0..5usize, any::<u64>(), rate, 0..8usize, 0..8usize, duration(), duration(), duration());
    work.prop_map(|(queued_jobs, queued, rate, present, busy, since_change, spare_for, idle_for)| Load {
        queued_jobs,
        queued: Tokens(if queued_jobs == 0 { 0 } else { queued }),
        rate,
        present,
        busy: busy.min(present),
        since_change,
        spare_for,
        idle_for,
    })
}

proptest! {
    #[test]
    fn within_bounds_and_monotone_in_what_is_queued(load in loads(), policy in policies(), more: u64) {
        let workers = target(&load, &policy);
        let most = policy.max.max(policy.min);
        prop_assert!((policy.min..=most).contains(&workers));
        let more = Load { queued_jobs: load.queued_jobs + 1, queued: load.queued + Tokens(more), ..load };
        prop_assert!(target(&more, &policy) >= workers);
        // What waits is served, where anything may be.
        prop_assert!(target(&more, &policy) >= usize::from(most > 0));
    }

    #[test]
    fn nobody_who_works_is_sent_away(load in loads(), policy in policies()) {
        let workers = target(&load, &policy);
        prop_assert!(workers >= load.busy.min(policy.max.max(policy.min)));
        // To nothing only after the time for that.
        let may_vanish = policy.idle_evict_after.is_some_and(|after| load.idle_for >= after);
        let most = policy.max.max(policy.min);
        prop_assert!(workers > 0 || load.present == 0 || most == 0 || (may_vanish && load.busy + load.queued_jobs == 0));
    }

    /// Under any load that stays, the number of workers comes to rest; and it never shrinks before the time that was set
    /// for that.
    #[test]
    fn no_flapping(rate in 1.0..1e5f64, arriving in prop::collection::vec(0.0..4e5f64, 1..6)) {
        let policy = ScalePolicy { min: 1, ..POLICY };
        let (mut present, mut queued, mut spare_for, mut since_change) = (1, 0.0f64, 0u64, 60u64);
        let mut grew_at = None;
        for (phase, per_second) in arriving.iter().enumerate() {
            let mut changes = Vec::new();
            for second in 0..600u64 {
                let at = phase as u64 * 600 + second;
                // Queues are bounded: what does not fit is refused.
                queued = (queued + per_second - rate * present as f64).clamp(0.0, 20.0 * rate);
                let busy = ((per_second / rate).ceil() as usize).min(present);
                spare_for = if queued == 0.0 && busy < present { spare_for + 1 } else { 0 };
                let load = Load {
                    queued_jobs: usize::from(queued > 0.0),
                    queued: Tokens(queued as u64),
                    rate: Some(rate),
                    present,
                    busy,
                    since_change: Duration::from_secs(since_change),
                    spare_for: Duration::from_secs(spare_for),
                    idle_for: Duration::ZERO,
                };
                let next = target(&load, &policy);
                since_change += 1;
                if next > present {
                    grew_at = Some(at);
                }
                if next < present {
                    prop_assert!(grew_at.is_none_or(|grew| at - grew >= 30), "down {} s after up", at - grew_at.unwrap());
                }
                if next != present {
                    changes.push((second, next as i64 - present as i64));
                    (present, since_change) = (next, 0);
                }
            }
            // Up as far as it takes and down to what it takes, once: what turns round twice turns for ever.
            let turns = changes.windows(2).filter(|pair| (pair[0].1 > 0) != (pair[1].1 > 0)).count();
            prop_assert!(turns <= 1, "{changes:?}");
            prop_assert!(changes.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 5), "{changes:?}");
        }
    }
}

#[test]
fn the_first_job_brings_the_first_worker() {
    assert_eq!(target(&Load { rate: None, ..busy(0, 1) }, &POLICY), 1);
    assert_eq!(target(&busy(0, u64::MAX), &POLICY), 1, "one at first, and then by what it does");
    assert_eq!(target(&idle(0), &POLICY), 0);
    assert_eq!(target(&idle(0), &ScalePolicy { min: 2, ..POLICY }), 2);
}

#[test]
fn what_would_take_too_long_brings_more() {
    assert_eq!(target(&busy(1, 2_000), &POLICY), 1, "2 s are what one may take");
    assert_eq!(target(&busy(1, 2_001), &POLICY), 2);
    assert_eq!(target(&busy(1, 100_000), &POLICY), 2, "twice as many at most");
    assert_eq!(target(&busy(2, 100_000), &POLICY), 4);
    assert_eq!(target(&busy(4, 100_000), &POLICY), 4);
    let just_changed = Load { since_change: Duration::from_secs(4), ..busy(1, 100_000) };
    assert_eq!(target(&just_changed, &POLICY), 1, "the last change has not shown its effect");
}

#[test]
fn without_a_rate_it_is_whether_all_are_busy() {
    let unmeasured = Load { rate: None, ..busy(2, 1) };
    assert_eq!(target(&unmeasured, &POLICY), 3);
    assert_eq!(target(&Load { busy: 1, ..unmeasured }, &POLICY), 2);
}

#[test]
fn workers_without_work_go_one_by_one_and_the_last_after_longer() {
    assert_eq!(target(&idle(3), &POLICY), 2);
    assert_eq!(target(&Load { busy: 2, ..idle(3) }, &POLICY), 2);
    assert_eq!(target(&Load { busy: 3, ..idle(3) }, &POLICY), 3);
    assert_eq!(target(&idle(1), &POLICY), 1);
    let forgotten = Load { idle_for: Duration::from_secs(300), ..idle(3) };
    assert_eq!(target(&forgotten, &POLICY), 0);
    assert_eq!(target(&forgotten, &ScalePolicy { idle_evict_after: None, ..POLICY }), 2);
    assert_eq!(target(&forgotten, &ScalePolicy { min: 1, ..POLICY }), 2);
}
