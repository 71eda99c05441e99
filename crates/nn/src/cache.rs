//! Keys and values of all sequences, in blocks that are allocated once.
//!
//! A block holds the keys and values of `block_tokens` consecutive positions of one sequence, for all layers of a group.
//! Which block belongs to which sequence is its owner's affair: the cache is numbers at addresses, nothing more.

use crate::error::NnError;

/// How a model's keys and values are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLayout {
    /// Positions a block holds.
    pub block_tokens: usize,
    /// Layers that look back equally far share block tables. Together they are all layers, each once.
    pub groups: Vec<CacheGroup>,
    /// Heads that have keys and values.
    pub kv_heads: usize,
    /// Numbers in a head's key, and in its value.
    pub head_dim: usize,
}

/// Layers that share block tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheGroup {
    /// Their numbers, ascending.
    pub layers: Vec<usize>,
    /// How many positions they look back, their own included; `None` if all.
    pub window: Option<usize>,
}

impl CacheGroup {
    /// The first position that a query at `position` looks at. Blocks that end before it are never read again.
    #[must_use]
    pub fn first_visible(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }
}

impl CacheLayout {
    /// Numbers that a block takes in each layer of its group; `None`: more than can be counted.
    fn layer_block(&self) -> Option<usize> {
        let sizes = [2, self.kv_heads, self.block_tokens, self.head_dim];
        sizes.into_iter().try_fold(1_usize, usize::checked_mul)
    }

    /// Bytes that a block of one of the groups takes, in all its layers.
    #[must_use]
    pub fn block_bytes(&self, group: &CacheGroup) -> u64 {
        let layer = self.layer_block().map_or(u64::MAX, |numbers| numbers as u64);
        layer.saturating_mul(group.layers.len() as u64).saturating_mul(size_of::<f32>() as u64)
    }

    /// Bytes that a cache with so many blocks in each group takes.
    #[must_use]
    pub fn bytes(&self, blocks: &[usize]) -> u64 {
        let bytes = |(group, blocks): (_, &usize)| self.block_bytes(group).saturating_mul(*blocks as u64);
        self.groups.iter().zip(blocks).map(bytes).fold(0, u64::saturating_add)
    }

    /// Blocks that so many positions fill.
    #[must_use]
    pub fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_tokens)
    }
}

/// The blocks.
#[derive(Debug)]
pub struct KvCache {
    layout: CacheLayout,
    blocks: Vec<usize>,
    /// One for each layer of the model.
    layers: Vec<LayerBlocks>,
}

/// A layer's part of all blocks of its group.
#[derive(Clone, Debug)]
pub(crate) struct LayerBlocks {
    /// Block by block: the keys, head by head and then position by position; then the values likewise.
    numbers: Vec<f32>,
    block: usize,
    head: usize,
    head_dim: usize,
}

impl KvCache {
    /// Allocates the blocks: so many for each group of the layout.
    ///
    /// # Errors
    /// [`NnError::InvalidCall`] if the layout is not one or the counts do not match its groups,
    /// [`NnError::OutOfMemory`].
    pub fn new(layout: &CacheLayout, blocks: &[usize]) -> Result<Self, NnError> {
        check(layout, blocks)?;
        let out_of_memory = || NnError::OutOfMemory { bytes: layout.bytes(blocks) };
        let count = layout.groups.iter().map(|group| group.layers.len()).sum();
        let mut layers = vec![None; count];
        for (group, blocks) in layout.groups.iter().zip(blocks) {
            for layer in &group.layers {
                layers[*layer] = Some(LayerBlocks::new(layout, *blocks).ok_or_else(out_of_memory)?);
            }
        }
        let layers = layers.into_iter().flatten().collect();
        Ok(Self { layout: layout.clone(), blocks: blocks.to_vec(), layers })
    }

    /// How it is laid out.
    #[must_use]
    pub fn layout(&self) -> &CacheLayout {
        &self.layout
    }

    /// How many blocks each group has.
    #[must_use]
    pub fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    /// Makes the block `to` equal to the block `from`, in all layers of the group.
    ///
    /// # Errors
    /// [`NnError::InvalidCall`] if there is no such group or block.
    pub fn copy_block(&mut self, group: usize, from: u32, to: u32) -> Result<(), NnError> {
        let Some(blocks) = self.blocks.get(group) else {
            let reason = format!("the cache has no group {group}, it has {}", self.blocks.len());
            return Err(NnError::InvalidCall(reason));
        };
        if let Some(block) = [from, to].into_iter().find(|block| *block as usize >= *blocks) {
            let reason = format!("the cache has no block {block}, group {group} has {blocks}");
            return Err(NnError::InvalidCall(reason));
        }
        for layer in &self.layout.groups[group].layers {
            let layer = &mut self.layers[*layer];
            let start = from as usize * layer.block;
            layer.numbers.copy_within(start..start + layer.block, to as usize * layer.block);
        }
        Ok(())
    }

    pub(crate) fn layer_mut(&mut self, layer: usize) -> &mut LayerBlocks {
        &mut self.layers[layer]
    }
}

fn check(layout: &CacheLayout, blocks: &[usize]) -> Result<(), NnError> {
    if layout.block_tokens == 0 {
        return Err(NnError::InvalidCall("a block of 0 positions holds nothing".to_owned()));
    }
    if blocks.len() != layout.groups.len() {
        let reason = format!("{} block counts for a cache of {} groups", blocks.len(), layout.groups.len());
        return Err(NnError::InvalidCall(reason));
    }
    let mut layers: Vec<usize> =
        layout.groups.iter().flat_map(|group| group.layers.iter().copied()).collect();
    layers.sort_unstable();
    if !layers.iter().copied().eq(0..layers.len()) {
        let reason = format!("the groups of a cache must hold each layer once, these hold {layers:?}");
        return Err(NnError::InvalidCall(reason));
    }
    Ok(())
}

impl LayerBlocks {
    /// Zeroed blocks, or `None` if the machine has no memory for them.
    fn new(layout: &CacheLayout, blocks: usize) -> Option<Self> {
        let block = layout.layer_block()?;
        let length = blocks.checked_mul(block)?;
        let mut numbers = Vec::new();
        numbers.try_reserve_exact(length).ok()?;
        numbers.resize(length, 0.0);
        let head = layout.block_tokens * layout.head_dim;
        Some(Self { numbers, block, head, head_dim: layout.head_dim })
    }

    /// A head's keys of all positions of a block.
    #[inline(always)]
    pub(crate) fn keys(&self, block: u32, head: usize) -> &[f32] {
        &self.numbers[block as usize * self.block + head * self.head..][..self.head]
    }

    /// A head's values of all positions of a block.
    #[inline(always)]
    pub(crate) fn values(&self, block: u32, head: usize) -> &[f32] {
        let values = block as usize * self.block + self.block / 2;
        &self.numbers[values + head * self.head..][..self.head]
    }

    /// Puts the keys and values of all heads at one position.
    pub(crate) fn write(&mut self, block: u32, slot: usize, keys: &[f32], values: &[f32]) {
        let (head, head_dim, half) = (self.head, self.head_dim, self.block / 2);
        let block = &mut self.numbers[block as usize * self.block..][..self.block];
        let (block_keys, block_values) = block.split_at_mut(half);
        for (numbers, new) in [(block_keys, keys), (block_values, values)] {
            for (numbers, new) in numbers.chunks_exact_mut(head).zip(new.chunks_exact(head_dim)) {
                numbers[slot * head_dim..][..head_dim].copy_from_slice(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> CacheLayout {
        CacheLayout {
            block_tokens: 4,
            groups: vec![
                CacheGroup { layers: vec![0, 2], window: Some(6) },
                CacheGroup { layers: vec![1], window: None },
            ],
            kv_heads: 2,
            head_dim: 3,
        }
    }

    #[test]
    fn sizes_are_known_beforehand_and_are_what_is_allocated() {
        let layout = layout();
        // Keys and values, 2 heads, 4 positions, 3 numbers of 4 bytes.
        assert_eq!(layout.block_bytes(&layout.groups[1]), 2 * 2 * 4 * 3 * 4);
        assert_eq!(layout.block_bytes(&layout.groups[0]), 2 * layout.block_bytes(&layout.groups[1]));
        let cache = KvCache::new(&layout, &[5, 7]).unwrap();
        let numbers: usize = cache.layers.iter().map(|layer| layer.numbers.capacity()).sum();
        assert_eq!(layout.bytes(&[5, 7]), 4 * numbers as u64);
        assert_eq!([layout.blocks_for(0), layout.blocks_for(4), layout.blocks_for(5)], [0, 1, 2]);
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_changes() {
        let mut cache = KvCache::new(&layout(), &[3, 3]).unwrap();
        let keys: Vec<f32> = (1..=6).map(|number| number as f32).collect();
        let values: Vec<f32> = (11..=16).map(|number| number as f32).collect();
        cache.layer_mut(2).write(1, 2, &keys, &values);
        let layer = &cache.layers[2];
        for head in 0..2 {
            assert_eq!(layer.keys(1, head)[6..9], keys[3 * head..][..3]);
            assert_eq!(layer.values(1, head)[6..9], values[3 * head..][..3]);
        }
        let written = |layer: &LayerBlocks| layer.numbers.iter().filter(|number| **number != 0.0).count();
        assert_eq!(
            [written(&cache.layers[0]), written(&cache.layers[1]), written(&cache.layers[2])],
            [0, 0, 12]
        );
    }

    #[test]
    fn copying_a_block_copies_it_in_all_layers_of_its_group_only() {
        let mut cache = KvCache::new(&layout(), &[3, 3]).unwrap();
        for layer in 0..3 {
            cache.layer_mut(layer).write(2, 3, &[layer as f32 + 1.0; 6], &[-1.0; 6]);
        }
        cache.copy_block(0, 2, 0).unwrap();
        assert_eq!(cache.layers[0].keys(0, 1), cache.layers[0].keys(2, 1));
        assert_eq!(cache.layers[2].values(0, 0), cache.layers[2].values(2, 0));
        assert_eq!(cache.layers[2].keys(0, 0)[9], 3.0);
        assert!(cache.layers[1].keys(0, 1).iter().all(|number| *number == 0.0));
    }

    #[test]
    fn wrong_geometry_is_refused_in_one_line() {
        let refused =
            |layout: &CacheLayout, blocks: &[usize]| KvCache::new(layout, blocks).unwrap_err().to_string();
        assert_eq!(refused(&layout(), &[1]), "1 block counts for a cache of 2 groups");
        let mut twice = layout();
        twice.groups[1].layers = vec![2];
        assert_eq!(
            refused(&twice, &[1, 1]),
            "the groups of a cache must hold each layer once, these hold [0, 2, 2]"
        );
        let empty = CacheLayout { block_tokens: 0, ..layout() };
        assert_eq!(refused(&empty, &[1, 1]), "a block of 0 positions holds nothing");
        let wide = CacheLayout { kv_heads: 1 << 31, head_dim: 1 << 31, ..layout() };
        assert_eq!(wide.block_bytes(&wide.groups[1]), u64::MAX);
        for huge in [refused(&layout(), &[1 << 60, 1]), refused(&wide, &[1, 1])] {
            assert!(huge.ends_with("cannot be allocated: give it fewer blocks"), "{huge}");
        }
        let mut cache = KvCache::new(&layout(), &[2, 1]).unwrap();
        let refused = cache.copy_block(1, 0, 1).unwrap_err().to_string();
        assert_eq!(refused, "the cache has no block 1, group 1 has 1");
        assert_eq!(cache.copy_block(2, 0, 0).unwrap_err().to_string(), "the cache has no group 2, it has 2");
    }

    #[test]
    fn a_window_counts_the_position_itself() {
        let group = &layout().groups[0];
        assert_eq!([0, 5, 6, 9].map(|position| group.first_visible(position)), [0, 0, 1, 4]);
        assert_eq!(layout().groups[1].first_visible(9), 0);
    }
}
