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

/// The `k` most likely of a whole vocabulary, but those that are never drawn.
pub(super) fn top_k(logits: &[f32], k: usize) -> Vec<(u32, f32)> {
    let mut kept: Vec<(u32, f32)> = Vec::new();
    // No token below it is among the kept.
    let mut least = f32::NEG_INFINITY;
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let cut = |kept: &mut Vec<(u32, f32)>| {
        if k < kept.len() {
            kept.select_nth_unstable_by(k, order);
            kept.truncate(k);
        }
    };
    for (token, &logit) in logits.iter().enumerate() {
        if logit < least || logit == f32::NEG_INFINITY {
            continue;
        }
        kept.push((token as u32, logit));
        // Cut seldom, so that it costs little, and soon enough that few are kept.
        if kept.len() > 4 * k + 256 {
            cut(&mut kept);
            least = kept.iter().map(|(_, logit)| *logit).fold(f32::INFINITY, f32::min);
        }
    }
    cut(&mut kept);
    kept
}

/// Of candidates whose weights are `total` with all that were left out, keeps the fewest, the most likely first, whose
/// probabilities add up to `p`.
pub(super) fn top_p(candidates: &mut Vec<Candidate>, p: f32, total: f64) {
    if p >= 1.0 {
        return;
    }
    candidates.sort_unstable_by(Candidate::order);
    let mut sum = 0.0;
    let kept = candidates.iter().position(|candidate| {
        sum += candidate.weight;
        sum >= f64::from(p) * total
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::top_k;

    proptest! {
        #[test]
        fn the_most_likely_are_kept_and_of_equals_the_first(
            logits in prop::collection::vec(prop_oneof![8 => (-40..40_i8).prop_map(f32::from), 1 => Just(f32::NEG_INFINITY)], 1..2500),
            k in 1..60_usize,
        ) {
            let mut order: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
            order.retain(|(_, logit)| *logit > f32::NEG_INFINITY);
            order.sort_by(|a, b| b.1.total_cmp(&a.1));
            order.truncate(k);
            let mut kept = top_k(&logits, k);
            kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            prop_assert_eq!(kept, order);
        }
    }
}
