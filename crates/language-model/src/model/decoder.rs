use std::fmt;
use std::sync::Arc;

use candle_core::Tensor;
use generation::{
    BlockId, CacheShape, Chunk, ContentHash, DecodeError, Decoder, Item, JobPicture, LogitRows,
};
use nn::{KvCache, NnError, Rows, SequenceChunk, Span};

use super::pictures::Pictures;
use crate::vision::Vision;

/// A decoder, its cache and its pictures' rows: the weights are shared by all workers, the rest is one worker's.
pub struct CachedDecoder<V: Vision> {
    weights: Arc<nn::Decoder>,
    cache: KvCache,
    shape: CacheShape,
    pictures: Option<Pictures<V::Tower>>,
}

/// What a chunk is for the network.
struct Inputs {
    stretches: Vec<Stretch>,
    tables: Vec<Vec<u32>>,
}

/// Inputs of one kind.
enum Stretch {
    Tokens(Vec<u32>),
    Rows(Tensor),
}

impl<V: Vision> CachedDecoder<V> {
    /// Allocates the cache. Blocks.
    pub(super) fn new(
        weights: Arc<nn::Decoder>,
        shape: CacheShape,
        pictures: Option<Pictures<V::Tower>>,
    ) -> Result<Self, NnError> {
        let layout = weights.config().cache_layout(shape.block_tokens);
        let blocks: Vec<usize> = shape.groups.iter().map(|group| group.blocks).collect();
        Ok(Self { cache: KvCache::new(&layout, &blocks)?, weights, shape, pictures })
    }

    fn inputs(&self, index: usize, chunk: &Chunk<'_>) -> Result<Inputs, DecodeError> {
        let table = |table: &&[BlockId]| table.iter().map(|block| block.0).collect();
        let tables = chunk.tables.iter().map(table).collect();
        let mut stretches = Vec::new();
        let mut rest = chunk.items;
        while let Some(first) = rest.first() {
            let length =
                rest.iter().enumerate().take_while(|(at, item)| continues(*first, *at, **item)).count();
            let (items, behind) = rest.split_at(length);
            stretches.push(match *first {
                Item::Token(_) => Stretch::Tokens(items.iter().filter_map(|item| item.token()).collect()),
                Item::Embedding { content, row } => {
                    let pictures = self.pictures.as_ref();
                    let rows = pictures.and_then(|pictures| pictures.rows(content, row as usize, length));
                    let missing = "the rows of a picture are not there: a defect, please report it";
                    Stretch::Rows(rows.ok_or_else(|| DecodeError::chunk(index, missing))?)
                }
            });
            rest = behind;
        }
        Ok(Inputs { stretches, tables })
    }
}

/// Whether an item, so many behind the first, is of one stretch with it.
fn continues(first: Item, behind: usize, item: Item) -> bool {
    match (first, item) {
        (Item::Token(_), Item::Token(_)) => true,
        (Item::Embedding { content, row }, Item::Embedding { content: other, row: at }) => {
            content == other && at as usize == row as usize + behind
        }
        _ => false,
    }
}

impl<V: Vision> Decoder for CachedDecoder<V> {
    type Pixels = V::Pixels;

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
        let inputs = chunks.iter().enumerate().map(|(index, chunk)| self.inputs(index, chunk));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let spans: Vec<Vec<Span<'_>>> =
            inputs.iter().map(|inputs| inputs.stretches.iter().map(Stretch::span).collect()).collect();
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

    fn picture_rows(&self) -> usize {
        self.pictures.as_ref().map_or(0, Pictures::capacity)
    }

    fn encode(
        &mut self,
        picture: &JobPicture<V::Pixels>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool, DecodeError> {
        match &mut self.pictures {
            Some(pictures) => pictures.encode(picture, go_on),
            None => Err(DecodeError::picture("this model reads text only")),
        }
    }

    fn forget_picture(&mut self, content: ContentHash) {
        if let Some(pictures) = &mut self.pictures {
            pictures.forget(content);
        }
    }
}

impl Stretch {
    fn span(&self) -> Span<'_> {
        match self {
            Self::Tokens(tokens) => Span::Tokens(tokens),
            Self::Rows(rows) => Span::Embeddings(rows),
        }
    }
}

impl<V: Vision> fmt::Debug for CachedDecoder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedDecoder").field("shape", &self.shape).finish_non_exhaustive()
    }
}
