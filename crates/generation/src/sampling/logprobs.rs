use crate::output::Logprobs;

/// The logarithm of a token's probability, and of the most likely ones'.
pub(crate) fn logprobs(logits: &[f32], token: u32, alternatives: usize) -> Logprobs {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    let logprob = |logit: f32| (f64::from(logit - most) - total.ln()) as f32;
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let by_likelihood = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if alternatives < order.len() {
        order.select_nth_unstable_by(alternatives, by_likelihood);
        order.truncate(alternatives);
    }
    order.sort_unstable_by(by_likelihood);
    let own = logits.get(token as usize).map_or(f32::NEG_INFINITY, |logit| logprob(*logit));
    Logprobs { own, top: order.into_iter().map(|token| (token, logprob(logits[token as usize]))).collect() }
}
