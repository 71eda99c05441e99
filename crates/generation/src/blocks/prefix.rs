use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::group::Group;
use super::key::BlockKey;
use crate::decoder::BlockId;

/// Names a node of the tree while it lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct NodeId(u32);

/// A full block and all before it, in every cache group.
#[derive(Debug)]
pub(super) struct Node {
    key: BlockKey,
    pub(super) parent: Option<NodeId>,
    children: u32,
    /// Sequences that have it at their front.
    users: u32,
    /// The block in each group. A window group may have given its own back.
    pub(super) blocks: Vec<Option<BlockId>>,
    /// For each group, how many ends of cached prefixes read this block: see [`PrefixTree`].
    needed: Vec<u32>,
    /// When it was last of use.
    used: u64,
}

/// Cached prefixes: a tree of full blocks, each found by the key that chains its content.
///
/// A prefix *ends* at a leaf, and where two or more continue differently: there a further sequence is likely to join.
/// A window group's block is *needed* while a prefix that ends within a window's reach after it is cached. Blocks that
/// are not needed are given back first.
#[derive(Debug)]
pub(super) struct PrefixTree {
    nodes: Vec<Option<Node>>,
    vacant: Vec<NodeId>,
    by_key: FxHashMap<BlockKey, NodeId>,
    /// Leaves that no sequence has, the least recently used first.
    leaves: BTreeSet<(u64, NodeId)>,
    /// For each window group, nodes whose block nobody holds and no prefix needs, the least recently used first.
    spare: Vec<BTreeSet<(u64, NodeId)>>,
    clock: u64,
}

impl PrefixTree {
    pub(super) fn new(groups: usize) -> Self {
        Self {
            nodes: Vec::new(),
            vacant: Vec::new(),
            by_key: FxHashMap::default(),
            leaves: BTreeSet::new(),
            spare: vec![BTreeSet::new(); groups],
            clock: 0,
        }
    }

    pub(super) fn find(&self, key: BlockKey) -> Option<NodeId> {
        self.by_key.get(&key).copied()
    }

    /// The node of a live id.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        match self.nodes[id.0 as usize].as_ref() {
            Some(node) => node,
            None => unreachable!("{id:?} has left the tree"),
        }
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        match self.nodes[id.0 as usize].as_mut() {
            Some(node) => node,
            None => unreachable!("{id:?} has left the tree"),
        }
    }

    /// The least recently used leaf that no sequence has.
    pub(super) fn oldest_leaf(&self) -> Option<NodeId> {
        self.leaves.first().map(|&(_, id)| id)
    }

    /// The least recently used node whose block of this window group nobody holds and no prefix needs.
    pub(super) fn oldest_spare(&self, group: usize) -> Option<NodeId> {
        self.spare[group].first().map(|&(_, id)| id)
    }

    /// The least recently used node whose block of this group nobody holds, needed or not.
    pub(super) fn oldest_idle(&self, group: usize, groups: &[Group]) -> Option<NodeId> {
        let idle = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let node = node.as_ref()?;
            let block = node.blocks[group]?;
            groups[group].is_idle(block).then_some((node.used, NodeId(index as u32)))
        });
        idle.min().map(|(_, id)| id)
    }

    /// Adds a leaf that one sequence has.
    pub(super) fn insert(
        &mut self,
        key: BlockKey,
        parent: Option<NodeId>,
        blocks: Vec<Option<BlockId>>,
        groups: &[Group],
    ) -> NodeId {
        let used = self.tick();
        let needed = vec![0; groups.len()];
        let node = Node { key, parent, children: 0, users: 1, blocks, needed, used };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.nodes[id.0 as usize] = Some(node);
                id
            }
            None => {
                self.nodes.push(Some(node));
                NodeId((self.nodes.len() - 1) as u32)
            }
        };
        self.by_key.insert(key, id);
        self.shift_need(id, true, groups);
        if let Some(parent) = parent {
            self.unlist(parent);
            self.node_mut(parent).children += 1;
            self.list(parent, groups);
            match self.node(parent).children {
                1 => self.shift_need(parent, false, groups),
                2 => self.shift_need(parent, true, groups),
                _ => {}
            }
        }
        self.list(id, groups);
        id
    }

    /// Takes out a leaf that no sequence has. What it held is for the caller to detach.
    pub(super) fn remove(&mut self, id: NodeId, groups: &[Group]) -> Vec<Option<BlockId>> {
        self.shift_need(id, false, groups);
        self.unlist(id);
        let Some(node) = self.nodes[id.0 as usize].take() else { return Vec::new() };
        self.by_key.remove(&node.key);
        self.vacant.push(id);
        if let Some(parent) = node.parent {
            self.unlist(parent);
            self.node_mut(parent).children -= 1;
            self.list(parent, groups);
            match self.node(parent).children {
                0 => self.shift_need(parent, true, groups),
                1 => self.shift_need(parent, false, groups),
                _ => {}
            }
        }
        node.blocks
    }

    /// Whether it is a leaf that no sequence has and that none could continue: a block that it needs is gone.
    pub(super) fn is_useless(&self, id: NodeId, groups: &[Group]) -> bool {
        let node = self.node(id);
        node.children == 0 && node.users == 0 && !self.is_complete(id, groups)
    }

    /// Whether a prefix may end here: every block that its continuation reads is there.
    fn is_complete(&self, id: NodeId, groups: &[Group]) -> bool {
        groups.iter().enumerate().filter(|(_, group)| group.window.is_some()).all(|(index, group)| {
            self.upward(id).take(group.span).all(|id| self.node(id).blocks[index].is_some())
        })
    }

    /// Puts a block in place of one that a window group gave back, or takes it away.
    pub(super) fn set_block(&mut self, id: NodeId, group: usize, block: Option<BlockId>, groups: &[Group]) {
        self.unlist(id);
        self.node_mut(id).blocks[group] = block;
        self.list(id, groups);
    }

    /// A sequence has it at its front from now on, or no longer.
    pub(super) fn set_used(&mut self, id: NodeId, joins: bool, groups: &[Group]) {
        let now = self.tick();
        self.unlist(id);
        let node = self.node_mut(id);
        node.users = if joins { node.users + 1 } else { node.users - 1 };
        node.used = now;
        self.list(id, groups);
    }

    /// Looks again at a node whose block a sequence has taken or let go of.
    pub(super) fn relist(&mut self, id: NodeId, groups: &[Group]) {
        self.unlist(id);
        self.list(id, groups);
    }

    /// A prefix begins or ceases to end here: so many more or fewer need the blocks within its reach.
    fn shift_need(&mut self, end: NodeId, begins: bool, groups: &[Group]) {
        for (index, group) in groups.iter().enumerate().filter(|(_, group)| group.window.is_some()) {
            let mut at = Some(end);
            for _ in 0..group.span {
                let Some(id) = at else { break };
                self.unlist(id);
                let node = self.node_mut(id);
                node.needed[index] = if begins { node.needed[index] + 1 } else { node.needed[index] - 1 };
                at = node.parent;
                self.list(id, groups);
            }
        }
    }

    fn upward(&self, from: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(from), |&id| self.node(id).parent)
    }

    fn unlist(&mut self, id: NodeId) {
        let entry = (self.node(id).used, id);
        self.leaves.remove(&entry);
        for spare in &mut self.spare {
            spare.remove(&entry);
        }
    }

    fn list(&mut self, id: NodeId, groups: &[Group]) {
        let Some(node) = self.nodes[id.0 as usize].as_ref() else { return };
        let entry = (node.used, id);
        if node.children == 0 && node.users == 0 {
            self.leaves.insert(entry);
        }
        for (index, group) in groups.iter().enumerate().filter(|(_, group)| group.window.is_some()) {
            if node.needed[index] == 0 && node.blocks[index].is_some_and(|block| group.is_idle(block)) {
                self.spare[index].insert(entry);
            }
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(|(index, node)| Some((NodeId(index as u32), node.as_ref()?)))
    }

    /// Compares what is kept with what is so: for tests.
    #[cfg(test)]
    pub(super) fn check(&self, groups: &[Group]) {
        for (id, node) in self.iter() {
            assert_eq!(self.find(node.key), Some(id));
            let children = self.iter().filter(|(_, other)| other.parent == Some(id)).count();
            assert_eq!(node.children as usize, children, "children of {id:?}");
            assert_eq!(self.leaves.contains(&(node.used, id)), node.children == 0 && node.users == 0);
            assert!(!self.is_useless(id, groups), "nothing could go on from {id:?}, and it is kept");
            for (index, group) in groups.iter().enumerate() {
                if group.window.is_none() {
                    assert!(node.blocks[index].is_some(), "a full group keeps every block");
                    assert!(self.spare[index].is_empty());
                    continue;
                }
                let ends = self.iter().filter(|(_, end)| end.children != 1);
                let needed = ends.filter(|(end, _)| self.upward(*end).take(group.span).any(|at| at == id));
                assert_eq!(node.needed[index] as usize, needed.count(), "ends that need {id:?}");
                let idle = node.blocks[index].is_some_and(|block| group.is_idle(block));
                assert_eq!(self.spare[index].contains(&(node.used, id)), idle && node.needed[index] == 0);
            }
        }
        assert_eq!(self.leaves.len(), self.iter().filter(|(_, n)| n.children == 0 && n.users == 0).count());
    }

    #[cfg(test)]
    pub(super) fn users(&self, id: NodeId) -> u32 {
        self.node(id).users
    }
}
