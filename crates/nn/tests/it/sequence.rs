//! Sequences in one cache, as a scheduler would keep them: blocks handed out in no order.

use nn::{Decoder, KvCache, Rows, SequenceChunk, Span};

/// A decoder with a cache, and the blocks nobody has yet.
pub(crate) struct Shelf<'a> {
    pub(crate) decoder: &'a Decoder,
    pub(crate) cache: KvCache,
    free: Vec<Vec<u32>>,
}

/// A sequence's blocks in each group, and how far it has come.
pub(crate) struct Sequence {
    pub(crate) tables: Vec<Vec<u32>>,
    pub(crate) length: usize,
}

impl<'a> Shelf<'a> {
    pub(crate) fn new(decoder: &'a Decoder, block_tokens: usize, blocks: u32) -> Self {
        let layout = decoder.config().cache_layout(block_tokens);
        let cache = KvCache::new(&layout, &vec![blocks as usize; layout.groups.len()]).unwrap();
        // Scattered: every other one from the end, then the rest from the beginning.
        let scattered: Vec<u32> =
            (0..blocks).rev().step_by(2).chain((0..blocks).filter(|n| (blocks - 1 - n) % 2 == 1)).collect();
        Self { decoder, cache, free: vec![scattered; layout.groups.len()] }
    }

    /// A sequence of at most so many tokens.
    pub(crate) fn sequence(&mut self, tokens: usize) -> Sequence {
        let blocks = self.cache.layout().blocks_for(tokens);
        let tables = self.free.iter_mut().map(|free| free.drain(..blocks).collect()).collect();
        Sequence { tables, length: 0 }
    }

    /// Advances several sequences in one step; the logits of all, one after another.
    pub(crate) fn step(&mut self, parts: &mut [(&mut Sequence, &[u32], Rows)]) -> Vec<f32> {
        let spans: Vec<[Span<'_>; 1]> = parts.iter().map(|(_, tokens, _)| [Span::Tokens(tokens)]).collect();
        let tables: Vec<Vec<&[u32]>> =
            parts.iter().map(|(sequence, ..)| sequence.tables.iter().map(Vec::as_slice).collect()).collect();
        let chunks: Vec<SequenceChunk<'_>> = parts
            .iter()
            .zip(spans.iter().zip(&tables))
            .map(|((sequence, _, logits), (inputs, tables))| SequenceChunk {
                inputs,
                start: sequence.length,
                tables,
                logits: *logits,
            })
            .collect();
        let logits = self.decoder.forward(&chunks, &mut self.cache).unwrap();
        for (sequence, tokens, _) in parts {
            sequence.length += tokens.len();
        }
        logits
    }

    /// Advances one sequence.
    pub(crate) fn feed(&mut self, sequence: &mut Sequence, tokens: &[u32], logits: Rows) -> Vec<f32> {
        self.step(&mut [(sequence, tokens, logits)])
    }
}

/// The logits of each token of a text, computed alone and at once.
pub(crate) fn at_once(decoder: &Decoder, tokens: &[u32]) -> Vec<f32> {
    let mut shelf = Shelf::new(decoder, 4, 64);
    let mut sequence = shelf.sequence(tokens.len());
    shelf.feed(&mut sequence, tokens, Rows::All)
}

pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}
