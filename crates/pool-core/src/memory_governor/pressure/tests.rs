use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn levels_follow_use_with_hysteresis(limit in 1..u64::MAX, path in prop::collection::vec(0.0..=1.0f64, 1..50)) {
        let thresholds = Thresholds::of(Bytes(limit));
        let mut level = Pressure::Low;
        for part in path {
            let used = ((limit as f64 * part) as u64).min(limit);
            let next = thresholds.next(level, used);
            // At once up, and at rest where it has arrived.
            prop_assert_eq!(thresholds.next(next, used), next);
            prop_assert!(next >= thresholds.next(Pressure::Low, used));
            // Down only well below.
            prop_assert!(next <= thresholds.next(Pressure::Critical, used));
            if next < level {
                prop_assert!(used < thresholds.leave[level.index()].max(1));
            }
            level = next;
        }
        prop_assert_eq!(thresholds.next(level, 0), Pressure::Low);
        prop_assert_eq!(thresholds.next(level, limit), Pressure::Critical);
    }

    #[test]
    fn more_use_is_never_a_lower_level(limit in 1..u64::MAX, a: u64, b: u64, from in 0..4u8) {
        let thresholds = Thresholds::of(Bytes(limit));
        let (less, more) = (a.min(b), a.max(b));
        let from = Pressure::from_index(from);
        prop_assert!(thresholds.next(from, less) <= thresholds.next(from, more));
    }
}

#[test]
fn the_usual_thresholds() {
    let thresholds = Thresholds::of(Bytes(1_000));
    let from_below = |used| thresholds.next(Pressure::Low, used);
    assert_eq!(
        [0, 499, 500, 749, 750, 899, 900].map(from_below).map(Pressure::as_str),
        ["low", "low", "normal", "normal", "high", "high", "critical"]
    );
    let from_above = |used| thresholds.next(Pressure::Critical, used);
    assert_eq!(
        [0, 449, 450, 699, 700, 849, 850].map(from_above).map(Pressure::as_str),
        ["low", "low", "normal", "normal", "high", "high", "critical"]
    );
    for level in Pressure::ALL {
        assert_eq!(Pressure::from_index(level as u8), level);
    }
}

#[test]
fn a_budget_of_nothing_is_under_no_pressure() {
    let thresholds = Thresholds::of(Bytes(0));
    assert_eq!(thresholds.next(Pressure::Low, 0), Pressure::Low);
    assert_eq!(thresholds.next(Pressure::Critical, 0), Pressure::Low);
}

proptest! {
    #[test]
    fn what_is_idle_is_never_kept_longer_for_more_pressure(millis in 0..u64::MAX / 2_000, a in 0..4u8, b in 0..4u8) {
        let usual = Duration::from_millis(millis);
        let (less, more) = (Pressure::from_index(a.min(b)), Pressure::from_index(a.max(b)));
        prop_assert!(more.keeps_idle(usual) <= less.keeps_idle(usual));
        prop_assert!(less.keeps_idle(usual) <= usual);
        prop_assert_eq!(Pressure::Normal.keeps_idle(usual), usual, "half a budget is no need");
        prop_assert!(Pressure::High.keeps_idle(usual) < usual || usual.is_zero());
    }
}
