//! Each event of the protocol, as it goes in and as it comes out.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::model::{Part, Role, Turn};

const END: [&str; 5] = [
    "response.output_text.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
];

fn turn(role: Role, said: &str) -> Turn {
    Turn { role, parts: vec![Part::Text(said.into())] }
}

#[test]
fn a_session_tells_what_it_is() {
    let mut machine = Machine::new(setting(), Ids::new(1));
    let opened = machine.open();
    let [Effect::Send(event)] = opened.as_slice() else { panic!("one event, not {opened:?}") };
    let event = serde_json::to_value(event).unwrap();
    assert_eq!(event["type"], "session.created");
    assert!(event["session"]["id"].as_str().unwrap().starts_with("sess_"));
    let told = json!({
        "type": "realtime",
        "object": "realtime.session",
        "id": event["session"]["id"],
        "model": "small",
        "instructions": "Be kind.",
        "output_modalities": ["text"],
        "max_output_tokens": "inf",
        "tools": [],
        "tool_choice": "auto",
        "truncation": "disabled",
    });
    assert_eq!(event["session"], told);
}

#[test]
fn an_update_changes_what_it_names_and_nothing_else() {
    let mut played = Played::new(setting());
    let update = |session| json!({"type": "session.update", "session": session});
    let told = played.say(&update(json!({
        "type": "realtime", "model": "small", "max_output_tokens": 5, "output_modalities": ["text"], "tools": [],
        "tool_choice": "none", "truncation": "disabled", "audio": null, "tracing": null, "include": [],
    })));
    assert_eq!(types(&told), ["session.updated"]);
    assert_eq!(told[0]["session"]["instructions"], "Be kind.");
    assert_eq!(told[0]["session"]["max_output_tokens"], 5);
    let told = played.say(&update(json!({"instructions": ""})));
    assert_eq!(told[0]["session"]["instructions"], "");
    assert_eq!(told[0]["session"]["max_output_tokens"], 5);
    played.respond(&json!({}));
    assert_eq!((played.prompt().instructions.as_deref(), played.prompt().max_output_tokens), (None, Some(5)));
    let told = played.say(&update(json!({"instructions": "Be brief.", "max_output_tokens": "inf"})));
    assert_eq!(told[0]["session"]["instructions"], "Be brief.");
    assert_eq!(told[0]["session"]["max_output_tokens"], "inf");
}

#[test]
fn an_item_goes_where_it_is_put_and_comes_back_whole() {
    let mut played = Played::new(setting());
    let create = |id: &str, after: Value| {
        let content = json!([{"type": "input_text", "text": id}]);
        json!({"type": "conversation.item.create", "previous_item_id": after,
            "item": {"id": id, "type": "message", "role": "user", "content": content}})
    };
    let mut before = |id, after| {
        let told = played.say(&create(id, after));
        assert_eq!(types(&told), ["conversation.item.added", "conversation.item.done"]);
        assert_eq!(told[0]["item"], told[1]["item"]);
        assert_eq!(told[0]["item"]["status"], "completed");
        assert_eq!(told[0]["item"]["object"], "realtime.item");
        told[0]["previous_item_id"].clone()
    };
    assert_eq!(before("b", Value::Null), Value::Null);
    assert_eq!(before("d", Value::Null), "b");
    assert_eq!(before("a", json!("root")), Value::Null);
    assert_eq!(before("c", json!("b")), "b");
    assert_eq!(played.checked.items, ["a", "b", "c", "d"]);
    let told = played.say(&json!({"type": "conversation.item.create",
        "item": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "e"}]}}));
    assert!(
        told[0]["item"]["id"].as_str().unwrap().starts_with("item_"),
        "an id is drawn where none is given"
    );
    let told = played.say(&json!({"type": "conversation.item.retrieve", "item_id": "c"}));
    assert_eq!(types(&told), ["conversation.item.retrieved"]);
    assert_eq!(told[0]["item"]["content"], json!([{"type": "input_text", "text": "c"}]));
    let told = played.say(&json!({"type": "conversation.item.delete", "item_id": "b"}));
    assert_eq!(types(&told), ["conversation.item.deleted"]);
    assert_eq!(told[0]["item_id"], "b");
    played.create("s", "system", "s");
    played.respond(&json!({}));
    let said = [
        (Role::User, "a"),
        (Role::User, "c"),
        (Role::User, "d"),
        (Role::Assistant, "e"),
        (Role::System, "s"),
    ];
    assert_eq!(played.prompt().turns, said.map(|(role, said)| turn(role, said)));
}

#[test]
fn a_picture_reaches_the_model_and_is_not_sent_back() {
    let mut played = Played::new(setting());
    let content = json!([
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/gif;base64,R0lGODlh", "detail": "auto"},
    ]);
    let told = played.say(&json!({"type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": content}}));
    assert_eq!(
        told[0]["item"]["content"],
        json!([{"type": "input_text", "text": "What is this?"}, {"type": "input_image"}])
    );
    played.respond(&json!({}));
    let parts = vec![Part::Text("What is this?".into()), Part::Image(b"GIF89a".as_slice().into())];
    assert_eq!(played.prompt().turns, [Turn { role: Role::User, parts }]);
}

#[test]
fn an_answer_is_told_piece_by_piece_and_stays_in_the_conversation() {
    let mut played = Played::new(setting());
    played.create("q", "user", "Hello?");
    let metadata = json!({"topic": "greetings"});
    let told = played
        .say(&json!({"type": "response.create", "response": {"metadata": metadata, "max_output_tokens": 7}}));
    assert_eq!(types(&told), ["response.created", "rate_limits.updated"]);
    let response = &told[0]["response"];
    assert_eq!(response["status"], "in_progress");
    assert_eq!((&response["metadata"], &response["max_output_tokens"]), (&metadata, &json!(7)));
    assert_eq!(response["output"], json!([]));
    let limit = &told[1]["rate_limits"][0];
    assert_eq!(
        (&limit["name"], &limit["limit"], &limit["remaining"]),
        (&json!("requests"), &json!(1000), &json!(998))
    );
    let id = response["id"].as_str().unwrap().to_owned();
    assert_eq!(played.prompt().max_output_tokens, Some(7));

    let begun = played.piece(&id, "Hel");
    let begins = [
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
    ];
    assert_eq!(types(&begun), begins);
    let item = begun[1]["item"]["id"].clone();
    assert_eq!(
        (&begun[1]["item"]["status"], &begun[1]["previous_item_id"]),
        (&json!("in_progress"), &json!("q"))
    );
    assert_eq!(begun[2]["part"], json!({"type": "text", "text": ""}));
    let of = json!({"event_id": begun[3]["event_id"], "type": "response.output_text.delta", "response_id": id,
        "item_id": item, "output_index": 0, "content_index": 0, "delta": "Hel"});
    assert_eq!(begun[3], of);
    let told = played.say(&json!({"type": "conversation.item.retrieve", "item_id": item}));
    assert_eq!(told[0]["item"]["content"], json!([{"type": "output_text", "text": "Hel"}]), "so far");
    assert_eq!(types(&played.piece(&id, "lo.")), ["response.output_text.delta"]);

    let ended = played.end(&id, Finish::Stop);
    assert_eq!(types(&ended), END);
    let done = &ended[4]["response"];
    assert_eq!((&done["status"], &done["metadata"]), (&json!("completed"), &metadata));
    assert_eq!(done["output"][0]["content"], json!([{"type": "output_text", "text": "Hello."}]));
    let usage = json!({"total_tokens": 11, "input_tokens": 9, "output_tokens": 2,
        "input_token_details": {"cached_tokens": 4, "audio_tokens": 0},
        "output_token_details": {"text_tokens": 2, "audio_tokens": 0}});
    assert_eq!(done["usage"], usage);
    assert_eq!(done.get("citations"), None, "OpenAI's protocol has none");
    played.respond(&json!({}));
    assert_eq!(played.prompt().turns, [turn(Role::User, "Hello?"), turn(Role::Assistant, "Hello.")]);
}

#[test]
fn an_answer_comes_after_what_it_answers() {
    let mut played = Played::new(setting());
    played.create("q1", "user", "1?");
    let id = played.respond(&json!({}));
    played.create("q2", "user", "2?");
    played.piece(&id, "1.");
    played.end(&id, Finish::Stop);
    assert_eq!(played.checked.items.len(), 3);
    assert_eq!((played.checked.items[0].as_str(), played.checked.items[2].as_str()), ("q1", "q2"));
    // What it answers may be gone by then.
    let id = played.respond(&json!({}));
    played.say(&json!({"type": "conversation.item.delete", "item_id": "q2"}));
    played.create("q3", "user", "3?");
    played.piece(&id, "?");
    assert_eq!(played.checked.items.len(), 4);
    assert_eq!(played.checked.items[2], "q3", "then it comes last");
}

#[test]
fn an_answer_out_of_band_sees_what_it_is_given_and_leaves_no_trace() {
    let mut played = Played::new(setting());
    played.create("q", "user", "Hello?");
    let given = json!([
        {"type": "item_reference", "id": "q"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "In French?"}]},
    ]);
    let id = played.respond(
        &json!({"conversation": "none", "input": given, "instructions": "Translate.", "output_modalities": ["text"]}),
    );
    assert_eq!(played.prompt().instructions.as_deref(), Some("Translate."));
    assert_eq!(played.prompt().turns, [turn(Role::User, "Hello?"), turn(Role::User, "In French?")]);
    let begins = ["response.output_item.added", "response.content_part.added", "response.output_text.delta"];
    assert_eq!(types(&played.piece(&id, "Allô ?")), begins);
    let ended = played.end(&id, Finish::Stop);
    assert_eq!(types(&ended), [END[0], END[1], END[3], END[4]]);
    assert_eq!(ended[3]["response"]["conversation_id"], Value::Null);
    assert_eq!(played.checked.items, ["q"]);
    // Without input it sees the conversation; an empty input is no input at all.
    let id = played.respond(&json!({"conversation": "none"}));
    assert_eq!(played.prompt().turns, [turn(Role::User, "Hello?")]);
    assert_eq!(played.prompt().instructions.as_deref(), Some("Be kind."), "the session's");
    played.end(&id, Finish::Stop);
    played.respond(&json!({"input": []}));
    assert_eq!(played.prompt().turns, []);
}

#[test]
fn a_cancelled_answer_keeps_what_was_written() {
    let mut played = Played::new(setting());
    let id = played.respond(&json!({}));
    played.piece(&id, "Hel");
    let told = played.say(&json!({"type": "response.cancel"}));
    assert_eq!(types(&told), END);
    let done = &told[4]["response"];
    assert_eq!(done["status"], "cancelled");
    assert_eq!(done["status_details"], json!({"type": "cancelled", "reason": "client_cancelled"}));
    assert_eq!((&done["output"][0]["status"], &done["usage"]), (&json!("incomplete"), &Value::Null));
    assert!(matches!(played.asked.last(), Some(Effect::Stop)), "the model is stopped");
    assert!(played.piece(&id, "lo").is_empty(), "what comes late is of no response");
    assert!(played.end(&id, Finish::Stop).is_empty());
    // By its id, before there is anything of it.
    let id = played.respond(&json!({"conversation": "none"}));
    let told = played.say(&json!({"type": "response.cancel", "response_id": id}));
    assert_eq!(types(&told), ["response.done"]);
    assert_eq!(told[0]["response"]["output"], json!([]));
    played.respond(&json!({}));
    assert_eq!(played.prompt().turns, [turn(Role::Assistant, "Hel")]);
}

#[test]
fn an_answer_that_is_cut_off_is_incomplete() {
    let mut played = Played::new(setting());
    let id = played.respond(&json!({}));
    played.piece(&id, "Hel");
    let told = played.end(&id, Finish::Length);
    let done = &told[4]["response"];
    assert_eq!(done["status_details"], json!({"type": "incomplete", "reason": "max_output_tokens"}));
    assert_eq!((&done["status"], &done["usage"]["output_tokens"]), (&json!("incomplete"), &json!(2)));
    // Here, because it is longer than a text may be, in the middle of a character.
    let limits = SessionLimits { text_bytes: 4, ..SessionLimits::default() };
    let mut played = Played::new(Setting { limits, instructions: None, ..setting() });
    let id = played.respond(&json!({}));
    let told = played.piece(&id, "Allô");
    assert_eq!(types(&told)[4..], END);
    assert_eq!(told[3]["delta"], "All");
    assert_eq!(told[8]["response"]["status_details"]["reason"], "max_output_tokens");
    assert!(matches!(played.asked.last(), Some(Effect::Stop)));
}

#[test]
fn a_failed_answer_says_why() {
    let kinds = [
        (FailureKind::Overloaded { retry_after: Duration::from_secs(1) }, "rate_limit_error", "overloaded"),
        (FailureKind::Invalid, "invalid_request_error", "invalid_prompt"),
        (FailureKind::Failed, "server_error", "model_failure"),
        (FailureKind::ShuttingDown, "server_error", "shutting_down"),
    ];
    let mut played = Played::new(setting());
    for (kind, r#type, code) in kinds {
        let id = played.respond(&json!({}));
        let effects = played.machine.failed(&id, failure(kind));
        let told = played.take(effects);
        assert_eq!(types(&told), ["response.done"]);
        let details = json!({"type": "failed",
            "error": {"type": r#type, "code": code, "message": "it does not work; try another"}});
        assert_eq!(told[0]["response"]["status_details"], details);
    }
    let id = played.respond(&json!({}));
    played.piece(&id, "Hel");
    let effects = played.machine.failed(&id, failure(FailureKind::Failed));
    let told = played.take(effects);
    assert_eq!(types(&told), END);
}

#[test]
fn an_empty_answer_has_an_item_all_the_same() {
    let mut played = Played::new(setting());
    let id = played.respond(&json!({}));
    let told = played.end(&id, Finish::Stop);
    assert_eq!(types(&told)[3..], END);
    assert_eq!(told[7]["response"]["output"][0]["content"], json!([{"type": "output_text", "text": ""}]));
}

#[test]
fn an_answer_without_audio_is_truncated_to_nothing() {
    let mut played = Played::new(setting());
    played.create("a", "assistant", "Hello.");
    let told = played.say(
        &json!({"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 0}),
    );
    assert_eq!(types(&told), ["conversation.item.truncated"]);
    assert_eq!((&told[0]["item_id"], &told[0]["audio_end_ms"]), (&json!("a"), &json!(0)));
    let told = played.say(&json!({"type": "conversation.item.retrieve", "item_id": "a"}));
    assert_eq!(told[0]["item"]["content"][0]["text"], "");
    played.respond(&json!({}));
    assert_eq!(played.prompt().turns, []);
}

#[test]
fn passages_come_with_the_question_and_are_named_at_the_end() {
    let mut played = Played::new(Setting { cites: true, ..setting() });
    played.create("q", "user", "Where?");
    played.create("a", "assistant", "Where what?");
    let id = played.respond(&json!({}));
    let Some(Effect::Cite { question, .. }) = played.asked.last() else { panic!("{:?}", played.asked) };
    assert_eq!(question, "Where?");
    assert!(played.piece(&id, "too early").is_empty());
    let passage =
        Passage { path: "notes/a.md".to_owned(), lines: (3, 5), text: "Here.\n".into(), score: 0.5 };
    let effects = played.machine.cited(&id, Ok(vec![passage]));
    assert!(played.take(effects).is_empty());
    let [question, answer] = played.prompt().turns.as_slice() else { panic!("{:?}", played.prompt()) };
    assert_eq!(*answer, turn(Role::Assistant, "Where what?"));
    let [Part::Text(cited), Part::Text(asked)] = question.parts.as_slice() else { panic!("{question:?}") };
    assert!(cited.contains("[1] notes/a.md, lines 3 to 5:\nHere.\n"), "{cited}");
    assert_eq!(&**asked, "Where?");
    let told = played.end(&id, Finish::Stop);
    let citations = json!([{"path": "notes/a.md", "lines": [3, 5], "score": 0.5}]);
    assert_eq!(told.last().unwrap()["response"]["citations"], citations);
    // The conversation itself stays as it was.
    let told = played.say(&json!({"type": "conversation.item.retrieve", "item_id": "q"}));
    assert_eq!(told[0]["item"]["content"], json!([{"type": "input_text", "text": "Where?"}]));
}

#[test]
fn an_answer_goes_on_without_passages_where_none_can_be_found() {
    let mut played = Played::new(Setting { cites: true, ..setting() });
    played.create("q", "user", "Where?");
    let id = played.respond(&json!({}));
    let effects = played.machine.cited(&id, Err(failure(FailureKind::Failed)));
    let told = played.take(effects);
    assert_eq!(types(&told), ["error"]);
    assert_eq!(told[0]["error"]["code"], "context_failed");
    assert_eq!(played.prompt().turns, [turn(Role::User, "Where?")]);
    played.end(&id, Finish::Stop);
    // Where nothing is asked, nothing is looked for.
    played.respond(&json!({"input": []}));
    assert!(matches!(played.asked.last(), Some(Effect::Respond { .. })));
    let effects = played.machine.progress(Progress { files: 3, ..Progress::default() });
    let told = played.take(effects);
    assert_eq!(types(&told), ["context.updated"]);
    assert_eq!(told[0]["progress"]["files"], 3);
}

#[test]
fn a_close_ends_the_response_first_and_counts_once() {
    let mut played = Played::new(setting());
    let id = played.respond(&json!({}));
    played.piece(&id, "Hel");
    let effects = played.machine.close(CloseCode::ShuttingDown);
    let told = played.take(effects);
    assert_eq!(types(&told), END);
    assert_eq!(
        told[4]["response"]["status_details"],
        json!({"type": "cancelled"}),
        "no client has cancelled it"
    );
    assert!(matches!(played.asked.last(), Some(Effect::Close(CloseCode::ShuttingDown))));
    assert!(played.machine.close(CloseCode::Internal).is_empty());
    assert!(played.machine.piece(&id, Piece::Text("lo".to_owned())).is_empty());
    assert!(played.machine.progress(Progress::default()).is_empty());
    let message = ClientMessage::read(br#"{"type": "response.create"}"#);
    assert!(played.machine.message(message, Duration::ZERO).is_empty());
}
