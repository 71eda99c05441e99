use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn events() -> impl Strategy<Value = Vec<GroupEvent>> {
    prop::collection::vec(prop::sample::select(&GroupEvent::ALL[..]), 0..30)
}

/// Every state that events other than the group's end lead to from there.
fn reachable(from: GroupState) -> BTreeSet<GroupState> {
    let mut found = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(state) = open.pop() {
        let events = GroupEvent::ALL.into_iter().filter(|event| *event != GroupEvent::Close);
        for next in events.filter_map(|event| state.next(event).ok()) {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

#[test]
fn a_model_comes_and_goes_and_comes_back() {
    use GroupEvent as E;
    let life = [
        E::Demand,
        E::Demand,
        E::Loaded,
        E::Evict,
        E::Demand,
        E::Evicted,
        E::Demand,
        E::LoadFailed,
        E::Demand,
        E::BackoffEnded,
        E::Demand,
        E::Loaded,
        E::WorkersLost,
        E::Close,
    ];
    let mut states = vec![GroupState::Absent];
    for event in life {
        states.push(states[states.len() - 1].next(event).unwrap());
    }
    let names: Vec<_> = states.into_iter().map(GroupState::as_str).collect();
    let expected = "absent loading loading resident evicting evicting absent loading broken broken absent loading \
                    resident broken closed";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn every_state_can_be_reached_and_none_but_closed_is_a_dead_end() {
    let all_but_closed: BTreeSet<_> =
        GroupState::ALL.into_iter().filter(|state| *state != GroupState::Closed).collect();
    for state in &all_but_closed {
        assert_eq!(reachable(*state), all_but_closed, "from {state}");
        assert!(!state.is_terminal());
        assert_eq!(state.next(GroupEvent::Close), Ok(GroupState::Closed));
    }
    assert!(GroupState::Closed.is_terminal());
}

#[test]
fn demand_is_understood_everywhere_but_after_the_end() {
    for state in GroupState::ALL {
        let next = state.next(GroupEvent::Demand);
        match state {
            GroupState::Absent => assert_eq!(next, Ok(GroupState::Loading)),
            GroupState::Closed => {
                assert_eq!(next.unwrap_err().to_string(), "a group that is closed cannot have: demand");
            }
            other => assert_eq!(next, Ok(other)),
        }
    }
}

proptest! {
    #[test]
    fn closed_is_final_and_loading_is_the_only_way_in(events in events()) {
        let mut state = GroupState::Absent;
        let mut closed = false;
        for event in events {
            closed |= event == GroupEvent::Close;
            if let Ok(next) = state.next(event) {
                let came_in = next == GroupState::Resident && state != GroupState::Resident;
                prop_assert!(!came_in || (state == GroupState::Loading && event == GroupEvent::Loaded));
                // A broken group waits for its backoff, whatever is wanted of it.
                let left = state == GroupState::Broken && next != GroupState::Broken;
                prop_assert!(!left || matches!(event, GroupEvent::BackoffEnded | GroupEvent::Close));
                state = next;
            }
            prop_assert_eq!(closed, state == GroupState::Closed);
        }
    }
}
