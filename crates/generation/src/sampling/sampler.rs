use rustc_hash::FxHashMap;

use super::params::SamplingParams;
use super::random::uniform;
use super::truncation::{Candidate, min_p, top_k, top_p};

/// Chooses one sequence's tokens.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    params: SamplingParams,
    /// How often each token stands in the answer; those of the prompt are here too, if it matters.
    seen: FxHashMap<u32, u32>,
}

/// A row of logits that no token can be chosen from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unsampled {
    /// There are numbers in it that are none.
    NotANumber,
    /// No token is allowed.
    NothingAllowed,
}

impl Sampler {
    pub(crate) fn new(params: SamplingParams, prompt: impl Iterator<Item = u32>) -> Self {
        let mut seen = FxHashMap::default();
        if params.repetition_penalty != 1.0 {
            seen.extend(prompt.map(|token| (token, 0)));
        }
        Self { params, seen }
    }

    pub(crate) fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Notes that a token stands in the answer.
    pub(crate) fn note(&mut self, token: u32) {
        let params = &self.params;
        if params.repetition_penalty != 1.0
            || params.frequency_penalty != 0.0
            || params.presence_penalty != 0.0
        {
            *self.seen.entry(token).or_insert(0) += 1;
        }
    }

    /// Applies penalties and bias.
    pub(crate) fn penalise(&self, logits: &mut [f32]) {
        let params = &self.params;
        for (&token, &count) in &self.seen {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            let repeated = if *logit > 0.0 {
                *logit / params.repetition_penalty
            } else {
                *logit * params.repetition_penalty
            };
            *logit = kept_finite(*logit, repeated);
            if count > 0 {
                let penalty = params.frequency_penalty * count as f32 + params.presence_penalty;
                *logit = kept_finite(*logit, *logit - penalty);
            }
        }
        for &(token, bias) in &params.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = kept_finite(*logit, *logit + bias);
            }
        }
    }

    /// Draws the token at a position. Tokens whose logit is negative infinity are never drawn. `weights` is used as
    /// working memory.
    pub(crate) fn draw(
        &self,
        logits: &[f32],
        position: usize,
        choice: u32,
        weights: &mut Vec<f64>,
    ) -> Result<u32, Unsampled> {
        let most = greatest(logits)?;
        if self.params.temperature == 0.0 {
            return Ok(most.0);
        }
        let chance = uniform(self.params.seed, position as u64, choice);
        let params = &self.params;
        if params.top_k.is_none_or(|k| k >= logits.len()) && params.top_p >= 1.0 && params.min_p <= 0.0 {
            weights.clear();
            weights.extend(logits.iter().map(|logit| self.weight(*logit, most.1)));
            return Ok(pick((0..).zip(weights.iter().copied()), chance).unwrap_or(most.0));
        }
        let candidates = self.candidates(logits, most.1);
        let weights = candidates.iter().map(|candidate| (candidate.token, candidate.weight));
        Ok(pick(weights, chance).unwrap_or(most.0))
    }

    /// How likely a token is against the most likely one.
    fn weight(&self, logit: f32, most: f32) -> f64 {
        ((f64::from(logit) - f64::from(most)) / f64::from(self.params.temperature)).exp()
    }

    /// The tokens that top-k, top-p and min-p leave, in the vocabulary's order: where two are about equally likely, their
    /// order by likelihood hangs on a hair.
    fn candidates(&self, logits: &[f32], most: f32) -> Vec<Candidate> {
        let params = &self.params;
        let candidate =
            |(token, logit): (u32, f32)| Candidate { token, logit, weight: self.weight(logit, most) };
        let mut candidates: Vec<Candidate>;
        let total: f64;
        match params.top_k {
            Some(k) if k < logits.len() => {
                candidates = top_k(logits, k).into_iter().map(candidate).collect();
                total = candidates.iter().map(|candidate| candidate.weight).sum();
            }
            _ => {
                let mut least = f64::from(params.min_p);
                total = if params.top_p < 1.0 {
                    let total = logits.iter().map(|logit| self.weight(*logit, most)).sum();
                    // All that are less likely than this together have less than `1 - p`, so none of them is kept, and
                    // nothing but the few others needs to be sorted.
                    least = least.max(total * (1.0 - f64::from(params.top_p)) / logits.len() as f64);
                    total
                } else {
                    0.0
                };
                // A little lower, for rounding.
                let floor = f64::from(most) + f64::from(params.temperature) * (least / 2.0).ln();
                let worth = |&(_, logit): &(u32, f32)| f64::from(logit) >= floor && logit > f32::NEG_INFINITY;
                candidates = (0..).zip(logits.iter().copied()).filter(worth).map(candidate).collect();
            }
        }
        top_p(&mut candidates, params.top_p, total);
        min_p(&mut candidates, params.min_p);
        candidates.sort_unstable_by_key(|candidate| candidate.token);
        candidates
    }
}

/// What a logit becomes. One that was finite stays so, however large it is.
fn kept_finite(before: f32, after: f32) -> f32 {
    if before.is_finite() { after.clamp(f32::MIN, f32::MAX) } else { after }
}

/// The token at which the weights, added up, pass a part of their sum.
fn pick(weights: impl Iterator<Item = (u32, f64)> + Clone, chance: f64) -> Option<u32> {
    let total: f64 = weights.clone().map(|(_, weight)| weight).sum();
    let mut left = chance * total;
    let mut last = None;
    for (token, weight) in weights.filter(|(_, weight)| *weight > 0.0) {
        left -= weight;
        last = Some(token);
        if left < 0.0 {
            break;
        }
    }
    last
}

/// The most likely token and its logit; the first of equals.
fn greatest(logits: &[f32]) -> Result<(u32, f32), Unsampled> {
    let mut most = (0, f32::NEG_INFINITY);
    for (token, &logit) in logits.iter().enumerate() {
        if logit.is_nan() || logit == f32::INFINITY {
            return Err(Unsampled::NotANumber);
        }
        if logit > most.1 {
            most = (token as u32, logit);
        }
    }
    if most.1 == f32::NEG_INFINITY { Err(Unsampled::NothingAllowed) } else { Ok(most) }
}
