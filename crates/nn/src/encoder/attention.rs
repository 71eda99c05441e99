//! Attention within sequences, head by head.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::config::EncoderConfig;
use super::layer::Loading;
use super::linear::PackedLinear;
use crate::elementary::softmax_numerators;
use crate::error::NnError;
use crate::packed::Packed;
use crate::vector::scale;

#[derive(Debug)]
pub(crate) struct Attention {
    query: PackedLinear,
    key: PackedLinear,
    value: PackedLinear,
    output: PackedLinear,
    heads: Heads,
}

/// How rows are divided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    /// Numbers of each.
    pub(crate) size: usize,
    /// Whether a position sees those behind it.
    pub(crate) causal: bool,
}

/// Queries whose scores are there at once: with all keys of a sequence they stay in a core's cache.
const QUERIES: usize = 48;

impl Attention {
    pub(crate) fn load(config: &EncoderConfig, loading: &Loading<'_>) -> Result<Self, NnError> {
        let heads = Heads { count: config.heads, size: config.head_dim(), causal: config.causal };
        let [query, key, value] = loading.query_key_value()?;
        Ok(Self { query, key, value, output: loading.attention_output()?, heads })
    }

    /// What each row sees of its sequence; `lengths` are those of the sequences, one after another.
    pub(crate) fn apply(&self, inputs: &[f32], lengths: &[usize]) -> Vec<f32> {
        let queries = self.query.apply(inputs);
        let keys = self.key.apply(inputs);
        let values = self.value.apply(inputs);
        self.output.apply(&attend(self.heads, &queries, &keys, &values, lengths))
    }
}

/// The weighted values that each query sees of its sequence. A task is one head of one sequence.
fn attend(heads: Heads, queries: &[f32], keys: &[f32], values: &[f32], lengths: &[usize]) -> Vec<f32> {
    let width = heads.count * heads.size;
    let mut seen = vec![0.0; queries.len()];
    let mut tasks = Vec::with_capacity(lengths.len() * heads.count);
    let mut start = 0;
    for length in lengths {
        let rows = start..start + length;
        tasks.extend((0..heads.count).map(|head| (rows.clone(), head)));
        start += length;
    }
    // Rows of all heads cannot be written by several tasks at once, so each hands out its own.
    let results: Vec<Vec<f32>> = tasks
        .par_iter()
        .map(|(rows, head)| {
            let part = |numbers: &[f32]| head_rows(numbers, width, rows, *head, heads.size);
            heads.look(part(queries), &part(keys), &part(values))
        })
        .collect();
    for ((rows, head), result) in tasks.into_iter().zip(results) {
        let into = seen[rows.start * width..rows.end * width].chunks_exact_mut(width);
        for (row, numbers) in into.zip(result.chunks_exact(heads.size)) {
            row[head * heads.size..(head + 1) * heads.size].copy_from_slice(numbers);
        }
    }
    seen
}

impl Heads {
    /// One query of all heads looks at a sequence.
    pub(crate) fn look_once(self, query: &[f32], keys: &[f32], values: &[f32]) -> Vec<f32> {
        let width = self.count * self.size;
        let rows = 0..keys.len() / width;
        let head = |(head, query): (usize, &[f32])| {
            let part = |numbers: &[f32]| head_rows(numbers, width, &rows, head, self.size);
            self.look(query.to_vec(), &part(keys), &part(values))
        };
        query.chunks_exact(self.size).enumerate().flat_map(head).collect()
    }

    /// One head of one sequence.
    fn look(self, mut queries: Vec<f32>, keys: &[f32], values: &[f32]) -> Vec<f32> {
        let length = keys.len() / self.size;
        scale(&mut queries, (self.size as f32).powf(-0.5));
        let (keys, values) = (Packed::of_rows(keys, self.size), Packed::of_columns(values, self.size));
        let mut seen = vec![0.0; queries.len()];
        let mut scores = vec![0.0; QUERIES * length];
        let blocks = queries.chunks(QUERIES * self.size).zip(seen.chunks_mut(QUERIES * self.size));
        for (block, (queries, seen)) in blocks.enumerate() {
            let scores = &mut scores[..queries.len() / self.size * length];
            keys.product_here(queries, None, scores);
            let mut inverse_sums = [0.0; QUERIES];
            let first = self.causal.then_some(block * QUERIES);
            Arch::new().dispatch(Softmax {
                scores: &mut *scores,
                length,
                first,
                inverse_sums: &mut inverse_sums,
            });
            values.product_here(scores, None, seen);
            for (seen, inverse_sum) in seen.chunks_exact_mut(self.size).zip(inverse_sums) {
                scale(seen, inverse_sum);
            }
        }
        seen
    }
}

/// Rows of scores become weights relative to their largest, to be divided by their sum.
struct Softmax<'a> {
    scores: &'a mut [f32],
    /// Keys there are.
    length: usize,
    /// The place of the first row in its sequence, if it sees only those before it and itself.
    first: Option<usize>,
    inverse_sums: &'a mut [f32],
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.scores.chunks_exact_mut(self.length).zip(self.inverse_sums);
        for (row, (scores, inverse_sum)) in rows.enumerate() {
            let visible = self.first.map_or(self.length, |first| first + row + 1);
            let (visible, hidden) = scores.split_at_mut(visible);
            *inverse_sum = 1.0 / softmax_numerators(visible);
            hidden.fill(0.0);
        }
    }
}

/// One head's numbers of some rows.
fn head_rows(numbers: &[f32], width: usize, rows: &Range<usize>, head: usize, size: usize) -> Vec<f32> {
    let place = head * size..(head + 1) * size;
    let rows = numbers[rows.start * width..rows.end * width].chunks_exact(width);
    rows.flat_map(|row| &row[place.clone()]).copied().collect()
}
