//! What a client does with the items of its conversation.

use std::sync::Arc;

use super::{Machine, too_long};
use crate::model::Role;
use crate::session::SessionLimits;
use crate::session::protocol::client::Place;
use crate::session::protocol::item::{Content, Draft, Item, ItemStatus};
use crate::session::protocol::refusal::{Refusal, shortened};
use crate::session::protocol::server::ServerEvent;

impl Machine {
    pub(super) fn create(&mut self, draft: Draft, after: Place) -> Result<(), Refusal> {
        self.check(&draft, "item")?;
        let SessionLimits { items, bytes, .. } = self.setting.limits;
        let (held_items, held_bytes) = self.held();
        if held_items >= items {
            let message = format!("the conversation has {items} items, which is the most; delete some");
            return Err(Refusal::new("conversation_full", message).of("item"));
        }
        if held_bytes + draft.bytes() > bytes {
            let message = format!(
                "the conversation has {held_bytes} of at most {bytes} bytes, and the item takes {}; delete others or send less",
                draft.bytes()
            );
            return Err(Refusal::new("conversation_full", message).of("item"));
        }
        if let Some(id) = draft.id.as_deref()
            && self.conversation.get(id).is_some()
        {
            let message = format!("the conversation has an item '{id}' already; give another id, or none");
            return Err(Refusal::new("item_create_duplicate_item_id", message).of("item.id"));
        }
        let at = match after {
            Place::End => self.conversation.len(),
            Place::Beginning => 0,
            Place::After(id) => match self.conversation.position(&id) {
                Some(at) => at + 1,
                None => {
                    return Err(no_item("item_create_invalid_previous_item_id", "previous_item_id", &id));
                }
            },
        };
        let Draft { id, role, content } = draft;
        let id = id.unwrap_or_else(|| self.unused_id());
        let item = Item { id, role, status: ItemStatus::Completed, content };
        let previous_item_id = self.conversation.insert(at, item.clone());
        self.send(ServerEvent::ItemAdded { previous_item_id: previous_item_id.clone(), item: item.clone() });
        self.send(ServerEvent::ItemDone { previous_item_id, item });
        Ok(())
    }

    pub(super) fn retrieve(&mut self, id: &str) -> Result<(), Refusal> {
        let Some(item) = self.conversation.get(id) else {
            return Err(no_item("item_retrieve_invalid_item_id", "item_id", id));
        };
        let mut item = item.clone();
        if let Some(active) = self.active.as_ref().filter(|active| active.writes(id)) {
            item.content = vec![Content::OutputText(active.text().into())];
        }
        self.send(ServerEvent::ItemRetrieved { item });
        Ok(())
    }

    /// An answer of text has no audio, so its audio ends at 0 ms, and all that can be truncated is the whole.
    pub(super) fn truncate(
        &mut self,
        id: &str,
        content_index: u64,
        audio_end_ms: u64,
    ) -> Result<(), Refusal> {
        let Some(item) = self.conversation.get(id) else {
            return Err(no_item("item_truncate_invalid_item_id", "item_id", id));
        };
        if item.role != Role::Assistant {
            let message = format!("the item '{id}' is no assistant's: only answers can be truncated");
            return Err(Refusal::new("item_truncate_invalid_item_id", message).of("item_id"));
        }
        self.refuse_unfinished(id, "item_truncate_in_progress")?;
        let parts = item.content.len() as u64;
        if content_index >= parts {
            let accepted = format!("less than {parts}, the number of the item's parts");
            return Err(Refusal::value("content_index", content_index, accepted));
        }
        if audio_end_ms > 0 {
            let accepted =
                "0: the item has no audio; 0 forgets its text, and conversation.item.delete the item";
            return Err(Refusal::value("audio_end_ms", audio_end_ms, accepted));
        }
        let item_id = Arc::clone(&item.id);
        self.conversation.forget(id, content_index);
        self.send(ServerEvent::ItemTruncated { item_id, content_index, audio_end_ms });
        Ok(())
    }

    pub(super) fn delete(&mut self, id: &str) -> Result<(), Refusal> {
        self.refuse_unfinished(id, "item_delete_in_progress")?;
        match self.conversation.remove(id) {
            Some(item) => {
                self.send(ServerEvent::ItemDeleted { item_id: item.id });
                Ok(())
            }
            None => Err(no_item("item_delete_invalid_item_id", "item_id", id)),
        }
    }

    fn refuse_unfinished(&self, id: &str, code: &'static str) -> Result<(), Refusal> {
        match &self.active {
            Some(active) if active.writes(id) => {
                let message = format!("the item '{id}' is still being written; cancel its response first");
                Err(Refusal::new(code, message).of("item_id"))
            }
            _ => Ok(()),
        }
    }

    /// What holds for every item, wherever it goes.
    pub(super) fn check(&self, draft: &Draft, name: &str) -> Result<(), Refusal> {
        let (length, most) = (draft.text_bytes(), self.setting.limits.text_bytes);
        if length > most {
            let name = format!("{name}.content");
            return Err(too_long(&name, length, most));
        }
        if draft.has_images() && !self.setting.sees {
            let message = format!(
                "the model '{}' sees no pictures: send texts, or choose a vision model",
                self.setting.model
            );
            return Err(Refusal::new("unsupported_content", message).of(format!("{name}.content")));
        }
        Ok(())
    }
}

pub(super) fn no_item(code: &'static str, param: &str, id: &str) -> Refusal {
    Refusal::new(code, format!("the conversation has no item '{}'", shortened(id))).of(param)
}
