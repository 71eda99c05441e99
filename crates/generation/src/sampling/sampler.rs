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
        if params.repetition_penalty != 1.0 || params.frequency_penalty != 0.0 || params.presence_penalty != 0.0 {
            *self.seen.entry(token).or_insert(0) += 1;
        }
    }

    /// Applies penalties and bias.
    pub(crate) fn penalise(&self, logits: &mut [f32]) {
        let params = &self.params;
        for (&token, &count) in &self.seen {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            if *logit > 0.0 {
                *logit /= params.repetition_penalty;
            } else {
                *logit *= params.repetition_penalty;
            }
            if count > 0 {
                *logit -= params.frequency_penalty * count as f32 + params.presence_penalty;
            }
        }
        for &(token, bias) in &params.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
    }

    /// Draws the token at a position. Tokens whose logit is negative infinity are never drawn.
    pub(crate) fn draw(&self, logits: &[f32], position: usize, choice: u32) -> Result<u32, Unsampled> {
        let most = greatest(logits)?;
        let temperature = f64::from(self.params.temperature);
        if temperature == 0.0 {
            return Ok(most.0);
        }
        let candidate = |(token, &logit): (usize, &f32)| Candidate {
            token: token as u32,
            logit,
            weight: ((f64::from(logit) - f64::from(most.1)) / temperature).exp(),
        };
        let mut candidates: Vec<Candidate>;
        match self.params.top_k {
            Some(k) if k < logits.len() => {
                let bare = logits.iter().enumerate().filter(|(_, logit)| **logit > f32::NEG_INFINITY);
                candidates =
                    bare.map(|(token, &logit)| Candidate { token: token as u32, logit, weight: 0.0 }).collect();
                top_k(&mut candidates, k);
                for one in &mut candidates {
                    *one = candidate((one.token as usize, &one.logit));
                }
            }
            _ => {
                let allowed = logits.iter().enumerate().filter(|(_, logit)| **logit > f32::NEG_INFINITY);
                candidates = allowed.map(candidate).collect();
            }
        }
        top_p(&mut candidates, self.params.top_p);
        min_p(&mut candidates, self.params.min_p);
        // In the vocabulary's order: where two are about equally likely, their order by likelihood hangs on a hair.
        candidates.sort_unstable_by_key(|candidate| candidate.token);
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let mut left = uniform(self.params.seed, position as u64, choice) * total;
        let drawn = candidates.iter().find(|candidate| {
            left -= candidate.weight;
            left < 0.0
        });
        Ok(drawn.or(candidates.iter().rev().find(|last| last.weight > 0.0)).map_or(most.0, |drawn| drawn.token))
    }
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
