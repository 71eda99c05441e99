use generation::{CacheGroup, CacheShape};
use nn::{CacheLayout, DecoderConfig};
use pool_core::Bytes;

/// Positions a block holds: the length that prefixes are shared by, and what a sequence wastes at most.
pub(super) const BLOCK_TOKENS: usize = 16;

/// Without another size, the cache holds so many full contexts,
const CONTEXTS: usize = 8;
/// but takes this at most, if that is enough for the largest picture
const MOST: Bytes = Bytes(1 << 30);
/// and so many positions of text around it.
const AROUND_PICTURE: usize = 1024;

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

/// Rows of pictures that so many bytes hold, or what is right where nobody says. An error: fewer than `least`.
pub(super) fn picture_rows(
    config: &DecoderConfig,
    most_tokens: usize,
    least: usize,
    bytes: Option<Bytes>,
) -> Result<usize, Bytes> {
    let row = row_bytes(config);
    let rows = match bytes {
        Some(bytes) => (bytes.get() / row) as usize,
        None => {
            let wanted = most_tokens.saturating_mul(PICTURES).min((MOST_PICTURES.get() / row) as usize);
            wanted.max(most_tokens.saturating_mul(2)).max(least)
        }
    };
    if rows < least { Err(picture_bytes(config, least)) } else { Ok(rows) }
}

/// The most rows that one chunk of a prompt can need at once. `chunk`: the positions of chunks that are computed whole, where
/// they are; others end where a picture is not there yet.
pub(super) fn least_picture_rows(context: usize, most_tokens: usize, chunk: Option<usize>) -> usize {
    match chunk {
        None => most_tokens,
        // All of a picture that ends with its first position and of one that begins with its last, and whatever is between;
        // but a prompt has no more than the context.
        Some(chunk) => {
            let touched = most_tokens.saturating_mul(2).saturating_add(chunk.saturating_sub(2));
            touched.min(context).max(most_tokens)
        }
    }
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

/// What a cache takes where nobody says. `picture`: the positions of the largest, if the model reads any.
pub(super) fn default_bytes(config: &DecoderConfig, chunk: usize, picture: Option<usize>) -> Bytes {
    let contexts = config.context.saturating_mul(CONTEXTS);
    let seeing = picture.map_or(0, |tokens| tokens.saturating_add(AROUND_PICTURE).min(config.context));
    bytes_for(config, chunk, contexts).min(MOST).max(bytes_for(config, chunk, seeing))
}

/// What a cache takes that has room for so many positions.
pub(super) fn bytes_for(config: &DecoderConfig, chunk: usize, positions: usize) -> Bytes {
    let layout = config.cache_layout(BLOCK_TOKENS);
    Bytes(layout.bytes(&blocks_of(&layout, layout.blocks_for(positions), chunk)))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 MiB a position, 16 KiB a row.
    fn large() -> DecoderConfig {
        let config = serde_json::json!({
            "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 32, "intermediate_size": 11008, "max_position_embeddings": 4096, "vocab_size": 32064,
        });
        DecoderConfig::from_huggingface(&config).unwrap()
    }

    #[test]
    fn the_default_has_room_for_a_picture_and_a_text_around_it() {
        let config = large();
        assert_eq!(default_bytes(&config, 512, None), MOST);
        for (picture, positions) in [(1, 1025), (2928, 3952), (3500, 4096), (usize::MAX, 4096)] {
            let bytes = default_bytes(&config, 512, Some(picture));
            let shape = shape(&config, 512, bytes).unwrap();
            let room = shape.groups[0].blocks * BLOCK_TOKENS;
            assert!((positions..positions + BLOCK_TOKENS).contains(&room), "{picture}: {room}");
        }
        // What eight contexts of a small model take is more.
        let small = DecoderConfig { context: 64, ..large() };
        assert_eq!(default_bytes(&small, 64, Some(40)), Bytes((8 * 64) << 20));
    }

    #[test]
    fn rows_are_kept_of_all_pictures_that_a_chunk_touches() {
        assert_eq!(least_picture_rows(4096, 576, None), 576);
        assert_eq!(least_picture_rows(4096, 576, Some(64)), 576 + 62 + 576);
        assert_eq!(least_picture_rows(1000, 576, Some(64)), 1000, "a prompt has no more");
        assert_eq!(least_picture_rows(500, 576, Some(64)), 576);
        let (config, row) = (large(), 16 << 10);
        let rows = |least, bytes: Option<u64>| picture_rows(&config, 576, least, bytes.map(Bytes));
        assert_eq!(rows(576, Some(row * 576)), Ok(576));
        assert_eq!(rows(1214, Some(row * 1214 - 1)), Err(Bytes(row * 1214)));
        assert_eq!(rows(576, None), Ok(8 * 576));
        assert_eq!(rows(10_000, None), Ok(10_000));
        // However large a configuration says that pictures are, there is a number.
        assert_eq!(picture_rows(&config, usize::MAX, usize::MAX, None), Ok(usize::MAX));
        assert_eq!(least_picture_rows(usize::MAX, usize::MAX, Some(64)), usize::MAX);
    }
}
