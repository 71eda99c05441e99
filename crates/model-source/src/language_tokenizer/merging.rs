//! Merging neighbours into tokens, best pair first: what byte-pair encoding and SentencePiece have in common. A queue makes
//! it O(n log n) in the text's length.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The id of a piece of text that is no token.
pub(super) const NO_TOKEN: u32 = u32::MAX;

/// Beyond either end of the chain.
const NOWHERE: usize = usize::MAX;

/// A piece of the text that has not been merged away.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Its token, or [`NO_TOKEN`].
    pub(super) id: u32,
    /// Its place in the text. One that was merged into its neighbour is empty.
    pub(super) start: usize,
    pub(super) end: usize,
    before: usize,
    after: usize,
}

/// What two neighbours can become.
pub(super) struct Join {
    /// The lowest is done first, of equal ones the leftmost.
    pub(super) order: u32,
    /// The token of both.
    pub(super) id: u32,
}

/// A join that was possible when it was found. Compared by its first two fields.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    order: u32,
    left: usize,
    right: usize,
    /// Of both, to see whether one of them has grown since.
    length: usize,
    id: u32,
}

/// The pieces of a text from left to right. Its memory is used again after [`clear`](Self::clear).
#[derive(Default)]
pub(super) struct Chain {
    pieces: Vec<Piece>,
    queue: BinaryHeap<Reverse<Candidate>>,
}

impl Chain {
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
    }

    /// Appends a piece that ends at `end`.
    pub(super) fn push(&mut self, id: u32, end: usize) {
        let index = self.pieces.len();
        let (start, before) = match self.pieces.last_mut() {
            Some(last) => {
                last.after = index;
                (last.end, index - 1)
            }
            None => (0, NOWHERE),
        };
        self.pieces.push(Piece { id, start, end, before, after: NOWHERE });
    }

    /// Merges neighbours until `join` knows no more.
    pub(super) fn merge(&mut self, join: impl Fn(&Piece, &Piece) -> Option<Join>) {
        for right in 1..self.pieces.len() {
            self.consider(right - 1, right, &join);
        }
        while let Some(Reverse(Candidate { left, right, length, id, .. })) = self.queue.pop() {
            let (l, r) = (self.pieces[left], self.pieces[right]);
            // Pieces only grow or vanish, so if both are there and no longer than they were, nothing has changed.
            if l.start == l.end || r.start == r.end || r.end - l.start != length || l.after != right {
                continue;
            }
            self.pieces[left] = Piece { id, end: r.end, after: r.after, ..l };
            self.pieces[right].start = r.end;
            if r.after != NOWHERE {
                self.pieces[r.after].before = left;
                self.consider(left, r.after, &join);
            }
            if l.before != NOWHERE {
                self.consider(l.before, left, &join);
            }
        }
    }

    fn consider(&mut self, left: usize, right: usize, join: impl Fn(&Piece, &Piece) -> Option<Join>) {
        let (l, r) = (&self.pieces[left], &self.pieces[right]);
        if let Some(Join { order, id }) = join(l, r) {
            self.queue.push(Reverse(Candidate { order, left, right, length: r.end - l.start, id }));
        }
    }

    /// The pieces that are left.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(|piece| piece.start < piece.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slowest and plainest way: looks through all neighbours for the best, again and again.
    fn merged_slowly(text: &str, order: impl Fn(&str) -> Option<u32>) -> Vec<String> {
        let mut pieces: Vec<String> = text.chars().map(String::from).collect();
        loop {
            let pairs = pieces.windows(2).enumerate();
            let best = pairs.filter_map(|(at, pair)| Some((order(&pair.concat())?, at))).min();
            let Some((_, at)) = best else {
                return pieces;
            };
            let right = pieces.remove(at + 1);
            pieces[at].push_str(&right);
        }
    }

    fn merged(text: &str, order: impl Fn(&str) -> Option<u32>) -> Vec<String> {
        let mut chain = Chain::default();
        for (start, character) in text.char_indices() {
            chain.push(NO_TOKEN, start + character.len_utf8());
        }
        chain.merge(|left, right| Some(Join { order: order(&text[left.start..right.end])?, id: 7 }));
        chain.pieces().map(|piece| text[piece.start..piece.end].to_owned()).collect()
    }

    proptest::proptest! {
        #[test]
        fn the_queue_merges_as_looking_for_the_best_each_time_does(
            text in "[abcé]{0,60}",
            known in proptest::collection::hash_map("[abcé]{2,5}", 0u32..4, 0..60),
        ) {
            let order = |joined: &str| known.get(joined).copied();
            proptest::prop_assert_eq!(merged(&text, order), merged_slowly(&text, order));
        }
    }
}
