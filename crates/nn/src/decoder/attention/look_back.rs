//! The look back of queries at the keys and values of their own sequence, block by block.
//!
//! A query's result is accumulated in the order of positions, with a softmax whose maximum is found on the way
//! (<https://arxiv.org/abs/1805.02867>). Blocks begin at fixed positions. So it depends neither on what else is in the
//! step nor on how the sequence was cut into chunks.

use rayon::prelude::*;

use crate::cache::LayerBlocks;
use crate::decoder::batch::Batch;
use crate::decoder::config::DecoderConfig;
use crate::elementary::exp;
use crate::vector::{add_scaled, dot, scale, wide};

#[derive(Debug)]
pub(super) struct LookBack {
    kv_heads: usize,
    head_dim: usize,
    /// Heads of queries that share a head of keys and values.
    shared: usize,
    scale: f32,
    soft_cap: Option<f32>,
}

/// What is seen of one sequence by one query.
struct View<'a> {
    blocks: &'a LayerBlocks,
    table: &'a [u32],
    block_tokens: usize,
    first: usize,
    last: usize,
}

/// A softmax under way: the largest score so far, and the sum of the weights relative to it.
struct Softmax {
    largest: f32,
    sum: f32,
}

impl LookBack {
    pub(super) fn new(config: &DecoderConfig) -> Self {
        Self {
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            shared: config.heads / config.kv_heads,
            scale: config.attention_scale,
            soft_cap: config.attention_soft_cap,
        }
    }

    /// The weighted values that each head of each row sees. A task is the heads of a row that share keys, or one of them
    /// where that would leave threads without work.
    pub(super) fn rows(
        &self,
        queries: &[f32],
        batch: &Batch<'_>,
        layer: usize,
        blocks: &LayerBlocks,
    ) -> Vec<f32> {
        let enough = batch.positions().len() * self.kv_heads >= rayon::current_num_threads();
        let together = if enough { self.shared } else { 1 };
        let width = together * self.head_dim;
        let mut seen = vec![0.0; queries.len()];
        let tasks = seen.par_chunks_mut(width).zip(queries.par_chunks(width)).enumerate();
        tasks.for_each_init(Vec::new, |scores, (task, (seen, queries))| {
            let head = task * together;
            let row = head / (self.kv_heads * self.shared);
            let kv_head = head / self.shared % self.kv_heads;
            let view = View {
                blocks,
                table: batch.table(row, layer),
                block_tokens: batch.block_tokens(),
                first: batch.first_visible(row, layer),
                last: batch.positions()[row],
            };
            scores.resize(view.block_tokens, 0.0);
            wide(
                #[inline(always)]
                || {
                    let heads = seen.chunks_exact_mut(self.head_dim).zip(queries.chunks_exact(self.head_dim));
                    for (seen, query) in heads {
                        self.head(query, &view, kv_head, scores, seen);
                    }
                },
            );
        });
        seen
    }

    /// One query of one head.
    #[inline(always)]
    fn head(&self, query: &[f32], view: &View<'_>, kv_head: usize, scores: &mut [f32], seen: &mut [f32]) {
        let mut softmax = Softmax { largest: f32::NEG_INFINITY, sum: 0.0 };
        for number in view.first / view.block_tokens..=view.last / view.block_tokens {
            let start = number * view.block_tokens;
            let from = view.first.saturating_sub(start);
            let to = (view.last + 1 - start).min(view.block_tokens);
            let part = from * self.head_dim..to * self.head_dim;
            let block = view.table[number];
            let scores = &mut scores[..to - from];
            self.score(query, &view.blocks.keys(block, kv_head)[part.clone()], scores);
            softmax.add(scores, &view.blocks.values(block, kv_head)[part], seen);
        }
        scale(seen, 1.0 / softmax.sum);
    }

    #[inline(always)]
    fn score(&self, query: &[f32], keys: &[f32], scores: &mut [f32]) {
        for (score, key) in scores.iter_mut().zip(keys.chunks_exact(self.head_dim)) {
            *score = dot(query, key) * self.scale;
            if let Some(cap) = self.soft_cap {
                *score = cap * (*score / cap).tanh();
            }
        }
    }
}

impl Softmax {
    /// Adds the values of one block, weighted by their scores.
    #[inline(always)]
    fn add(&mut self, scores: &mut [f32], values: &[f32], seen: &mut [f32]) {
        let largest = scores.iter().copied().fold(self.largest, f32::max);
        if largest > self.largest {
            let shrink = exp(self.largest - largest);
            self.sum *= shrink;
            scale(seen, shrink);
            self.largest = largest;
        }
        for score in &mut *scores {
            *score = exp(*score - self.largest);
        }
        for (weight, value) in scores.iter().zip(values.chunks_exact(seen.len())) {
            self.sum += weight;
            add_scaled(seen, value, *weight);
        }
    }
}
