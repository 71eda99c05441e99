//! Random walks: whatever comes in whatever order, what a client is told makes sense.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::session::checked::{Draw, text};

const STEPS: usize = 100_000;
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "root"];

/// A client's event, sensible or not.
pub(in crate::session) fn event(draw: &mut Draw, items: &[String], response: Option<&str>) -> Value {
    let some_item = |draw: &mut Draw| {
        if items.is_empty() || draw.below(4) == 0 {
            (*draw.one(&NAMES)).to_owned()
        } else {
            draw.one(items).clone()
        }
    };
    let said = "é".repeat(draw.below(30));
    let item = |draw: &mut Draw| {
        let (role, kind) =
            *draw.one(&[("user", "input_text"), ("assistant", "output_text"), ("system", "input_text")]);
        let mut item = json!({"type": "message", "role": role, "content": [{"type": kind, "text": said}]});
        if draw.below(2) == 0 {
            item["id"] = json!(draw.one(&NAMES));
        }
        item
    };
    match draw.below(16) {
        0 => json!({"type": "session.update", "session": {"instructions": said}}),
        1 => json!({"type": "session.update", "session": {"max_output_tokens": draw.below(3)}}),
        2..5 => {
            let mut event = json!({"type": "conversation.item.create", "item": item(draw)});
            match draw.below(4) {
                0 => event["previous_item_id"] = json!("root"),
                1 => event["previous_item_id"] = json!(some_item(draw)),
                _ => {}
            }
            event
        }
        5 => json!({"type": "conversation.item.retrieve", "item_id": some_item(draw)}),
        6 => json!({"type": "conversation.item.truncate", "item_id": some_item(draw), "content_index": 0,
            "audio_end_ms": draw.below(2)}),
        7..9 => json!({"type": "conversation.item.delete", "item_id": some_item(draw)}),
        9..12 => {
            let mut response = json!({});
            if draw.below(3) == 0 {
                response["conversation"] = json!("none");
            }
            if draw.below(3) == 0 {
                response["input"] = json!([item(draw), {"type": "item_reference", "id": some_item(draw)}]);
            }
            json!({"type": "response.create", "response": response})
        }
        12 => json!({"type": "response.cancel"}),
        13 => json!({"type": "response.cancel", "response_id": response.unwrap_or("resp_0")}),
        14 => json!({"type": "input_audio_buffer.append", "audio": "AAAA"}),
        _ => json!([said]),
    }
}

/// What an event that is obeyed is answered with.
pub(in crate::session) fn answered(event: &Value) -> &'static str {
    match event["type"].as_str() {
        Some("session.update") => "session.updated",
        Some("conversation.item.create") => "conversation.item.added",
        Some("conversation.item.retrieve") => "conversation.item.retrieved",
        Some("conversation.item.truncate") => "conversation.item.truncated",
        Some("conversation.item.delete") => "conversation.item.deleted",
        Some("response.create") => "response.created",
        Some("response.cancel") => "response.done",
        _ => "error",
    }
}

#[test]
fn a_hundred_thousand_steps_in_any_order() {
    let mut draw = Draw(0x5eed);
    let limits =
        SessionLimits { items: 8, bytes: 3000, text_bytes: 90, errors: 1 << 30, ..SessionLimits::default() };
    let fresh = |cites| Played::new(Setting { limits, cites, ..setting() });
    let mut played = fresh(false);
    let mut past = vec!["resp_0".to_owned()];
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for step in 0..STEPS {
        played.now += Duration::from_millis(draw.below(20) as u64);
        let active = played.checked.active().map(str::to_owned);
        let response = match &active {
            Some(active) if draw.below(10) > 0 => active.clone(),
            _ => draw.one(&past).clone(),
        };
        let turn = draw.below(12);
        let told = match turn {
            0..5 => {
                let event = event(&mut draw, &played.checked.items, active.as_deref());
                let told = played.say(&event);
                assert!(
                    types(&told).iter().any(|kind| *kind == "error" || *kind == answered(&event)),
                    "no event is lost: {event} is answered with {told:?}"
                );
                told
            }
            5..9 => played.piece(&response, &"é".repeat(draw.below(12))),
            9 => played.end(&response, *draw.one(&[Finish::Stop, Finish::Length])),
            10 => {
                let passage = Passage { path: "a".to_owned(), lines: (1, 2), text: "b".into(), score: 1.0 };
                let found =
                    if draw.below(2) == 0 { Ok(vec![passage]) } else { Err(failure(FailureKind::Failed)) };
                let effects = played.machine.cited(&response, found);
                played.take(effects)
            }
            _ if draw.below(3) > 0 => Vec::new(),
            _ if draw.below(40) > 0 => {
                let effects = played.machine.failed(&response, failure(FailureKind::Invalid));
                played.take(effects)
            }
            _ => {
                let effects = played.machine.close(CloseCode::ShuttingDown);
                let told = played.take(effects);
                assert!(matches!(played.asked.last(), Some(Effect::Close(CloseCode::ShuttingDown))));
                played = fresh(step % 2 == 0);
                told
            }
        };
        if (5..11).contains(&turn) && active.as_deref() != Some(&*response) {
            assert!(told.is_empty(), "what comes of a past response is of no other: {told:?}");
        }
        for event in &told {
            *seen.entry(text(event, "/type").to_owned()).or_default() += 1;
            if event["type"] == "response.created" {
                past.push(text(event, "/response/id").to_owned());
            }
        }
        past.drain(..past.len().saturating_sub(8));
        agrees(&played, limits);
    }
    assert_eq!(seen.len(), 16, "every event but the session's first and the context's was seen: {seen:?}");
}

/// The machine is where its client believes it to be.
fn agrees(played: &Played, limits: SessionLimits) {
    let machine = &played.machine;
    let active = machine.active.as_ref();
    assert_eq!(played.checked.active(), active.map(|active| &*active.id));
    let items: Vec<&str> = machine.conversation.ids().collect();
    assert_eq!(items, played.checked.items);
    assert!(items.len() <= limits.items);
    assert!(
        machine.conversation.bytes() <= limits.bytes + 256,
        "an item without text is all that may be over"
    );
    let unfinished: Vec<&str> = active
        .filter(|active| active.conversation.is_some())
        .and_then(|active| active.item.as_deref())
        .into_iter()
        .collect();
    assert_eq!(unfinished, played.checked.undone);
}
