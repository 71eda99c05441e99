use std::sync::Arc;

use crate::model::Turn;
use crate::session::protocol::item::{Content, Item};

/// The items of a conversation, in order, each under its own id. A few thousand at most, so that they are simply gone through.
#[derive(Debug)]
pub(super) struct Conversation {
    id: Arc<str>,
    items: Vec<Item>,
    bytes: usize,
}

impl Conversation {
    pub(super) const fn new(id: Arc<str>) -> Self {
        Self { id, items: Vec::new(), bytes: 0 }
    }

    pub(super) fn id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The ids of the items, in order.
    #[cfg(test)]
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| &*item.id)
    }

    pub(super) fn position(&self, id: &str) -> Option<usize> {
        self.items.iter().position(|item| *item.id == *id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Item> {
        self.items.iter().find(|item| *item.id == *id)
    }

    /// The id of the last item.
    pub(super) fn last(&self) -> Option<Arc<str>> {
        self.items.last().map(|item| Arc::clone(&item.id))
    }

    /// As models see it, oldest first.
    pub(super) fn turns(&self) -> Vec<Turn> {
        self.items.iter().filter_map(Item::turn).collect()
    }

    /// Puts an item at a position, and gives the id of the one before it.
    pub(super) fn insert(&mut self, at: usize, item: Item) -> Option<Arc<str>> {
        self.bytes += item.bytes();
        self.items.insert(at, item);
        self.before(at)
    }

    /// Puts an item where the one of its id is, and gives the id of the one before it.
    pub(super) fn replace(&mut self, item: &Item) -> Option<Arc<str>> {
        let at = self.position(&item.id)?;
        let place = self.items.get_mut(at)?;
        self.bytes = self.bytes - place.bytes() + item.bytes();
        *place = item.clone();
        self.before(at)
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Item> {
        let item = self.items.remove(self.position(id)?);
        self.bytes -= item.bytes();
        Some(item)
    }

    /// Forgets the text of a part.
    pub(super) fn forget(&mut self, id: &str, part: u64) {
        let Some(item) = self.items.iter_mut().find(|item| *item.id == *id) else { return };
        let before = item.bytes();
        if let Some(part) = usize::try_from(part).ok().and_then(|part| item.content.get_mut(part)) {
            *part = Content::OutputText("".into());
        }
        self.bytes = self.bytes - before + item.bytes();
    }

    fn before(&self, at: usize) -> Option<Arc<str>> {
        at.checked_sub(1).and_then(|before| self.items.get(before)).map(|item| Arc::clone(&item.id))
    }
}
