//! Which waiting jobs make up a worker's next batch.

use crate::model::Room;
use crate::types::{Priority, Tokens};

/// A job that may enter a batch. Candidates are given in queue order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) class: Priority,
    pub(crate) tokens: Tokens,
}

/// Fills a batch that its head has entered already: the positions in `candidates` that join it.
///
/// More urgent classes first; within a class those closest in length to the head, so that little is computed on padding
/// and short jobs do not wait for long ones; equal distances in queue order. `room` is what the head left.
pub(crate) fn fill(head: Tokens, candidates: &[Candidate], room: Room) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&index| {
        let candidate = &candidates[index];
        (std::cmp::Reverse(candidate.class), candidate.tokens.get().abs_diff(head.get()), index)
    });
    let mut left = room;
    let mut chosen = Vec::with_capacity(room.jobs.min(candidates.len()));
    for index in order {
        if left.jobs == 0 {
            break;
        }
        let tokens = candidates[index].tokens;
        if tokens <= left.tokens {
            left.jobs -= 1;
            left.tokens -= tokens;
            chosen.push(index);
        }
    }
    chosen
}
