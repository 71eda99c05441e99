use generation::{CacheGroup, CacheShape};
use nn::{CacheLayout, DecoderConfig};
use pool_core::Bytes;

/// Positions a block holds: the length that prefixes are shared by, and what a sequence wastes at most.
pub(super) const BLOCK_TOKENS: usize = 16;

/// Without another size, the cache holds so many full contexts,
const CONTEXTS: u64 = 8;
/// but takes this at most.
const MOST: Bytes = Bytes(1 << 30);

/// A group that looks back over a window has at least one block for so many of a group that sees everything. Most
/// sequences are much shorter than the context, so a window is a good part of them.
const WINDOWED: usize = 4;

/// The blocks that so many bytes give each group of layers; `None`: they do not give each group one.
///
/// `chunk`: positions of a sequence that are computed at once, which need room besides the window.
pub(super) fn shape(config: &DecoderConfig, chunk: usize, bytes: Bytes) -> Option<CacheShape> {
    let layout = config.cache_layout(BLOCK_TOKENS);
    let whole = |blocks: u64| blocks_of(&layout, blocks as usize, chunk);
    // The sum grows with the blocks, so the most that fit are searched for.
    let smallest = layout.groups.iter().map(|group| layout.block_bytes(group)).min().unwrap_or(1).max(1);
    let (mut fits, mut exceeds) = (0, bytes.get() / smallest + 1);
    while fits + 1 < exceeds {
        let middle = fits + (exceeds - fits) / 2;
        let enough = layout.bytes(&whole(middle)) <= bytes.get();
        *(if enough { &mut fits } else { &mut exceeds }) = middle;
    }
    let blocks = whole(fits);
    if blocks.contains(&0) {
        return None;
    }
    let groups = layout.groups.iter().zip(blocks);
    let groups = groups.map(|(group, blocks)| CacheGroup { window: group.window, blocks }).collect();
    Some(CacheShape { block_tokens: BLOCK_TOKENS, groups })
}

/// Without another size, rows of so many of the largest pictures are kept,
const PICTURES: usize = 8;
/// but they take this at most, if that is enough for two.
const MOST_PICTURES: Bytes = Bytes(256 << 20);

/// Rows of pictures that so many bytes hold, or what is right where nobody says. An error: the least, which is one picture.
pub(super) fn picture_rows(
    config: &DecoderConfig,
    most_tokens: usize,
    bytes: Option<Bytes>,
) -> Result<usize, Bytes> {
    let row = row_bytes(config);
    let rows = match bytes {
        Some(bytes) => (bytes.get() / row) as usize,
        None => (PICTURES * most_tokens).min((MOST_PICTURES.get() / row) as usize).max(2 * most_tokens),
    };
    if rows < most_tokens { Err(Bytes(row.saturating_mul(most_tokens as u64))) } else { Ok(rows) }
}

/// What so many rows of pictures take.
pub(super) fn picture_bytes(config: &DecoderConfig, rows: usize) -> Bytes {
    Bytes(row_bytes(config).saturating_mul(rows as u64))
}

fn row_bytes(config: &DecoderConfig) -> u64 {
    (config.hidden_size * size_of::<f32>()).max(1) as u64
}

/// What a cache takes that has one block in each group.
pub(super) fn least(config: &DecoderConfig) -> Bytes {
    let layout = config.cache_layout(BLOCK_TOKENS);
    Bytes(layout.bytes(&vec![1; layout.groups.len()]))
}

/// What a cache takes where nobody says.
pub(super) fn default_bytes(config: &DecoderConfig, chunk: usize) -> Bytes {
    let layout = config.cache_layout(BLOCK_TOKENS);
    let blocks = layout.blocks_for(config.context).saturating_mul(CONTEXTS as usize);
    Bytes(layout.bytes(&blocks_of(&layout, blocks, chunk))).min(MOST)
}

/// What a cache of this shape takes.
pub(super) fn bytes(config: &DecoderConfig, shape: &CacheShape) -> Bytes {
    let blocks: Vec<usize> = shape.groups.iter().map(|group| group.blocks).collect();
    Bytes(config.cache_layout(shape.block_tokens).bytes(&blocks))
}

/// Blocks of each group, where the one that looks back the farthest has so many.
fn blocks_of(layout: &CacheLayout, blocks: usize, chunk: usize) -> Vec<usize> {
    let reach = |window: Option<usize>| window.unwrap_or(usize::MAX);
    let farthest = layout.groups.iter().map(|group| reach(group.window)).max().unwrap_or(usize::MAX);
    let own = |window: Option<usize>| match window {
        Some(window) if window < farthest => {
            // A window and a chunk, wherever the blocks' edges lie.
            let one = (window + chunk).div_ceil(layout.block_tokens) + 1;
            blocks.min(one.max(blocks / WINDOWED))
        }
        _ => blocks,
    };
    layout.groups.iter().map(|group| own(group.window)).collect()
}
