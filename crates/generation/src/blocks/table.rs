use super::prefix::NodeId;
use crate::decoder::BlockId;

/// The blocks one sequence holds. Given back through [`BlockPool::release`](super::BlockPool::release), never dropped
/// with blocks in it.
#[derive(Default, Debug)]
pub(crate) struct Table {
    /// One list of blocks for each cache group.
    pub(super) blocks: Vec<Vec<BlockId>>,
    /// The cached prefix nodes of its full blocks, the first block's first.
    pub(super) nodes: Vec<NodeId>,
    /// For each group, how many blocks at the front have been given back.
    pub(super) slid: Vec<usize>,
}

impl Table {
    pub(super) fn new(groups: usize) -> Self {
        Self { blocks: vec![Vec::new(); groups], nodes: Vec::new(), slid: vec![0; groups] }
    }

    /// The block lists as a decoder reads them.
    pub(crate) fn groups(&self) -> Vec<&[BlockId]> {
        self.blocks.iter().map(Vec::as_slice).collect()
    }
}
