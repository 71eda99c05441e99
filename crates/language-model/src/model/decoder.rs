use std::fmt;
use std::sync::Arc;

use generation::{BlockId, CacheShape, Chunk, DecodeError, Decoder, LogitRows};
use nn::{KvCache, NnError, Rows, SequenceChunk, Span};

/// A decoder and its cache: the weights are shared by all workers, the cache is one worker's.
pub struct CachedDecoder {
    weights: Arc<nn::Decoder>,
    cache: KvCache,
    shape: CacheShape,
}

/// What a chunk is for the network.
struct Inputs {
    tokens: Vec<u32>,
    tables: Vec<Vec<u32>>,
}

impl CachedDecoder {
    /// Allocates the cache. Blocks.
    pub(crate) fn new(weights: Arc<nn::Decoder>, shape: CacheShape) -> Result<Self, NnError> {
        let layout = weights.config().cache_layout(shape.block_tokens);
        let blocks: Vec<usize> = shape.groups.iter().map(|group| group.blocks).collect();
        Ok(Self { cache: KvCache::new(&layout, &blocks)?, weights, shape })
    }
}

impl Inputs {
    fn of(index: usize, chunk: &Chunk<'_>) -> Result<Self, DecodeError> {
        let tokens: Option<Vec<u32>> = chunk.items.iter().map(|item| item.token()).collect();
        let Some(tokens) = tokens else {
            return Err(DecodeError::chunk(
                index,
                "the prompt holds a picture, and this model reads text only",
            ));
        };
        let table = |table: &&[BlockId]| table.iter().map(|block| block.0).collect();
        Ok(Self { tokens, tables: chunk.tables.iter().map(table).collect() })
    }
}

impl Decoder for CachedDecoder {
    fn vocab_size(&self) -> usize {
        self.weights.config().vocab_size
    }

    fn context(&self) -> usize {
        self.weights.config().context
    }

    fn cache(&self) -> &CacheShape {
        &self.shape
    }

    fn forward(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<(), DecodeError> {
        let inputs = chunks.iter().enumerate().map(|(index, chunk)| Inputs::of(index, chunk));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let spans: Vec<[Span<'_>; 1]> = inputs.iter().map(|inputs| [Span::Tokens(&inputs.tokens)]).collect();
        let tables: Vec<Vec<&[u32]>> =
            inputs.iter().map(|inputs| inputs.tables.iter().map(Vec::as_slice).collect()).collect();
        let sequences: Vec<SequenceChunk<'_>> = chunks
            .iter()
            .zip(spans.iter().zip(&tables))
            .map(|(chunk, (inputs, tables))| SequenceChunk {
                inputs,
                start: chunk.start,
                tables,
                logits: match chunk.logits {
                    LogitRows::None => Rows::None,
                    LogitRows::Last => Rows::Last,
                },
            })
            .collect();
        // The network hands out a buffer of its own: that of the step before is not needed beside it.
        *logits = Vec::new();
        *logits = self.weights.forward(&sequences, &mut self.cache).map_err(DecodeError::broken)?;
        Ok(())
    }

    fn copy_block(&mut self, group: usize, from: BlockId, to: BlockId) -> Result<(), DecodeError> {
        self.cache.copy_block(group, from.0, to.0).map_err(DecodeError::broken)
    }
}

impl fmt::Debug for CachedDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedDecoder").field("shape", &self.shape).finish_non_exhaustive()
    }
}
