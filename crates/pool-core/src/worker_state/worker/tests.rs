use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn events() -> impl Strategy<Value = Vec<WorkerEvent>> {
    prop::collection::vec(prop::sample::select(&WorkerEvent::ALL[..]), 0..30)
}

/// Every state that events lead to from there.
fn reachable(from: WorkerState) -> BTreeSet<WorkerState> {
    let mut found = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(state) = open.pop() {
        for next in WorkerEvent::ALL.into_iter().filter_map(|event| state.next(event).ok()) {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

#[test]
fn a_life_as_it_should_be() {
    use WorkerEvent as E;
    let life = [E::Started, E::Loaded, E::Leased, E::Emptied, E::Leased, E::Drain, E::Emptied, E::Ended];
    let mut states = vec![WorkerState::Spawning];
    for event in life {
        states.push(states[states.len() - 1].next(event).unwrap());
    }
    let names: Vec<_> = states.into_iter().map(WorkerState::as_str).collect();
    let expected = "spawning loading ready busy ready busy draining draining stopped";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn every_state_can_be_reached_and_every_life_can_end() {
    assert_eq!(reachable(WorkerState::Spawning), WorkerState::ALL.into());
    for state in WorkerState::ALL {
        let ends = reachable(state).into_iter().filter(|state| state.is_terminal()).count();
        assert!(ends >= 1, "{state} cannot end");
        if state.is_terminal() {
            assert_eq!(reachable(state), [state].into(), "{state} is an end");
        }
    }
}

#[test]
fn a_worker_that_is_told_to_drain_never_serves_again() {
    let after = reachable(WorkerState::Draining);
    assert!(after.iter().all(|state| !state.is_serving()), "{after:?}");
}

#[test]
fn anything_alive_may_fail_and_be_drained() {
    for state in WorkerState::ALL.into_iter().filter(|state| !state.is_terminal()) {
        assert_eq!(state.next(WorkerEvent::Failed), Ok(WorkerState::Failed));
        assert_eq!(state.next(WorkerEvent::Drain), Ok(WorkerState::Draining));
    }
}

#[test]
fn jobs_are_never_left_behind_by_a_worker_that_ends_of_itself() {
    let error = WorkerState::Busy.next(WorkerEvent::Ended).unwrap_err();
    assert_eq!(error.to_string(), "a worker that is busy cannot have: ended");
}

proptest! {
    #[test]
    fn what_is_illegal_changes_nothing_and_ends_are_final(events in events()) {
        let mut state = WorkerState::Spawning;
        for event in events {
            let next = state.next(event);
            if state.is_terminal() {
                prop_assert!(next.is_err() || next == Ok(state));
            }
            // To serve, a worker must have loaded; to step, it must have leased.
            if let Ok(next) = next {
                prop_assert!(!next.is_serving() || state.is_serving() || event == WorkerEvent::Loaded);
                prop_assert!(next != WorkerState::Busy || state == WorkerState::Ready);
                state = next;
            }
        }
    }
}
