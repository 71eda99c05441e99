use super::prefix::NodeId;
use crate::decoder::{BlockId, CacheGroup};

/// One cache group's blocks: who holds how many references to each.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) window: Option<usize>,
    /// How many of a prefix's last blocks are read by what follows it.
    pub(super) span: usize,
    references: Vec<u32>,
    /// The prefix node that holds one of a block's references.
    cached_by: Vec<Option<NodeId>>,
    free: Vec<BlockId>,
    idle: usize,
}

impl Group {
    pub(super) fn new(shape: CacheGroup, block_tokens: usize) -> Self {
        let span = match shape.window {
            None => usize::MAX,
            // The next row, at position `p`, reads back to `p - window + 1`.
            Some(0 | 1) => 0,
            Some(window) => (window - 2) / block_tokens + 1,
        };
        Self {
            window: shape.window,
            span,
            references: vec![0; shape.blocks],
            cached_by: vec![None; shape.blocks],
            // Taken from the end: the lowest numbers first.
            free: (0..shape.blocks as u32).rev().map(BlockId).collect(),
            idle: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.references.len()
    }

    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Blocks that nothing but a cached prefix holds.
    pub(super) fn idle(&self) -> usize {
        self.idle
    }

    pub(super) fn references(&self, block: BlockId) -> u32 {
        self.references[block.0 as usize]
    }

    pub(super) fn cached_by(&self, block: BlockId) -> Option<NodeId> {
        self.cached_by[block.0 as usize]
    }

    pub(super) fn is_idle(&self, block: BlockId) -> bool {
        self.references(block) == 1 && self.cached_by(block).is_some()
    }

    /// A free block, held once.
    pub(super) fn take(&mut self) -> Option<BlockId> {
        let block = self.free.pop()?;
        self.references[block.0 as usize] = 1;
        Some(block)
    }

    /// One more holds it.
    pub(super) fn share(&mut self, block: BlockId) {
        self.idle -= usize::from(self.is_idle(block));
        self.references[block.0 as usize] += 1;
    }

    /// One less holds it; the last one frees it.
    pub(super) fn release(&mut self, block: BlockId) {
        let references = &mut self.references[block.0 as usize];
        *references -= 1;
        if *references == 0 {
            self.free.push(block);
        }
        self.idle += usize::from(self.is_idle(block));
    }

    /// A prefix node holds it too.
    pub(super) fn attach(&mut self, block: BlockId, node: NodeId) {
        self.share(block);
        self.cached_by[block.0 as usize] = Some(node);
    }

    /// Its prefix node lets go of it.
    pub(super) fn detach(&mut self, block: BlockId) {
        self.idle -= usize::from(self.is_idle(block));
        self.cached_by[block.0 as usize] = None;
        self.release(block);
    }
}
