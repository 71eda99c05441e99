//! Each refusal: its code, the parameter that it names, and that the session lives on.

use serde_json::json;

use super::*;

/// What a session with the items `u` (a person's) and `a` (an answer) refuses.
fn table() -> Vec<(Value, &'static str, Option<&'static str>)> {
    let update = |session: Value| json!({"type": "session.update", "session": session});
    let respond = |response: Value| json!({"type": "response.create", "response": response});
    let create = |item: Value| json!({"type": "conversation.item.create", "item": item});
    let user = |content: Value| create(json!({"type": "message", "role": "user", "content": content}));
    let said = json!([{"type": "input_text", "text": "a"}]);
    let truncate = |item: &str, part: Value, ms: Value| json!({"type": "conversation.item.truncate", "item_id": item, "content_index": part, "audio_end_ms": ms});
    let image = |url: &str| user(json!([{"type": "input_image", "image_url": url}]));
    let many: serde_json::Map<String, Value> = (0..17).map(|n| (n.to_string(), json!("a"))).collect();
    vec![
        // Events.
        (json!([]), "invalid_event", None),
        (json!({}), "missing_required_parameter", Some("type")),
        (json!({"type": 3}), "invalid_type", Some("type")),
        (json!({"type": "conversation.item.create"}), "missing_required_parameter", Some("item")),
        (json!({"type": "tea.make"}), "invalid_value", Some("type")),
        (json!({"type": "input_audio_buffer.append", "audio": "AAAA"}), "unsupported_event", Some("type")),
        (json!({"type": "input_audio_buffer.commit"}), "unsupported_event", Some("type")),
        (json!({"type": "input_audio_buffer.clear"}), "unsupported_event", Some("type")),
        (json!({"type": "output_audio_buffer.clear"}), "unsupported_event", Some("type")),
        (json!({"type": "response.cancel", "event_id": 3}), "invalid_type", Some("event_id")),
        (json!({"type": "response.cancel", "event_id": "e".repeat(513)}), "invalid_value", Some("event_id")),
        (json!({"type": "response.cancel", "why": "so"}), "unknown_parameter", Some("why")),
        // Sessions.
        (json!({"type": "session.update"}), "missing_required_parameter", Some("session")),
        (update(json!(1)), "invalid_type", Some("session")),
        (update(json!({"type": "transcription"})), "invalid_value", Some("session.type")),
        (update(json!({"model": "large"})), "invalid_value", Some("session.model")),
        (update(json!({"instructions": 1})), "invalid_type", Some("session.instructions")),
        (update(json!({"max_output_tokens": 0})), "invalid_value", Some("session.max_output_tokens")),
        (update(json!({"max_output_tokens": -1})), "invalid_value", Some("session.max_output_tokens")),
        (update(json!({"max_output_tokens": 1.5})), "invalid_value", Some("session.max_output_tokens")),
        (update(json!({"max_output_tokens": "few"})), "invalid_value", Some("session.max_output_tokens")),
        (update(json!({"max_output_tokens": []})), "invalid_type", Some("session.max_output_tokens")),
        (
            update(json!({"output_modalities": ["audio"]})),
            "unsupported_parameter",
            Some("session.output_modalities"),
        ),
        (update(json!({"output_modalities": "text"})), "invalid_type", Some("session.output_modalities")),
        (
            update(json!({"tools": [{"type": "function", "name": "f"}]})),
            "unsupported_parameter",
            Some("session.tools"),
        ),
        (update(json!({"tool_choice": "required"})), "unsupported_parameter", Some("session.tool_choice")),
        (
            update(json!({"audio": {"output": {"voice": "ash"}}})),
            "unsupported_parameter",
            Some("session.audio"),
        ),
        (update(json!({"prompt": {"id": "p"}})), "unsupported_parameter", Some("session.prompt")),
        (update(json!({"reasoning": {"effort": "low"}})), "unsupported_parameter", Some("session.reasoning")),
        (
            update(json!({"parallel_tool_calls": true})),
            "unsupported_parameter",
            Some("session.parallel_tool_calls"),
        ),
        (update(json!({"include": ["a"]})), "unsupported_parameter", Some("session.include")),
        (update(json!({"tracing": "auto"})), "unsupported_parameter", Some("session.tracing")),
        (update(json!({"truncation": "auto"})), "unsupported_parameter", Some("session.truncation")),
        (update(json!({"modalities": ["text"]})), "unknown_parameter", Some("session.modalities")),
        (
            update(json!({"instructions": "a".repeat(101)})),
            "string_above_max_length",
            Some("session.instructions"),
        ),
        // Items.
        (create(json!({"type": "function_call"})), "invalid_value", Some("item.type")),
        (create(json!({"type": "message"})), "missing_required_parameter", Some("item.role")),
        (
            create(json!({"type": "message", "role": "tool", "content": said})),
            "invalid_value",
            Some("item.role"),
        ),
        (
            create(json!({"type": "message", "role": "user"})),
            "missing_required_parameter",
            Some("item.content"),
        ),
        (user(json!("a")), "invalid_type", Some("item.content")),
        (user(json!([])), "empty_array", Some("item.content")),
        (user(json!([{"type": "text", "text": "a"}])), "invalid_value", Some("item.content[0].type")),
        (user(json!([{"type": "output_text", "text": "a"}])), "invalid_value", Some("item.content[0].type")),
        (
            user(json!([{"type": "input_audio", "audio": "A"}])),
            "unsupported_parameter",
            Some("item.content[0].type"),
        ),
        (user(json!([{"type": "input_text"}])), "missing_required_parameter", Some("item.content[0].text")),
        (
            user(json!([{"type": "input_text", "text": "a", "b": 1}])),
            "unknown_parameter",
            Some("item.content[0].b"),
        ),
        (
            user(json!([{"type": "input_text", "text": "a".repeat(101)}])),
            "string_above_max_length",
            Some("item.content"),
        ),
        (
            create(json!({"type": "message", "role": "system", "content": [{"type": "input_image"}]})),
            "invalid_value",
            Some("item.content[0].type"),
        ),
        (
            create(json!({"type": "message", "role": "assistant", "content": said})),
            "invalid_value",
            Some("item.content[0].type"),
        ),
        (
            create(json!({"id": "u", "type": "message", "role": "user", "content": said})),
            "item_create_duplicate_item_id",
            Some("item.id"),
        ),
        (
            create(json!({"id": "", "type": "message", "role": "user", "content": said})),
            "invalid_value",
            Some("item.id"),
        ),
        (
            create(json!({"id": "root", "type": "message", "role": "user", "content": said})),
            "invalid_value",
            Some("item.id"),
        ),
        (
            create(json!({"id": "i".repeat(65), "type": "message", "role": "user", "content": said})),
            "invalid_value",
            Some("item.id"),
        ),
        (
            create(json!({"type": "message", "role": "user", "content": said, "status": "new"})),
            "invalid_value",
            Some("item.status"),
        ),
        (
            create(json!({"type": "message", "role": "user", "content": said, "name": "n"})),
            "unknown_parameter",
            Some("item.name"),
        ),
        (image("https://example.com/a.png"), "invalid_value", Some("item.content[0].image_url")),
        (image("data:text/plain;base64,AAAA"), "invalid_value", Some("item.content[0].image_url")),
        (image("data:image/png,AAAA"), "invalid_value", Some("item.content[0].image_url")),
        (image("data:image/png;base64,"), "invalid_value", Some("item.content[0].image_url")),
        (image("data:image/png;base64,?"), "invalid_value", Some("item.content[0].image_url")),
        (image("data:image/png;base64,AAAA"), "unsupported_content", Some("item.content")),
        (
            user(
                json!([{"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}]),
            ),
            "invalid_value",
            Some("item.content[0].detail"),
        ),
        (
            json!({"type": "conversation.item.create", "previous_item_id": "none", "item": {"type": "message", "role": "user", "content": said}}),
            "item_create_invalid_previous_item_id",
            Some("previous_item_id"),
        ),
        (json!({"type": "conversation.item.retrieve"}), "missing_required_parameter", Some("item_id")),
        (
            json!({"type": "conversation.item.retrieve", "item_id": "none"}),
            "item_retrieve_invalid_item_id",
            Some("item_id"),
        ),
        (
            json!({"type": "conversation.item.delete", "item_id": "none"}),
            "item_delete_invalid_item_id",
            Some("item_id"),
        ),
        (truncate("none", json!(0), json!(0)), "item_truncate_invalid_item_id", Some("item_id")),
        (truncate("u", json!(0), json!(0)), "item_truncate_invalid_item_id", Some("item_id")),
        (truncate("a", json!(1), json!(0)), "invalid_value", Some("content_index")),
        (truncate("a", json!(0), json!(1)), "invalid_value", Some("audio_end_ms")),
        (truncate("a", json!(-1), json!(1)), "invalid_type", Some("content_index")),
        // Responses.
        (respond(json!([])), "invalid_type", Some("response")),
        (respond(json!({"conversation": "conv_1"})), "invalid_value", Some("response.conversation")),
        (respond(json!({"input": "a"})), "invalid_type", Some("response.input")),
        (
            respond(json!({"input": [{"type": "item_reference", "id": "none"}]})),
            "item_reference_invalid_item_id",
            Some("response.input[0].id"),
        ),
        (
            respond(json!({"input": [{"type": "item_reference"}]})),
            "missing_required_parameter",
            Some("response.input[0].id"),
        ),
        (
            respond(json!({"input": [{"type": "message", "role": "user", "content": []}]})),
            "empty_array",
            Some("response.input[0].content"),
        ),
        (
            respond(json!({"input": vec![json!({"type": "item_reference", "id": "u"}); 6]})),
            "array_above_max_length",
            Some("response.input"),
        ),
        (
            respond(json!({"input": vec![json!({"type": "item_reference", "id": "b"}); 5]})),
            "input_too_large",
            Some("response.input"),
        ),
        (
            respond(json!({"instructions": "a".repeat(101)})),
            "string_above_max_length",
            Some("response.instructions"),
        ),
        (respond(json!({"metadata": "a"})), "invalid_type", Some("response.metadata")),
        (respond(json!({"metadata": {"a": 1}})), "invalid_type", Some("response.metadata")),
        (respond(json!({"metadata": {"a": "b".repeat(513)}})), "invalid_value", Some("response.metadata")),
        (respond(json!({"metadata": many})), "invalid_value", Some("response.metadata")),
        (
            respond(json!({"output_modalities": ["text", "audio"]})),
            "unsupported_parameter",
            Some("response.output_modalities"),
        ),
        (respond(json!({"audio": {}})), "unsupported_parameter", Some("response.audio")),
        (respond(json!({"temperature": 1})), "unknown_parameter", Some("response.temperature")),
        (json!({"type": "response.cancel"}), "response_cancel_not_active", None),
        (
            json!({"type": "response.cancel", "response_id": "resp_1"}),
            "response_cancel_not_active",
            Some("response_id"),
        ),
    ]
}

fn small() -> Setting {
    let limits =
        SessionLimits { items: 5, bytes: 1700, text_bytes: 100, errors: 1000, ..SessionLimits::default() };
    Setting { limits, sees: false, ..setting() }
}

#[test]
fn whatever_is_refused_is_refused_by_name_and_changes_nothing() {
    let mut played = Played::new(small());
    played.create("u", "user", "Hello?");
    played.create("a", "assistant", "Hello.");
    played.create("b", "user", &"b".repeat(100));
    for (mut event, code, param) in table() {
        let named = event.get("event_id").is_none() && event.is_object();
        if named {
            event["event_id"] = json!("mine");
        }
        let error = played.refused(&event);
        assert_eq!((&error["code"], error["param"].as_str()), (&json!(code), param), "{event}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["event_id"].as_str(), named.then_some("mine"), "{event}");
        let message = error["message"].as_str().unwrap();
        assert!(!message.contains('\n') && message.len() < 300, "one bearable line: {message}");
        assert_eq!(played.checked.active(), None);
    }
    assert_eq!(played.checked.items, ["u", "a", "b"]);
    let told = played.say(&json!({"type": "session.update", "session": {}}));
    assert_eq!(told[0]["session"]["instructions"], "Be kind.", "nothing of a refused update stays");
    assert_eq!(told[0]["session"]["max_output_tokens"], "inf");
}

#[test]
fn an_error_names_what_is_not_understood() {
    let mut played = Played::new(setting());
    let error = played.refused(&json!({"type": "input_audio_buffer.append"}));
    assert!(error["message"].as_str().unwrap().contains("'input_audio_buffer.append'"), "{error}");
    let error = played.refused(&json!({"type": "tea\u{7}.make"}));
    assert!(error["message"].as_str().unwrap().contains("'tea .make'"), "{error}");
    assert!(error["message"].as_str().unwrap().contains("'response.create'"), "what is understood: {error}");
    let effects = played.machine.message(ClientMessage::read(b"{\"type\":"), Duration::ZERO);
    assert_eq!(played.take(effects)[0]["error"]["code"], "invalid_json");
    let nested = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    let effects = played.machine.message(ClientMessage::read(nested.as_bytes()), Duration::ZERO);
    assert_eq!(played.take(effects)[0]["error"]["code"], "invalid_json", "however deep it is");
}

#[test]
fn there_is_one_response_at_a_time_and_what_it_writes_stays_until_it_is_done() {
    let mut played = Played::new(setting());
    let id = played.respond(&json!({}));
    for response in [json!({}), json!({"conversation": "none"})] {
        let error = played.refused(&json!({"type": "response.create", "response": response}));
        assert_eq!(error["code"], "conversation_already_has_active_response");
        assert!(error["message"].as_str().unwrap().contains(&id), "{error}");
    }
    let item = played.piece(&id, "Hel")[1]["item"]["id"].clone();
    let error = played.refused(&json!({"type": "conversation.item.delete", "item_id": item}));
    assert_eq!(error["code"], "item_delete_in_progress");
    let error = played.refused(
        &json!({"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": 0}),
    );
    assert_eq!(error["code"], "item_truncate_in_progress");
    let error = played.refused(&json!({"type": "response.cancel", "response_id": "resp_other"}));
    assert_eq!(error["code"], "response_cancel_not_active");
    played.say(&json!({"type": "response.cancel", "response_id": id}));
    let id = played.respond(&json!({"conversation": "none"}));
    let error = played.refused(&json!({"type": "response.cancel"}));
    assert_eq!(error["code"], "response_cancel_not_active", "it is not of the conversation");
    assert!(error["message"].as_str().unwrap().contains(&id), "{error}");
}

#[test]
fn a_full_conversation_says_so_and_counts_the_answer_that_is_to_come() {
    let mut played = Played::new(small());
    for id in ["1", "2", "3", "4"] {
        played.create(id, "user", "a");
    }
    let item = |said: &str| {
        let content = json!([{"type": "input_text", "text": said}]);
        json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}})
    };
    let id = played.respond(&json!({}));
    assert_eq!(played.refused(&item("a"))["code"], "conversation_full", "the fifth is the answer's");
    played.piece(&id, "a");
    played.end(&id, Finish::Stop);
    assert_eq!(played.refused(&item("a"))["code"], "conversation_full");
    assert_eq!(played.refused(&json!({"type": "response.create"}))["code"], "conversation_full");
    played.respond(&json!({"conversation": "none"}));
    played.say(&json!({"type": "conversation.item.delete", "item_id": "1"}));
    played.create("6", "user", "a");

    let limits = SessionLimits { bytes: 300, text_bytes: 100, ..SessionLimits::default() };
    let mut played = Played::new(Setting { limits, ..setting() });
    assert_eq!(played.refused(&item(&"a".repeat(50)))["code"], "conversation_full");
    let id = played.respond(&json!({}));
    let told = played.piece(&id, &"b".repeat(320));
    let written = told.last().unwrap()["response"]["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(
        played.machine.conversation.bytes() <= 300 + 128,
        "an answer ends where there is no room: {}",
        written.len()
    );
}

#[test]
fn too_many_errors_close_the_session_after_its_response() {
    let limits = SessionLimits { errors: 3, ..SessionLimits::default() };
    let mut played = Played::new(Setting { limits, ..setting() });
    let id = played.respond(&json!({}));
    played.piece(&id, "Hel");
    let wrong = json!({"type": "tea.make"});
    for _ in 0..3 {
        played.refused(&wrong);
    }
    played.now = Duration::from_secs(1);
    played.refused(&wrong);
    let told = played.say(&wrong);
    assert_eq!(types(&told)[..1], ["error"], "the last is told, too");
    assert_eq!(told.last().unwrap()["response"]["status"], "cancelled");
    assert!(matches!(played.asked.last(), Some(Effect::Close(CloseCode::TooManyErrors))));
}
