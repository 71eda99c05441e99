//! Attention within sequences, head by head.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::config::EncoderConfig;
use super::layer::Loading;
use super::linear::PackedLinear;
use crate::elementary::{exp, softmax_numerators};
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

/// Queries and keys whose scores are there at once: they stay in a core's cache, and so do the keys and their values.
const QUERIES: usize = 48;
const PART_KEYS: usize = 512;
/// Queries that are looked at together, where there are as many: they meet a panel of keys at once.
const LEAST_QUERIES: usize = 6;

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
    put_together(heads, tasks, results, queries.len())
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
        HeadMemory::of(self, keys, values).look(self, &mut queries)
    }
}

/// One head's keys and values of a sequence, laid out for products with many queries: part by part, so many keys each.
#[derive(Debug)]
struct HeadMemory {
    parts: Vec<MemoryPart>,
    /// Keys there are.
    length: usize,
}

#[derive(Debug)]
struct MemoryPart {
    keys: Packed,
    values: Packed,
    length: usize,
}

impl HeadMemory {
    fn of(heads: Heads, keys: &[f32], values: &[f32]) -> Self {
        let numbers = PART_KEYS * heads.size;
        let part = |(keys, values): (&[f32], &[f32])| MemoryPart {
            keys: Packed::of_rows(keys, heads.size),
            values: Packed::of_columns(values, heads.size),
            length: keys.len() / heads.size,
        };
        let parts = keys.chunks(numbers).zip(values.chunks(numbers)).map(part).collect();
        Self { parts, length: keys.len() / heads.size }
    }

    /// What queries see of it. Where a position does not see those behind it they are all there are, from the first on.
    ///
    /// Part by part: what has been seen so far is relative to the largest score so far (<https://arxiv.org/abs/1805.02867>).
    fn look(&self, heads: Heads, queries: &mut [f32]) -> Vec<f32> {
        let size = heads.size;
        scale(queries, (size as f32).powf(-0.5));
        let mut seen = vec![0.0; queries.len()];
        let mut scores = vec![0.0; Memory::scores(queries.len() / size, self.length)];
        let blocks = queries.chunks(QUERIES * size).zip(seen.chunks_mut(QUERIES * size));
        for (block, (queries, seen)) in blocks.enumerate() {
            let rows = queries.len() / size;
            let mut so_far = [SoFar { largest: f32::NEG_INFINITY, sum: 0.0 }; QUERIES];
            for (number, part) in self.parts.iter().enumerate() {
                let behind = |row: usize| (block * QUERIES + row + 1).saturating_sub(number * PART_KEYS);
                if heads.causal && behind(rows - 1) == 0 {
                    break;
                }
                let scores = &mut scores[..rows * part.length];
                part.keys.product_here(queries, None, scores);
                let each =
                    scores.chunks_exact_mut(part.length).zip(seen.chunks_exact_mut(size)).zip(&mut so_far);
                for (row, ((scores, seen), so_far)) in each.enumerate() {
                    let visible = if heads.causal { behind(row).min(part.length) } else { part.length };
                    Arch::new().dispatch(Softmax { scores, visible, seen, so_far });
                }
                part.values.add_product_here(scores, seen);
            }
            for (seen, so_far) in seen.chunks_exact_mut(size).zip(so_far) {
                scale(seen, 1.0 / so_far.sum);
            }
        }
        seen
    }
}

/// The keys and values of a sequence, head by head, all of which queries of this or of another sequence see.
#[derive(Debug)]
pub(crate) struct Memory {
    heads: Heads,
    each: Vec<HeadMemory>,
}

impl Memory {
    /// Of rows of so many heads of a size.
    pub(crate) fn of((count, size): (usize, usize), keys: &[f32], values: &[f32]) -> Self {
        let heads = Heads { count, size, causal: false };
        let width = heads.count * heads.size;
        let rows = 0..keys.len() / width;
        let head = |head| {
            let part = |numbers: &[f32]| head_rows(numbers, width, &rows, head, heads.size);
            HeadMemory::of(heads, &part(keys), &part(values))
        };
        Self { heads, each: (0..heads.count).into_par_iter().map(head).collect() }
    }

    /// Numbers that those of a sequence take.
    pub(crate) fn numbers((count, size): (usize, usize), length: usize) -> usize {
        count * (Packed::numbers(length, size) + Packed::numbers(size, length))
    }

    /// Numbers of the scores that one task has at once, of so many queries.
    pub(crate) fn scores(queries: usize, length: usize) -> usize {
        queries.min(QUERIES) * length.min(PART_KEYS)
    }

    /// Keys there are.
    pub(crate) fn length(&self) -> usize {
        self.each.first().map_or(0, |head| head.length)
    }

    /// What each query sees of it, rows of all heads. A task is one head of some queries.
    pub(crate) fn look(&self, queries: &[f32]) -> Vec<f32> {
        let Heads { count, size, .. } = self.heads;
        let width = count * size;
        let rows = queries.len() / width;
        // A few tasks for each thread, so that none waits long for the last.
        let parts =
            (4 * rayon::current_num_threads()).div_ceil(count).min(rows.div_ceil(LEAST_QUERIES)).max(1);
        let each = rows.div_ceil(parts).next_multiple_of(LEAST_QUERIES);
        let tasks: Vec<(Range<usize>, usize)> = (0..rows)
            .step_by(each)
            .flat_map(|first| (0..count).map(move |head| (first..(first + each).min(rows), head)))
            .collect();
        let results: Vec<Vec<f32>> = tasks
            .par_iter()
            .map(|(rows, head)| {
                self.each[*head].look(self.heads, &mut head_rows(queries, width, rows, *head, size))
            })
            .collect();
        put_together(self.heads, tasks, results, queries.len())
    }
}

/// Rows of all heads, of what tasks have made of some rows and a head each.
fn put_together(
    heads: Heads,
    tasks: Vec<(Range<usize>, usize)>,
    results: Vec<Vec<f32>>,
    numbers: usize,
) -> Vec<f32> {
    let width = heads.count * heads.size;
    let mut all = vec![0.0; numbers];
    for ((rows, head), result) in tasks.into_iter().zip(results) {
        let into = all[rows.start * width..rows.end * width].chunks_exact_mut(width);
        for (row, numbers) in into.zip(result.chunks_exact(heads.size)) {
            row[head * heads.size..(head + 1) * heads.size].copy_from_slice(numbers);
        }
    }
    all
}

/// What a query's weights are relative to, and their sum.
#[derive(Clone, Copy)]
struct SoFar {
    largest: f32,
    sum: f32,
}

/// A query's scores of a part become weights, to be divided by the sum of all in the end; what has been seen so far becomes
/// relative to the same score as these.
struct Softmax<'a> {
    scores: &'a mut [f32],
    /// Keys that the query sees.
    visible: usize,
    seen: &'a mut [f32],
    so_far: &'a mut SoFar,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (visible, hidden) = self.scores.split_at_mut(self.visible);
        hidden.fill(0.0);
        if !visible.is_empty() {
            let before = self.so_far.largest;
            let sum = softmax_numerators(visible, &mut self.so_far.largest);
            let factor = exp(before - self.so_far.largest);
            scale(self.seen, factor);
            self.so_far.sum = self.so_far.sum * factor + sum;
        }
    }
}

/// One head's numbers of some rows.
fn head_rows(numbers: &[f32], width: usize, rows: &Range<usize>, head: usize, size: usize) -> Vec<f32> {
    let place = head * size..(head + 1) * size;
    let rows = numbers[rows.start * width..rows.end * width].chunks_exact(width);
    rows.flat_map(|row| &row[place.clone()]).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let number =
            |n: usize| ((n as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 4e6 - 2.0;
        (0..count).map(number).collect()
    }

    /// What a query sees, in double precision.
    fn exact(heads: (usize, usize), query: &[f32], keys: &[f32], values: &[f32]) -> Vec<f64> {
        let (count, size) = heads;
        let width = count * size;
        let head = |head: usize| {
            let part = move |row: &'_ [f32]| -> Vec<f64> {
                row[head * size..(head + 1) * size].iter().copied().map(f64::from).collect()
            };
            let query = part(query);
            let score = |key: &[f32]| {
                let products = part(key).into_iter().zip(&query).map(|(key, query)| key * query);
                products.sum::<f64>() / (size as f64).sqrt()
            };
            let weights: Vec<f64> = keys.chunks_exact(width).map(|key| score(key).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let mut seen = vec![0.0; size];
            for (weight, value) in weights.iter().zip(values.chunks_exact(width)) {
                seen.iter_mut().zip(part(value)).for_each(|(seen, value)| *seen += weight / sum * value);
            }
            seen
        };
        (0..count).flat_map(head).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn queries_of_another_sequence_see_all_of_a_memory(
            heads in (1_usize..4, prop_oneof![1_usize..20, Just(40)]),
            queries in prop_oneof![1_usize..14, 90_usize..110],
            length in prop_oneof![1_usize..100, 505_usize..520, Just(3000)],
            seed: u32,
        ) {
            let width = heads.0 * heads.1;
            let rows = numbers(queries * width, seed);
            let (keys, values) = (numbers(length * width, !seed), numbers(length * width, seed ^ 77));
            let memory = Memory::of(heads, &keys, &values);
            prop_assert_eq!(memory.length(), length);
            let together = memory.look(&rows);
            let each = rows.chunks_exact(width).zip(together.chunks_exact(width));
            for (query, got) in each.step_by(queries.div_ceil(7)) {
                let alone: Vec<u32> = memory.look(query).iter().map(|number| number.to_bits()).collect();
                let bits: Vec<u32> = got.iter().map(|number| number.to_bits()).collect();
                prop_assert_eq!(alone, bits);
                for (got, wanted) in got.iter().zip(exact(heads, query, &keys, &values)) {
                    prop_assert!((f64::from(*got) - wanted).abs() < 2e-5, "{} for {}", got, wanted);
                }
            }
        }
    }

    #[test]
    fn a_position_sees_none_behind_it_however_many_there_are() {
        let (heads, length) = ((2, 5), 1100);
        let rows = |seed| numbers(length * 10, seed);
        let (queries, keys, values) = (rows(1), rows(2), rows(3));
        let causal = Heads { count: heads.0, size: heads.1, causal: true };
        let seen = attend(causal, &queries, &keys, &values, &[length]);
        for position in [0, 1, 47, 48, 511, 512, 513, 1023, 1024, 1099] {
            let visible = (position + 1) * 10;
            let query = &queries[position * 10..visible];
            let wanted = exact(heads, query, &keys[..visible], &values[..visible]);
            for (got, wanted) in seen[position * 10..visible].iter().zip(wanted) {
                assert!((f64::from(*got) - wanted).abs() < 2e-5, "{got} for {wanted} at {position}");
            }
        }
    }

    #[test]
    fn scores_far_apart_in_different_parts_are_put_together() {
        // The largest in the first part, in the last, and one that leaves nothing of the others.
        for (place, score) in [(3, 60.0), (1490, 60.0), (1490, 500.0), (700, -500.0)] {
            let (mut keys, values) = (numbers(1500, 5), numbers(1500, 6));
            keys[place] = score;
            let memory = Memory::of((1, 1), &keys, &values);
            let seen = memory.look(&[1.0]);
            let wanted = exact((1, 1), &[1.0], &keys, &values);
            assert!((f64::from(seen[0]) - wanted[0]).abs() < 2e-5, "{} for {}", seen[0], wanted[0]);
        }
    }
}
