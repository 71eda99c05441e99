use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn breaker() -> Breaker {
    Breaker::new(BreakerConfig { jitter: 0.0, ..BreakerConfig::default() })
}

fn wait_of(permit: Permit, now: Instant) -> Option<Duration> {
    match permit {
        Permit::No { until } => Some(until.duration_since(now)),
        Permit::Yes | Permit::Trial => None,
    }
}

#[test]
fn a_load_that_fails_opens_for_longer_and_longer() {
    let mut breaker = breaker();
    let mut now = Instant::now();
    assert_eq!(breaker.permit(now), Permit::Yes);
    let mut waits = Vec::new();
    for _ in 0..11 {
        breaker.on_failure(Failure::Load, now, 0.5);
        assert!(breaker.is_open());
        let wait = wait_of(breaker.permit(now), now).unwrap();
        assert_eq!(breaker.retry_after(now), Some(wait));
        waits.push(wait.as_secs());
        now += wait;
        assert_eq!(breaker.permit(now), Permit::Trial);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    breaker.on_success(now);
    assert_eq!((breaker.permit(now), breaker.retry_after(now)), (Permit::Yes, None));
}

#[test]
fn a_death_delays_its_replacement_and_refuses_nobody() {
    let mut breaker = breaker();
    let now = Instant::now();
    breaker.on_success(now);
    breaker.on_failure(Failure::Death, now + SECOND, 0.0);
    assert!(!breaker.is_open());
    assert_eq!(breaker.retry_after(now + SECOND), None);
    assert_eq!(breaker.permit(now + SECOND), Permit::No { until: now + 2 * SECOND });
    assert_eq!(breaker.permit(now + 2 * SECOND), Permit::Yes, "no trial: many may replace many");
}

#[test]
fn the_third_death_within_a_minute_opens_and_slow_dying_does_not() {
    let mut fast = breaker();
    let mut slow = breaker();
    let start = Instant::now();
    for death in 0..3 {
        assert!(!fast.is_open());
        fast.on_failure(Failure::Death, start + 10 * SECOND * death, 0.0);
    }
    assert!(fast.is_open());
    for death in 0..30 {
        let now = start + 31 * SECOND * death;
        slow.on_failure(Failure::Death, now, 0.0);
        assert!(!slow.is_open(), "death {death}");
        slow.on_success(now + 10 * SECOND);
    }
}

#[test]
fn deaths_of_one_moment_have_one_backoff() {
    let mut breaker = breaker();
    let now = Instant::now();
    for _ in 0..8 {
        breaker.on_failure(Failure::Death, now, 0.0);
    }
    assert_eq!(breaker.retry_after(now), Some(SECOND));
}

#[test]
fn what_fails_again_soon_after_a_trial_opens_at_once_and_for_longer() {
    let mut breaker = breaker();
    let mut now = Instant::now();
    breaker.on_failure(Failure::Load, now, 0.0);
    now += SECOND;
    assert_eq!(breaker.permit(now), Permit::Trial);
    breaker.on_success(now);
    now += 30 * SECOND;
    breaker.on_failure(Failure::Death, now, 0.0);
    assert_eq!(breaker.retry_after(now), Some(2 * SECOND));

    now += 2 * SECOND;
    assert_eq!(breaker.permit(now), Permit::Trial);
    breaker.on_success(now);
    now += 60 * SECOND;
    breaker.on_failure(Failure::Death, now, 0.0);
    assert!(!breaker.is_open(), "a success that lasted has been a success");
    assert_eq!(breaker.permit(now), Permit::No { until: now + SECOND });
}

#[test]
fn a_conviction_counts_for_nothing() {
    let mut breaker = breaker();
    let mut now = Instant::now();
    for _ in 0..10 {
        // A batch dies, its jobs are retried alone, and one of them dies again.
        breaker.on_failure(Failure::Death, now, 0.0);
        now += SECOND;
        assert_eq!(breaker.permit(now), Permit::Yes);
        breaker.on_conviction(now);
        assert_eq!(breaker.permit(now), Permit::Yes);
        now += SECOND;
    }
    assert!(!breaker.is_open());
}

#[test]
fn a_trial_that_is_called_off_is_another_s_turn() {
    let mut breaker = breaker();
    let now = Instant::now();
    breaker.on_failure(Failure::Load, now, 0.0);
    assert_eq!(breaker.permit(now + SECOND), Permit::Trial);
    breaker.on_abandoned(now + SECOND);
    assert_eq!(breaker.permit(now + SECOND), Permit::Trial);
    breaker.on_success(now + SECOND);
    breaker.on_abandoned(now + SECOND);
    assert_eq!(breaker.permit(now + SECOND), Permit::Yes, "there was no trial to call off");
}

#[test]
fn a_load_that_began_before_the_breaker_opened_does_not_close_it() {
    let mut breaker = breaker();
    let now = Instant::now();
    breaker.on_failure(Failure::Load, now, 0.0);
    breaker.on_success(now);
    assert!(breaker.is_open());
}

#[derive(Clone, Debug)]
enum Op {
    Ask,
    Succeed,
    Fail(bool, f64),
    Convict,
    Abandon,
    Advance(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => Just(Op::Ask),
        2 => Just(Op::Succeed),
        3 => (any::<bool>(), any::<f64>()).prop_map(|(load, chance)| Op::Fail(load, chance)),
        1 => Just(Op::Convict),
        1 => Just(Op::Abandon),
        4 => (0..90_000u64).prop_map(Op::Advance),
    ];
    prop::collection::vec(op, 0..150)
}

proptest! {
    #[test]
    fn one_trial_at_a_time_and_no_wait_for_ever(ops in ops()) {
        let config = BreakerConfig::default();
        let mut breaker = Breaker::new(config);
        let mut now = Instant::now();
        let mut trial = false;
        for op in ops {
            match op {
                Op::Ask => match breaker.permit(now) {
                    Permit::Yes => prop_assert!(!trial && !breaker.is_open()),
                    Permit::Trial => {
                        prop_assert!(!trial, "two trials at once");
                        prop_assert!(breaker.is_open());
                        trial = true;
                    }
                    Permit::No { until } => {
                        prop_assert!(until > now && until <= now + config.max_backoff);
                        // Asked then, the answer is another, unless a trial is still out.
                        let then = breaker.clone().permit(until);
                        prop_assert_eq!(matches!(then, Permit::No { .. }), trial);
                    }
                },
                Op::Succeed => {
                    breaker.on_success(now);
                    trial = false;
                }
                Op::Fail(load, chance) => {
                    let before = breaker.clone();
                    let failure = if load { Failure::Load } else { Failure::Death };
                    breaker.on_failure(failure, now, chance);
                    prop_assert!(!load || breaker.is_open());
                    prop_assert!(!trial || breaker.is_open());
                    prop_assert!(!before.is_open() || breaker.is_open());
                    prop_assert!(!breaker.is_open() || breaker.retry_after(now).unwrap() <= config.max_backoff);
                    trial = false;
                }
                Op::Convict => {
                    let deaths = breaker.deaths.len();
                    let open = breaker.is_open();
                    breaker.on_conviction(now);
                    prop_assert!(breaker.deaths.len() <= deaths);
                    prop_assert!(open || !breaker.is_open());
                    trial = false;
                }
                Op::Abandon => {
                    breaker.on_abandoned(now);
                    trial = false;
                }
                Op::Advance(ms) => now += Duration::from_millis(ms),
            }
        }
    }

    #[test]
    fn backoffs_never_shrink_while_all_fails(chances in prop::collection::vec(0.0..=1.0f64, 1..20)) {
        let mut breaker = Breaker::new(BreakerConfig::default());
        let mut now = Instant::now();
        let mut last = Duration::ZERO;
        for chance in chances {
            breaker.on_failure(Failure::Load, now, chance);
            let wait = breaker.retry_after(now).unwrap();
            prop_assert!(wait >= last && wait >= SECOND && wait <= Duration::from_secs(300));
            last = wait;
            now += wait;
            prop_assert_eq!(breaker.permit(now), Permit::Trial);
        }
    }
}
