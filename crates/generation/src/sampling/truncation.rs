use std::cmp::Ordering;

/// A token that may be drawn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Candidate {
    pub(super) token: u32,
    pub(super) logit: f32,
    /// Its likelihood against that of the most likely token.
    pub(super) weight: f64,
}

impl Candidate {
    /// The more likely first; of equals, the one that comes first in the vocabulary.
    fn order(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.token.cmp(&other.token))
    }
}

/// Keeps the `k` most likely.
pub(super) fn top_k(candidates: &mut Vec<Candidate>, k: usize) {
    if k < candidates.len() {
        candidates.select_nth_unstable_by(k, Candidate::order);
        candidates.truncate(k);
    }
}

/// Keeps the fewest, the most likely first, whose probabilities add up to `p`.
pub(super) fn top_p(candidates: &mut Vec<Candidate>, p: f32) {
    if p >= 1.0 {
        return;
    }
    let p = f64::from(p);
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    // All that are less likely than this together have less than `1 - p`, so none of them is among the kept: but for
    // the last few, nothing needs to be sorted. Half of it leaves room for rounding.
    let least = total * (1.0 - p) / candidates.len() as f64 / 2.0;
    candidates.retain(|candidate| candidate.weight >= least);
    candidates.sort_unstable_by(Candidate::order);
    let mut sum = 0.0;
    let kept = candidates.iter().position(|candidate| {
        sum += candidate.weight;
        sum >= p * total
    });
    if let Some(last) = kept {
        candidates.truncate(last + 1);
    }
}

/// Keeps those at least `p` as likely as the most likely.
pub(super) fn min_p(candidates: &mut Vec<Candidate>, p: f32) {
    if p > 0.0 {
        let p = f64::from(p);
        candidates.retain(|candidate| candidate.weight >= p);
    }
}
