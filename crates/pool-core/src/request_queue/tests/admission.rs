use std::time::Duration;

use proptest::prelude::*;

use crate::error::{Excess, Overload};
use crate::request_queue::QueueLimits;
use crate::request_queue::admission::{Newcomer, Occupancy, Rate, Refusal, admit, memory_retry};
use crate::types::{Bytes, Cost, Tokens};

fn limits() -> QueueLimits {
    QueueLimits { jobs: 10, cost: Cost::new(1000, 4000), max_wait: Some(Duration::from_secs(30)) }
}

const EMPTY: Occupancy =
    Occupancy { jobs: 0, cost: Cost::ZERO, ahead: Tokens::ZERO, tokens_per_second: None };

fn one(tokens: u64) -> Newcomer {
    Newcomer { tickets: 1, jobs: 1, cost: Cost::new(tokens, tokens), allowed: None }
}

proptest! {
    #[test]
    fn what_is_admitted_keeps_every_limit(
        jobs in 0..12_usize, tokens in 0..1200_u64, bytes in 0..5000_u64,
        tickets in 1..12_usize, new_tokens in 0..1200_u64, new_bytes in 0..5000_u64, joined in 0..12_usize,
        rate in proptest::option::of(1.0..500.0_f64),
        allowed in proptest::option::of(0..60_u64),
    ) {
        let limits = limits();
        let held = Occupancy {
            jobs, cost: Cost::new(tokens, bytes), ahead: Tokens(tokens), tokens_per_second: rate,
        };
        let allowed = allowed.map(Duration::from_secs);
        let added = tickets.saturating_sub(joined);
        let cost = if added > 0 { Cost::new(new_tokens, new_bytes) } else { Cost::ZERO };
        let new = Newcomer { tickets, jobs: added, cost, allowed };
        let fits = jobs + tickets <= limits.jobs && (held.cost + cost).fits(&limits.cost);
        let in_time = allowed.unwrap_or(Duration::MAX).min(Duration::from_secs(30)).as_secs_f64();
        match admit(&limits, &held, &new) {
            Ok(()) => {
                prop_assert!(fits);
                if let Some(rate) = rate {
                    let done = (tokens + cost.tokens.get()) as f64 / rate;
                    let at_once = tokens == 0 && added == 1;
                    prop_assert!(added == 0 || at_once || done <= in_time + 1e-6, "the last is done in time");
                }
            }
            Err(Refusal::TooLarge(Excess::Time { expected, .. })) => {
                prop_assert!(added > 1 && fits && expected > Duration::from_secs(30));
            }
            Err(Refusal::TooLarge(Excess::Deadline { expected, allowed: told })) => {
                prop_assert!(added > 1 && fits && Some(told) == allowed);
                prop_assert!(expected > told && expected <= Duration::from_secs(30));
            }
            Err(Refusal::TooLarge(_)) => prop_assert!(tickets > limits.jobs || !cost.fits(&limits.cost)),
            Err(Refusal::Overloaded { why, retry_after }) => {
                prop_assert!(retry_after >= Duration::from_millis(100) && retry_after <= Duration::from_secs(600));
                match why {
                    Overload::Wait { expected, allowed } => {
                        prop_assert!(fits && tokens > 0 && expected > allowed);
                        let clear = Duration::from_secs_f64(tokens as f64 / rate.expect("measured"));
                        prop_assert!(retry_after <= clear.max(Duration::from_millis(100)), "no longer than it helps");
                    }
                    _ => prop_assert!(!fits),
                }
            }
        }
    }
}

#[test]
fn a_list_is_as_late_as_its_last_item() {
    let held = Occupancy { tokens_per_second: Some(10.0), ..EMPTY };
    let list = Newcomer { tickets: 5, jobs: 5, cost: Cost::new(301, 0), allowed: None };
    let (expected, allowed) = (Duration::from_millis(30_100), Duration::from_secs(30));
    let never = Err(Refusal::TooLarge(Excess::Time { expected, allowed }));
    assert_eq!(admit(&limits(), &held, &list), never, "it would not be done in time even by itself");
    let hurried = Newcomer { allowed: Some(Duration::from_secs(1)), ..list };
    assert_eq!(admit(&limits(), &held, &hurried), never, "more time would not help it either");
    let shorter = Newcomer { cost: Cost::new(300, 0), ..list };
    let (expected, allowed) = (Duration::from_secs(30), Duration::from_secs(1));
    let late = Err(Refusal::TooLarge(Excess::Deadline { expected, allowed }));
    assert_eq!(admit(&limits(), &held, &Newcomer { allowed: Some(allowed), ..shorter }), late);
    assert_eq!(admit(&limits(), &held, &shorter), Ok(()));
    let busy = Occupancy { jobs: 1, cost: Cost::new(10, 0), ahead: Tokens(10), ..held };
    let later = admit(&limits(), &busy, &shorter);
    assert!(
        matches!(later, Err(Refusal::Overloaded { retry_after, .. }) if retry_after == Duration::from_secs(1))
    );
    let off = QueueLimits { max_wait: None, ..limits() };
    assert_eq!(admit(&off, &busy, &list), Ok(()), "without a limit any wait is accepted");
}

#[test]
fn who_only_joins_is_not_told_to_wait() {
    let held =
        Occupancy { jobs: 1, cost: Cost::new(1000, 4000), ahead: Tokens(1000), tokens_per_second: Some(1.0) };
    let joins = Newcomer { tickets: 1, jobs: 0, cost: Cost::ZERO, allowed: Some(Duration::from_secs(1)) };
    assert_eq!(admit(&limits(), &held, &joins), Ok(()));
}

#[test]
fn memory_is_there_again_when_what_holds_it_has_been_computed() {
    let held =
        Occupancy { jobs: 2, cost: Cost::new(600, 1000), ahead: Tokens(600), tokens_per_second: Some(10.0) };
    assert_eq!(memory_retry(&held, Bytes(250)), Duration::from_secs(15), "a quarter of it");
    assert_eq!(memory_retry(&held, Bytes(9000)), Duration::from_secs(60), "all of it");
    let unmeasured = Occupancy { tokens_per_second: None, ..held };
    assert_eq!(memory_retry(&unmeasured, Bytes(250)), Duration::from_secs(1));
    assert_eq!(memory_retry(&EMPTY, Bytes(250)), Duration::from_secs(1), "others hold it");
}

#[test]
fn an_unmeasured_model_is_never_refused_on_time() {
    let held = Occupancy { jobs: 1, cost: Cost::new(900, 0), ahead: Tokens(900), tokens_per_second: None };
    let hurried = Newcomer { allowed: Some(Duration::from_millis(1)), ..one(10) };
    assert_eq!(admit(&limits(), &held, &hurried), Ok(()));
}

#[test]
fn what_would_be_computed_at_once_is_not_told_to_wait() {
    let held = Occupancy { tokens_per_second: Some(1.0), ..EMPTY };
    let hurried = Newcomer { allowed: Some(Duration::from_secs(1)), ..one(900) };
    assert_eq!(admit(&limits(), &held, &hurried), Ok(()));
}

#[test]
fn steps_in_which_nothing_ends_belong_to_what_ends_behind_them() {
    let mut rate = Rate::default();
    // Three minutes of steps, at the end of which one job of 1,800 tokens is done; then half of another one.
    let step = Duration::from_millis(200);
    for number in 1..=1350 {
        rate.record(if number == 900 { Tokens(1800) } else { Tokens::ZERO }, step, true);
    }
    assert!((rate.per_second().expect("measured") - 10.0).abs() < 1e-6);
}

#[test]
fn the_time_to_retry_follows_the_measured_rate() {
    let held =
        Occupancy { jobs: 2, cost: Cost::new(600, 0), ahead: Tokens(600), tokens_per_second: Some(10.0) };
    let refusal = admit(&limits(), &held, &one(10));
    let expected = Duration::from_secs(61);
    let allowed = Duration::from_secs(30);
    let retry_after = Duration::from_secs(31);
    assert_eq!(refusal, Err(Refusal::Overloaded { why: Overload::Wait { expected, allowed }, retry_after }));
}

#[test]
fn what_never_fits_is_told_so() {
    assert!(matches!(admit(&limits(), &EMPTY, &one(1001)), Err(Refusal::TooLarge(_))));
    let list = Newcomer { tickets: 11, jobs: 11, cost: Cost::ZERO, allowed: None };
    assert!(matches!(admit(&limits(), &EMPTY, &list), Err(Refusal::TooLarge(_))));
    let bytes = Newcomer { cost: Cost { tokens: Tokens(1), bytes: Bytes(4001) }, ..one(1) };
    assert!(matches!(admit(&limits(), &EMPTY, &bytes), Err(Refusal::TooLarge(_))));
}

#[test]
fn the_rate_is_measured_and_follows_change() {
    let mut rate = Rate::default();
    assert_eq!(rate.per_second(), None);
    rate.record(Tokens(1), Duration::from_secs(1), false);
    assert_eq!(rate.per_second(), None, "nothing waited: who knows what more it could have done");
    for _ in 0..100 {
        rate.record(Tokens(100), Duration::from_secs(1), true);
    }
    let before = rate.per_second().expect("measured");
    assert!((before - 100.0).abs() < 1e-6, "{before}");
    for _ in 0..60 {
        rate.record(Tokens(10), Duration::from_secs(1), true);
    }
    let after = rate.per_second().expect("measured");
    assert!((10.0..15.0).contains(&after), "{after}");
    for _ in 0..60 {
        rate.record(Tokens(20), Duration::from_secs(1), false);
    }
    let proven = rate.per_second().expect("measured");
    assert!((19.0..=20.0).contains(&proven), "it can do what it has done: {proven}");
}
