use super::group::Group;
use super::key::BlockKey;
use super::prefix::{NodeId, PrefixTree};
use super::table::Table;
use crate::decoder::{BlockId, CacheShape};

/// A block to be copied before it is written, for another holder is to keep it as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockCopy {
    pub(crate) group: usize,
    pub(crate) from: BlockId,
    pub(crate) to: BlockId,
}

/// The blocks of every cache group, and the prefixes they hold.
#[derive(Debug)]
pub(crate) struct BlockPool {
    block_tokens: usize,
    groups: Vec<Group>,
    prefixes: PrefixTree,
}

impl BlockPool {
    pub(crate) fn new(shape: &CacheShape) -> Self {
        let groups: Vec<Group> =
            shape.groups.iter().map(|group| Group::new(*group, shape.block_tokens)).collect();
        Self { block_tokens: shape.block_tokens, prefixes: PrefixTree::new(groups.len()), groups }
    }

    pub(crate) fn block_tokens(&self) -> usize {
        self.block_tokens
    }

    /// The most positions a sequence can have that computes at most `chunk` of them at once, all blocks being its own.
    pub(crate) fn capacity(&self, chunk: usize) -> usize {
        let least = self.groups.iter().map(|group| match group.window {
            Some(window) if group.len() >= self.window_blocks(window, chunk) => usize::MAX,
            _ => group.len().saturating_mul(self.block_tokens),
        });
        least.min().unwrap_or(usize::MAX)
    }

    /// Blocks that a window and a chunk after it fall into at most.
    fn window_blocks(&self, window: usize, chunk: usize) -> usize {
        // `window - 1` positions before the chunk, wherever the blocks' edges lie.
        (window.saturating_sub(1) + chunk).saturating_sub(2) / self.block_tokens + 2
    }

    /// Positions that the smallest group without a window has room for; of all groups, if each has one.
    pub(crate) fn positions(&self) -> usize {
        let least = |windows: bool| {
            let groups = self.groups.iter().filter(|group| windows || group.window.is_none());
            groups.map(|group| group.len() * self.block_tokens).min()
        };
        least(false).or_else(|| least(true)).unwrap_or(0)
    }

    /// Blocks there are, in all groups.
    pub(crate) fn total(&self) -> usize {
        self.groups.iter().map(Group::len).sum()
    }

    /// Blocks that sequences hold, in all groups.
    pub(crate) fn in_use(&self) -> usize {
        self.groups.iter().map(|group| group.len() - group.free() - group.idle()).sum()
    }

    /// Blocks that only cached prefixes hold, in all groups.
    pub(crate) fn cached(&self) -> usize {
        self.groups.iter().map(Group::idle).sum()
    }

    /// How many of these blocks, from the first, need not be computed again.
    pub(crate) fn hit(&self, keys: &[BlockKey]) -> usize {
        let nodes: Vec<NodeId> = keys.iter().map_while(|key| self.prefixes.find(*key)).collect();
        let mut depth = nodes.len();
        for (index, group) in self.groups.iter().enumerate().filter(|(_, group)| group.window.is_some()) {
            // The deepest end at which no block within the window's reach is missing.
            let mut reached = depth;
            while reached > 0 {
                let reach = &nodes[reached.saturating_sub(group.span)..reached];
                match reach.iter().rposition(|node| self.prefixes.node(*node).blocks[index].is_none()) {
                    None => break,
                    Some(missing) => reached = reached.saturating_sub(group.span) + missing,
                }
            }
            if reached < depth {
                return self.hit(&keys[..reached]);
            }
            depth = reached;
        }
        depth
    }

    /// A table with these cached blocks at its front: those that [`BlockPool::hit`] has found.
    pub(crate) fn acquire(&mut self, keys: &[BlockKey]) -> Table {
        let mut table = Table::new(self.groups.len());
        for key in keys {
            let Some(node) = self.prefixes.find(*key) else { break };
            self.prefixes.set_used(node, true, &self.groups);
            table.nodes.push(node);
        }
        let depth = table.nodes.len();
        for index in 0..self.groups.len() {
            let reach = depth.saturating_sub(self.groups[index].span);
            table.slid[index] = reach;
            for (place, &node) in table.nodes.iter().enumerate() {
                let block = self.prefixes.node(node).blocks[index].filter(|_| place >= reach);
                if let Some(block) = block {
                    self.groups[index].share(block);
                    self.prefixes.relist(node, &self.groups);
                }
                table.blocks[index].push(block.unwrap_or(BlockId::NONE));
            }
        }
        table
    }

    /// A second holder of everything this table holds.
    pub(crate) fn fork(&mut self, table: &Table) -> Table {
        for &node in &table.nodes {
            self.prefixes.set_used(node, true, &self.groups);
        }
        for (index, blocks) in table.blocks.iter().enumerate() {
            for &block in blocks.iter().filter(|block| **block != BlockId::NONE) {
                self.groups[index].share(block);
            }
        }
        Table { blocks: table.blocks.clone(), nodes: table.nodes.clone(), slid: table.slid.clone() }
    }

    /// The end of the longest part of `computed..upto` for which there are blocks, cached prefixes given up.
    pub(crate) fn fit(&self, table: &Table, computed: usize, upto: usize) -> usize {
        let mut end = upto;
        while end > computed && !self.can_reserve(table, computed, end) {
            // One block less.
            end = ((end - 1) / self.block_tokens * self.block_tokens).max(computed);
        }
        end
    }

    /// Whether blocks for `computed..upto` can be had, and `spare` more in each group.
    pub(crate) fn can_start(&self, table: &Table, computed: usize, upto: usize, spare: usize) -> bool {
        (0..self.groups.len()).all(|index| {
            let group = &self.groups[index];
            let mut need = self.need(table, index, computed, upto).len();
            if let Some(window) = group.window {
                // It gives blocks back on its way.
                let held = table.blocks[index].iter().filter(|block| **block != BlockId::NONE).count();
                need = need.min(self.window_blocks(window, self.block_tokens)).min(group.len() - held);
            }
            need + spare <= group.free() + group.idle()
        })
    }

    fn can_reserve(&self, table: &Table, computed: usize, upto: usize) -> bool {
        (0..self.groups.len()).all(|index| {
            let group = &self.groups[index];
            self.need(table, index, computed, upto).len() <= group.free() + group.idle()
        })
    }

    /// The places of a table that need a block of their own before `computed..upto` can be written.
    fn need(&self, table: &Table, group: usize, computed: usize, upto: usize) -> Vec<usize> {
        let blocks = &table.blocks[group];
        let places = computed / self.block_tokens..upto.div_ceil(self.block_tokens);
        let own = |place: &usize| {
            blocks.get(*place).is_some_and(|block| self.groups[group].references(*block) == 1)
        };
        places.filter(|place| !own(place)).collect()
    }

    /// Gives the table blocks of its own for positions `computed..upto`, and says which are to be copied first.
    /// `None`, and nothing has changed, if there are not so many.
    pub(crate) fn reserve(
        &mut self,
        table: &mut Table,
        computed: usize,
        upto: usize,
    ) -> Option<Vec<BlockCopy>> {
        if !self.can_reserve(table, computed, upto) {
            return None;
        }
        let mut copies = Vec::new();
        for group in 0..self.groups.len() {
            for place in self.need(table, group, computed, upto) {
                let to = self.take(group)?;
                match table.blocks[group].get_mut(place) {
                    None => table.blocks[group].push(to),
                    Some(block) => {
                        copies.push(BlockCopy { group, from: *block, to });
                        self.groups[group].release(*block);
                        *block = to;
                    }
                }
            }
        }
        Some(copies)
    }

    /// A free block, be it that a cached prefix gives one up.
    fn take(&mut self, group: usize) -> Option<BlockId> {
        loop {
            if let Some(block) = self.groups[group].take() {
                return Some(block);
            }
            if let Some(node) = self.prefixes.oldest_spare(group) {
                self.give_up(node, group);
            } else if let Some(leaf) = self.prefixes.oldest_leaf() {
                self.forget(leaf);
            } else {
                self.give_up(self.prefixes.oldest_idle(group, &self.groups)?, group);
            }
        }
    }

    /// A window group's block leaves its prefix.
    fn give_up(&mut self, node: NodeId, group: usize) {
        let Some(block) = self.prefixes.node(node).blocks[group] else { return };
        self.prefixes.set_block(node, group, None, &self.groups);
        self.groups[group].detach(block);
        if self.prefixes.is_useless(node, &self.groups) {
            self.forget(node);
        }
    }

    /// A leaf leaves the tree, and with it what only served to reach it.
    fn forget(&mut self, leaf: NodeId) {
        let mut at = Some(leaf);
        while let Some(node) = at {
            let parent = self.prefixes.node(node).parent;
            let blocks = self.prefixes.remove(node, &self.groups);
            for (group, block) in blocks.into_iter().enumerate() {
                if let Some(block) = block {
                    self.groups[group].detach(block);
                }
            }
            at = parent.filter(|parent| self.prefixes.is_useless(*parent, &self.groups));
        }
    }

    /// Caches the blocks of a sequence that are full, now that positions up to `computed` are: `keys` are its blocks'.
    /// Where another sequence has computed the same meanwhile, that one's blocks take the place of this one's.
    pub(crate) fn commit(&mut self, table: &mut Table, keys: &[BlockKey], computed: usize) {
        let full = (computed / self.block_tokens).min(keys.len());
        for (place, &key) in keys.iter().enumerate().take(full).skip(table.nodes.len()) {
            let node = match self.prefixes.find(key) {
                Some(node) => {
                    self.prefixes.set_used(node, true, &self.groups);
                    self.adopt(table, node, place);
                    node
                }
                None => {
                    let own = table.blocks.iter().map(|blocks| Some(blocks[place])).collect();
                    let parent = table.nodes.last().copied();
                    let node = self.prefixes.insert(key, parent, own, &self.groups);
                    for (index, group) in self.groups.iter_mut().enumerate() {
                        group.attach(table.blocks[index][place], node);
                    }
                    self.prefixes.relist(node, &self.groups);
                    node
                }
            };
            table.nodes.push(node);
        }
        self.slide(table, computed);
    }

    /// One block of a table is what a node holds already: the table takes the node's, and leaves its own where the
    /// node has none.
    fn adopt(&mut self, table: &mut Table, node: NodeId, place: usize) {
        for (index, blocks) in table.blocks.iter_mut().enumerate() {
            let own = blocks[place];
            match self.prefixes.node(node).blocks[index] {
                Some(held) if held == own => {}
                Some(held) => {
                    self.groups[index].share(held);
                    self.groups[index].release(own);
                    blocks[place] = held;
                }
                None => {
                    self.groups[index].attach(own, node);
                    self.prefixes.set_block(node, index, Some(own), &self.groups);
                }
            }
        }
        self.prefixes.relist(node, &self.groups);
    }

    /// Lets go of what lies wholly before the window of the next row.
    fn slide(&mut self, table: &mut Table, computed: usize) {
        for index in 0..self.groups.len() {
            let Some(window) = self.groups[index].window else { continue };
            let first = (computed + 1).saturating_sub(window) / self.block_tokens;
            let first = first.min(table.blocks[index].len());
            for place in table.slid[index]..first {
                let block = std::mem::replace(&mut table.blocks[index][place], BlockId::NONE);
                self.let_go(index, block);
            }
            table.slid[index] = table.slid[index].max(first);
        }
    }

    /// Takes everything back. Full blocks stay cached.
    pub(crate) fn release(&mut self, table: Table) {
        for (index, blocks) in table.blocks.into_iter().enumerate() {
            for block in blocks.into_iter().filter(|block| *block != BlockId::NONE) {
                self.let_go(index, block);
            }
        }
        // From the last, so that of one prefix the end is the older.
        for node in table.nodes.into_iter().rev() {
            self.prefixes.set_used(node, false, &self.groups);
            if self.prefixes.is_useless(node, &self.groups) {
                self.forget(node);
            }
        }
    }

    fn let_go(&mut self, group: usize, block: BlockId) {
        let node = self.groups[group].cached_by(block);
        self.groups[group].release(block);
        if let Some(node) = node {
            self.prefixes.relist(node, &self.groups);
        }
    }

    /// Forgets every cached prefix that no sequence has.
    #[cfg(test)]
    pub(crate) fn forget_all(&mut self) {
        while let Some(leaf) = self.prefixes.oldest_leaf() {
            self.forget(leaf);
        }
    }

    /// Compares what is kept with what these tables and the tree hold: for tests.
    #[cfg(test)]
    pub(crate) fn check(&self, tables: &[&Table]) {
        self.prefixes.check(&self.groups);
        for (index, group) in self.groups.iter().enumerate() {
            let mut held = vec![0; group.len()];
            for table in tables {
                for block in table.blocks[index].iter().filter(|block| **block != BlockId::NONE) {
                    held[block.0 as usize] += 1;
                }
            }
            let mut idle = 0;
            for (id, node) in self.prefixes.iter() {
                if let Some(block) = node.blocks[index] {
                    assert_eq!(group.cached_by(block), Some(id));
                    idle += usize::from(held[block.0 as usize] == 0);
                    held[block.0 as usize] += 1;
                }
            }
            for (block, &held) in held.iter().enumerate() {
                assert_eq!(group.references(BlockId(block as u32)), held, "references to block {block}");
            }
            assert_eq!(group.idle(), idle);
            assert_eq!(group.free(), held.iter().filter(|held| **held == 0).count());
        }
        for (id, _) in self.prefixes.iter() {
            let users = tables.iter().filter(|table| table.nodes.contains(&id)).count();
            assert_eq!(self.prefixes.users(id) as usize, users, "users of {id:?}");
        }
    }
}
