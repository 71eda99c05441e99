use proptest::prelude::*;

use super::*;

const RESIDENCE: Duration = Duration::from_secs(30);

/// A model by number, of so many bytes, last used and resident since so many seconds ago.
fn candidate(number: usize, bytes: u64, used: u64, resident: u64, now: Instant) -> Candidate {
    Candidate {
        id: ModelId::new(format!("m{number:02}")),
        bytes: Bytes(bytes),
        busy: false,
        last_used: now - Duration::from_secs(used),
        resident_since: now - Duration::from_secs(resident),
        pinned: false,
    }
}

fn names(eviction: &Eviction) -> Vec<&str> {
    match eviction {
        Eviction::Now(models) => models.iter().map(ModelId::as_str).collect(),
        other => panic!("{other:?}"),
    }
}

/// Far enough from the clock's beginning to look back.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(100_000)
}

#[test]
fn least_recently_used_goes_first() {
    let now = later();
    let all = [candidate(0, 10, 1, 100, now), candidate(1, 10, 50, 100, now), candidate(2, 10, 20, 100, now)];
    assert_eq!(names(&choose(&all, Bytes(5), now, RESIDENCE)), ["m01"]);
    assert_eq!(names(&choose(&all, Bytes(11), now, RESIDENCE)), ["m01", "m02"]);
    assert_eq!(names(&choose(&all, Bytes(30), now, RESIDENCE)), ["m01", "m02", "m00"]);
    assert!(names(&choose(&all, Bytes::ZERO, now, RESIDENCE)).is_empty());
    assert_eq!(choose(&all, Bytes(31), now, RESIDENCE), Eviction::Never);
}

#[test]
fn nothing_small_goes_where_something_large_must_go_anyway() {
    let now = later();
    let all = [candidate(0, 1, 90, 100, now), candidate(1, 2, 80, 100, now), candidate(2, 100, 70, 100, now)];
    assert_eq!(names(&choose(&all, Bytes(100), now, RESIDENCE)), ["m02"]);
    assert_eq!(names(&choose(&all, Bytes(101), now, RESIDENCE)), ["m00", "m02"]);
}

#[test]
fn who_has_just_come_stays_for_a_while() {
    let now = later();
    let all = [candidate(0, 10, 90, 10, now), candidate(1, 10, 1, 100, now), candidate(2, 10, 50, 20, now)];
    assert_eq!(names(&choose(&all, Bytes(10), now, RESIDENCE)), ["m01"]);
    assert_eq!(choose(&all, Bytes(11), now, RESIDENCE), Eviction::Later);
    assert_eq!(names(&choose(&all, Bytes(11), now + Duration::from_secs(10), RESIDENCE)), ["m02", "m01"]);
    assert_eq!(choose(&all, Bytes(30), now + Duration::from_secs(10), RESIDENCE), Eviction::Later);
}

#[test]
fn pinned_models_stay_for_ever() {
    let now = later();
    let mut all = [candidate(0, 10, 90, 100, now), candidate(1, 10, 80, 100, now)];
    all[0].pinned = true;
    assert_eq!(names(&choose(&all, Bytes(10), now, RESIDENCE)), ["m01"]);
    assert_eq!(choose(&all, Bytes(11), now, RESIDENCE), Eviction::Never);
}

proptest! {
    #[test]
    fn enough_and_nothing_needless(
        models in prop::collection::vec((0..100u64, 0..200u64, 0..200u64, any::<bool>()), 0..12),
        needed in 0..600u64,
    ) {
        let now = later();
        let all: Vec<Candidate> = (models.iter().enumerate())
            .map(|(number, (bytes, used, resident, pinned))| Candidate {
                pinned: *pinned,
                ..candidate(number, *bytes, *used, *resident, now)
            })
            .collect();
        let needed = Bytes(needed);
        let sum = |which: &dyn Fn(&Candidate) -> bool| -> Bytes { all.iter().filter(|c| which(c)).map(|c| c.bytes).sum() };
        let stayed = |candidate: &Candidate, at: Instant| at.saturating_duration_since(candidate.resident_since) >= RESIDENCE;
        match choose(&all, needed, now, RESIDENCE) {
            Eviction::Now(chosen) => {
                let is_chosen = |candidate: &Candidate| chosen.contains(&candidate.id);
                let freed = sum(&is_chosen);
                prop_assert!(freed >= needed);
                for candidate in all.iter().filter(|c| is_chosen(c)) {
                    prop_assert!(!candidate.pinned && stayed(candidate, now));
                    prop_assert!(freed - candidate.bytes < needed, "{} is needless", candidate.id);
                }
                // Whoever stays though it was used less recently than one who goes, would not have sufficed in its place
                // together with those that were used even less.
                let newest = all.iter().filter(|c| is_chosen(c)).map(|c| c.last_used).max();
                if let Some(newest) = newest {
                    let older = sum(&|c| !c.pinned && stayed(c, now) && c.last_used < newest);
                    prop_assert!(older < needed, "{older} bytes of older models would have sufficed");
                }
            }
            Eviction::Later => {
                prop_assert!(sum(&|c| !c.pinned && stayed(c, now)) < needed);
                prop_assert!(sum(&|c| !c.pinned) >= needed, "in the end there is enough");
            }
            Eviction::Never => prop_assert!(sum(&|c| !c.pinned) < needed),
        }
    }
}
