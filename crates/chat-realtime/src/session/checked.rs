//! What must hold for everything that a client is told, checked event by event, and draws for random walks.

use std::collections::HashSet;

use serde_json::Value;

/// Draws from a seed.
#[derive(Debug)]
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    pub(super) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len());
        &of[at]
    }
}

/// A client that believes nothing.
#[derive(Default, Debug)]
pub(super) struct Checked {
    opened: bool,
    closed: bool,
    event_ids: HashSet<String>,
    responses: HashSet<String>,
    active: Option<Active>,
    /// The ids of the conversation's items, in order, as the events tell it.
    pub(super) items: Vec<String>,
    /// Those that are added and not done.
    pub(super) undone: Vec<String>,
    /// Responses that are done, by status.
    pub(super) done: Vec<(String, String)>,
}

#[derive(Debug)]
struct Active {
    id: String,
    in_conversation: bool,
    item: Option<(String, bool)>,
    /// The text of the part, while it is open.
    part: Option<String>,
    text_done: bool,
    parts_done: usize,
    text: String,
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

impl Checked {
    pub(super) fn active(&self) -> Option<&str> {
        self.active.as_ref().map(|active| active.id.as_str())
    }

    pub(super) fn see(&mut self, event: &Value) {
        assert!(!self.closed, "nothing follows the close: {event}");
        assert!(
            self.event_ids.insert(text(event, "/event_id").to_owned()),
            "an event's id is its own: {event}"
        );
        let kind = text(event, "/type");
        assert_eq!(kind == "session.created", !std::mem::replace(&mut self.opened, true), "{event}");
        match kind {
            "response.created" => self.created(event),
            "response.done" => self.finished(event),
            "conversation.item.added" => {
                let id = text(event, "/item/id").to_owned();
                assert!(!self.items.contains(&id), "{event}");
                let at = match event["previous_item_id"].as_str() {
                    None => 0,
                    Some(before) => {
                        1 + self.items.iter().position(|item| item == before).expect("it is there")
                    }
                };
                self.items.insert(at, id.clone());
                self.undone.push(id);
            }
            "conversation.item.done" => {
                let id = text(event, "/item/id");
                let at =
                    self.undone.iter().position(|item| item == id).expect("done once, after it was added");
                self.undone.remove(at);
                let at = self.items.iter().position(|item| item == id).expect("it is there");
                let before = at.checked_sub(1).map(|before| self.items[before].as_str());
                assert_eq!(event["previous_item_id"].as_str(), before, "{event}");
                assert_ne!(text(event, "/item/status"), "in_progress");
            }
            "conversation.item.deleted" => {
                let id = text(event, "/item_id");
                assert!(!self.undone.iter().any(|item| item == id), "an item is done before it goes");
                let at = self.items.iter().position(|item| item == id).expect("it is there");
                self.items.remove(at);
            }
            "conversation.item.retrieved" => {
                assert!(self.items.iter().any(|item| item == text(event, "/item/id")));
            }
            "conversation.item.truncated" => {
                assert!(self.items.iter().any(|item| item == text(event, "/item_id")));
            }
            kind if kind.starts_with("response.") => self.of_response(kind, event),
            "session.created" | "session.updated" | "rate_limits.updated" | "context.updated" | "error" => {}
            other => panic!("an event of no protocol: {other}"),
        }
    }

    /// The connection is closed.
    pub(super) fn close(&mut self) {
        assert!(!std::mem::replace(&mut self.closed, true), "closed once");
        assert!(self.active.is_none(), "a response in progress is ended first");
        assert!(self.undone.is_empty(), "every item added is done");
    }

    fn created(&mut self, event: &Value) {
        let id = text(event, "/response/id").to_owned();
        assert!(self.active.is_none(), "one response at a time");
        assert!(self.responses.insert(id.clone()), "a response is created once");
        assert_eq!(text(event, "/response/status"), "in_progress");
        self.active = Some(Active {
            id,
            in_conversation: event["response"]["conversation_id"].is_string(),
            item: None,
            part: None,
            text_done: false,
            parts_done: 0,
            text: String::new(),
        });
    }

    fn of_response(&mut self, kind: &str, event: &Value) {
        let active =
            self.active.as_mut().expect("nothing of a response after its end, or before its beginning");
        assert_eq!(text(event, "/response_id"), active.id);
        assert_eq!(event["output_index"], 0);
        if let Some(item) = event["item_id"].as_str() {
            assert_eq!(Some((item.to_owned(), true)), active.item, "{event}");
            assert_eq!(event["content_index"], 0);
        }
        match kind {
            "response.output_item.added" => {
                assert!(active.item.is_none());
                active.item = Some((text(event, "/item/id").to_owned(), true));
            }
            "response.content_part.added" => {
                assert!(active.part.is_none() && active.parts_done == 0);
                active.part = Some(String::new());
                let item = &active.item.as_ref().expect("a part has an item").0;
                assert_eq!(
                    active.in_conversation,
                    self.undone.contains(item),
                    "the conversation has its item"
                );
            }
            "response.output_text.delta" => {
                let delta = text(event, "/delta");
                assert!(!delta.is_empty() && !active.text_done);
                active.part.as_mut().expect("a delta is of a part").push_str(delta);
            }
            "response.output_text.done" => {
                assert_eq!(active.part.as_deref(), Some(text(event, "/text")));
                assert!(!std::mem::replace(&mut active.text_done, true));
            }
            "response.content_part.done" => {
                assert!(active.text_done, "the text is done before its part");
                assert_eq!(active.part.as_deref(), Some(text(event, "/part/text")));
                active.text = active.part.take().unwrap_or_default();
                active.parts_done += 1;
            }
            "response.output_item.done" => {
                assert!(active.part.is_none() && active.parts_done == 1);
                assert_eq!(text(event, "/item/content/0/text"), active.text);
                let item = active.item.as_mut().expect("it was added");
                assert_eq!((text(event, "/item/id"), true), (item.0.as_str(), item.1));
                assert!(!self.undone.contains(&item.0), "the conversation's item is done");
                item.1 = false;
            }
            other => panic!("an event of no protocol: {other}"),
        }
    }

    fn finished(&mut self, event: &Value) {
        let active = self.active.take().expect("one end for each beginning");
        assert_eq!(text(event, "/response/id"), active.id);
        assert!(active.part.is_none(), "every part added is done");
        assert!(active.item.as_ref().is_none_or(|(_, open)| !open), "every item added is done");
        let output = event["response"]["output"].as_array().unwrap();
        assert_eq!(output.len(), usize::from(active.item.is_some()));
        let status = text(event, "/response/status");
        assert_eq!(text(event, "/response/status_details/type"), status);
        if status == "completed" {
            assert!(event["response"]["usage"].is_object(), "{event}");
        }
        if let Some(item) = output.first() {
            assert_eq!(text(item, "/content/0/text"), active.text);
            assert_eq!(text(item, "/status") == "completed", status == "completed");
        }
        self.done.push((active.id, status.to_owned()));
    }
}
