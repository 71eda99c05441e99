use proptest::prelude::*;

use crate::model::Room;
use crate::request_queue::cut::{Candidate, fill};
use crate::types::{Priority, Tokens};

fn candidate() -> impl Strategy<Value = Candidate> {
    (0..4_usize, 1..600_u64)
        .prop_map(|(class, tokens)| Candidate { class: Priority::ALL[class], tokens: Tokens(tokens) })
}

proptest! {
    #[test]
    fn the_room_is_kept_and_nothing_is_chosen_twice(
        head in 1..600_u64,
        candidates in prop::collection::vec(candidate(), 0..80),
        jobs in 0..20_usize,
        tokens in 0..3000_u64,
    ) {
        let chosen = fill(Tokens(head), &candidates, Room::new(jobs, Tokens(tokens)));
        let sum: Tokens = chosen.iter().map(|index| candidates[*index].tokens).sum();
        prop_assert!(chosen.len() <= jobs && sum <= Tokens(tokens));
        let mut unique = chosen.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(unique.len(), chosen.len());
        // Nothing that would still fit is left out.
        if chosen.len() < jobs {
            let left = Tokens(tokens) - sum;
            for (index, candidate) in candidates.iter().enumerate() {
                prop_assert!(chosen.contains(&index) || candidate.tokens > left);
            }
        }
    }

    /// Of two of one class that are equally large to the budget, the one closer in length to the head is never left out
    /// for the other.
    #[test]
    fn within_a_class_closer_lengths_go_first(
        head in 1..600_u64,
        candidates in prop::collection::vec(candidate(), 0..80),
        jobs in 0..20_usize,
    ) {
        let chosen = fill(Tokens(head), &candidates, Room::jobs(jobs));
        let distance = |index: usize| candidates[index].tokens.get().abs_diff(head);
        for out in (0..candidates.len()).filter(|index| !chosen.contains(index)) {
            for inside in &chosen {
                let (outer, inner) = (candidates[out].class, candidates[*inside].class);
                prop_assert!(inner >= outer, "a more urgent job is not left out for a less urgent one");
                prop_assert!(inner > outer || distance(*inside) <= distance(out));
            }
        }
    }
}
