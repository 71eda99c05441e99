//! What one step advances: stretches of sequences, checked against model and cache, as rows.

use std::collections::HashSet;

use candle_core::{DType, Tensor};

use super::config::DecoderConfig;
use crate::cache::{CacheLayout, KvCache};
use crate::error::NnError;

/// A stretch of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct SequenceChunk<'a> {
    /// Its inputs, in order; at least one.
    pub inputs: &'a [Span<'a>],
    /// The position of the first one. Everything before it must be in the sequence's blocks already.
    pub start: usize,
    /// For each group of the cache, the sequence's blocks from its beginning on, as many as its positions fill. Entries of
    /// blocks that no query of this chunk sees any more, by the group's window, are never looked at. No two chunks of a
    /// step may write to one block.
    pub tables: &'a [&'a [u32]],
    /// Which inputs logits are wanted for.
    pub logits: Rows,
}

/// Inputs of one kind.
#[derive(Clone, Copy, Debug)]
pub enum Span<'a> {
    /// Token ids.
    Tokens(&'a [u32]),
    /// Embeddings in their place (of a picture, say): f32 rows of the model's hidden size, on the CPU.
    Embeddings(&'a Tensor),
}

/// Which inputs of a chunk logits are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// For none: more of the prompt comes.
    None,
    /// For the last.
    Last,
    /// For each.
    All,
}

/// A step's rows: the inputs of all chunks, one after another.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    chunks: &'a [SequenceChunk<'a>],
    /// Which chunk a row is of.
    owners: Vec<usize>,
    positions: Vec<usize>,
    logit_rows: Vec<usize>,
    layout: CacheLayout,
    /// Which group a layer is of.
    groups: Vec<usize>,
}

impl SequenceChunk<'_> {
    /// How many inputs there are.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.inputs.iter().map(Span::tokens).sum()
    }
}

impl Span<'_> {
    /// How many inputs these are.
    #[must_use]
    pub fn tokens(&self) -> usize {
        match self {
            Self::Tokens(tokens) => tokens.len(),
            Self::Embeddings(embeddings) => embeddings.dims().first().copied().unwrap_or(0),
        }
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        chunks: &'a [SequenceChunk<'a>],
        config: &DecoderConfig,
        cache: &KvCache,
    ) -> Result<Self, NnError> {
        check(chunks, config, cache)?;
        let layout = cache.layout().clone();
        let mut batch = Self {
            chunks,
            owners: Vec::new(),
            positions: Vec::new(),
            logit_rows: Vec::new(),
            groups: groups(&layout),
            layout,
        };
        for (owner, chunk) in chunks.iter().enumerate() {
            batch.push(owner, chunk);
        }
        Ok(batch)
    }

    fn push(&mut self, owner: usize, chunk: &SequenceChunk<'_>) {
        let (first, tokens) = (self.positions.len(), chunk.tokens());
        self.owners.extend(std::iter::repeat_n(owner, tokens));
        self.positions.extend(chunk.start..chunk.start + tokens);
        let wanted = match chunk.logits {
            Rows::None => tokens..tokens,
            Rows::Last => tokens - 1..tokens,
            Rows::All => 0..tokens,
        };
        self.logit_rows.extend(wanted.map(|row| first + row));
    }

    /// The position of each row in its sequence.
    pub(super) fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// The blocks of a row's sequence in a layer.
    pub(super) fn table(&self, row: usize, layer: usize) -> &'a [u32] {
        self.chunks[self.owners[row]].tables[self.groups[layer]]
    }

    /// The first position that a row sees in a layer.
    pub(super) fn first_visible(&self, row: usize, layer: usize) -> usize {
        self.layout.groups[self.groups[layer]].first_visible(self.positions[row])
    }

    pub(super) fn block_tokens(&self) -> usize {
        self.layout.block_tokens
    }

    /// The rows that logits are wanted for, out of all.
    pub(super) fn logit_rows(&self, rows: &[f32], width: usize) -> Vec<f32> {
        self.logit_rows.iter().flat_map(|row| &rows[row * width..][..width]).copied().collect()
    }
}

/// The group of each layer.
fn groups(layout: &CacheLayout) -> Vec<usize> {
    let mut groups = vec![0; layout.groups.iter().map(|group| group.layers.len()).sum()];
    for (number, group) in layout.groups.iter().enumerate() {
        group.layers.iter().for_each(|layer| groups[*layer] = number);
    }
    groups
}

/// That the chunks fit: everything that the step indexes by is looked at here.
fn check(chunks: &[SequenceChunk<'_>], config: &DecoderConfig, cache: &KvCache) -> Result<(), NnError> {
    let layout = cache.layout();
    if *layout != config.cache_layout(layout.block_tokens) {
        return Err(NnError::InvalidCall("the cache was laid out for another model".to_owned()));
    }
    let mut written = HashSet::new();
    for (number, chunk) in chunks.iter().enumerate() {
        check_chunk(chunk, config, cache, &mut written)
            .map_err(|reason| NnError::InvalidCall(format!("chunk {number}: {reason}")))?;
    }
    Ok(())
}

fn check_chunk(
    chunk: &SequenceChunk<'_>,
    config: &DecoderConfig,
    cache: &KvCache,
    written: &mut HashSet<(usize, u32)>,
) -> Result<(), String> {
    chunk.inputs.iter().try_for_each(|span| check_span(span, config))?;
    let tokens = chunk.tokens();
    if tokens == 0 {
        return Err("it has no inputs".to_owned());
    }
    let end = chunk.start.saturating_add(tokens);
    if end > config.context {
        return Err(format!("it ends at position {end}, the model's context is {}", config.context));
    }
    let layout = cache.layout();
    if chunk.tables.len() != layout.groups.len() {
        return Err(format!("{} block tables for {} groups", chunk.tables.len(), layout.groups.len()));
    }
    for (group, table) in chunk.tables.iter().enumerate() {
        let needed = layout.blocks_for(end);
        if table.len() < needed {
            return Err(format!("{} blocks in group {group}, {end} positions fill {needed}", table.len()));
        }
        let first_read = layout.groups[group].first_visible(chunk.start) / layout.block_tokens;
        let blocks = cache.blocks()[group];
        if let Some(block) = table[first_read..needed].iter().find(|block| **block as usize >= blocks) {
            return Err(format!("there is no block {block} in group {group}, it has {blocks}"));
        }
        let first_written = chunk.start / layout.block_tokens;
        if let Some(block) =
            table[first_written..needed].iter().find(|block| !written.insert((group, **block)))
        {
            return Err(format!("block {block} of group {group} would be written twice in one step"));
        }
    }
    Ok(())
}

fn check_span(span: &Span<'_>, config: &DecoderConfig) -> Result<(), String> {
    match span {
        Span::Tokens(tokens) => match tokens.iter().find(|token| **token as usize >= config.vocab_size) {
            Some(token) => Err(format!("token {token} is outside the vocabulary of {}", config.vocab_size)),
            None => Ok(()),
        },
        Span::Embeddings(embeddings) => {
            let fits = embeddings.dims().len() == 2 && embeddings.dims()[1] == config.hidden_size;
            if !fits {
                let wanted = config.hidden_size;
                return Err(format!("embeddings of the shape {:?}, rows of {wanted} fit", embeddings.dims()));
            }
            match embeddings.dtype() == DType::F32 && embeddings.device().is_cpu() {
                true => Ok(()),
                false => Err("embeddings must be f32 on the CPU".to_owned()),
            }
        }
    }
}
