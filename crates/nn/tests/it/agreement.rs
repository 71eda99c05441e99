//! How well logits computed one way agree with those computed exactly, over a text that both are given token by token.

use nn::{Decoder, Rows};
use rayon::prelude::*;

use crate::sequence::{Shelf, best};

/// Sums over positions of a text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Agreement {
    positions: usize,
    same_best: usize,
    divergence: f64,
    exact_surprise: f64,
    surprise: f64,
}

impl Agreement {
    /// Rows of logits, exact and otherwise, and the token that follows each in the text.
    pub(crate) fn of(exact: &[f32], other: &[f32], next: &[u32]) -> Self {
        assert_eq!(exact.len(), other.len());
        let vocabulary = exact.len() / next.len();
        let rows = exact.par_chunks_exact(vocabulary).zip(other.par_chunks_exact(vocabulary)).zip(next);
        let rows: Vec<Self> = rows.map(|((exact, other), next)| Self::of_one(exact, other, *next)).collect();
        rows.into_iter().fold(Self::default(), Self::and)
    }

    fn of_one(exact: &[f32], other: &[f32], next: u32) -> Self {
        let (exact_total, other_total) = (log_total(exact), log_total(other));
        let terms = exact.iter().zip(other).map(|(exact, other)| {
            let (exact, other) = (f64::from(*exact) - exact_total, f64::from(*other) - other_total);
            exact.exp() * (exact - other)
        });
        Self {
            positions: 1,
            same_best: usize::from(best(exact) == best(other)),
            divergence: terms.sum(),
            exact_surprise: exact_total - f64::from(exact[next as usize]),
            surprise: other_total - f64::from(other[next as usize]),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            positions: self.positions + other.positions,
            same_best: self.same_best + other.same_best,
            divergence: self.divergence + other.divergence,
            exact_surprise: self.exact_surprise + other.exact_surprise,
            surprise: self.surprise + other.surprise,
        }
    }

    /// The share of positions where both hold the same token for the most likely.
    pub(crate) fn top_1(&self) -> f64 {
        self.same_best as f64 / self.positions as f64
    }

    /// The mean Kullback-Leibler divergence of the other distribution from the exact one, in nats.
    pub(crate) fn divergence(&self) -> f64 {
        self.divergence / self.positions as f64
    }

    /// The perplexity of the text as the exact logits have it.
    pub(crate) fn exact_perplexity(&self) -> f64 {
        (self.exact_surprise / self.positions as f64).exp()
    }

    /// The perplexity of the text as the other logits have it.
    pub(crate) fn perplexity(&self) -> f64 {
        (self.surprise / self.positions as f64).exp()
    }
}

/// The logarithm of the sum of the exponentials.
fn log_total(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    most + logits.iter().map(|logit| (f64::from(*logit) - most).exp()).sum::<f64>().ln()
}

/// Tokens that are computed at once: as many rows of logits of a large vocabulary take 64 MiB.
const CHUNK: usize = 64;

/// Gives a text to both decoders, and their logits chunk by chunk to `each`, with the tokens that follow.
pub(crate) fn teacher_forced(
    exact: &Decoder,
    other: &Decoder,
    tokens: &[u32],
    mut each: impl FnMut(&[f32], &[f32], &[u32]),
) {
    let (inputs, next) = (&tokens[..tokens.len() - 1], &tokens[1..]);
    let blocks = inputs.len().div_ceil(CHUNK) as u32;
    let mut shelves = [exact, other].map(|decoder| Shelf::new(decoder, CHUNK, blocks));
    let mut sequences = shelves.each_mut().map(|shelf| shelf.sequence(inputs.len()));
    for (inputs, next) in inputs.chunks(CHUNK).zip(next.chunks(CHUNK)) {
        let [exact, other] =
            [0, 1].map(|which| shelves[which].feed(&mut sequences[which], inputs, Rows::All));
        each(&exact, &other, next);
    }
}

#[test]
fn agreement_is_what_its_definitions_say() {
    // Halves, held for three quarters and a quarter; then the same twice.
    let (exact, other) = ([2.0, 2.0], [3.0_f32.ln(), 0.0]);
    let agreement = Agreement::of(&[exact, exact].concat(), &[other, exact].concat(), &[1, 0]);
    let divergence = 0.5 * (0.5_f64 / 0.75).ln() + 0.5 * (0.5_f64 / 0.25).ln();
    assert!((agreement.divergence() - divergence / 2.0).abs() < 1e-7, "{agreement:?}");
    assert!((agreement.exact_perplexity() - 2.0).abs() < 1e-7, "{agreement:?}");
    // Surprised by a quarter, then by a half.
    assert!((agreement.perplexity() - 8.0_f64.sqrt()).abs() < 1e-6, "{agreement:?}");
    let parted = Agreement::of(&[1.0, 0.0, 0.0, 1.0], &[0.0, 1.0, 0.0, 2.0], &[0, 0]);
    assert_eq!(parted.top_1(), 0.5);
}
