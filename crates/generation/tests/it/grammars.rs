//! Answers that follow a grammar, whatever the model would rather say.

use std::time::Duration;

use generation::{FinishReason, SamplingParams, Tool, ToolFormat, Tools, Vocabulary};
use pool_core::Error;
use serde_json::{Value, json};

use crate::scripted::{Ask, Choosing, Pool, Script, ask};
use crate::vocabulary::Bytes;

fn with_schema(seed: u64, schema: Value) -> Ask {
    let sampling = SamplingParams { seed, ..SamplingParams::default() };
    Ask { schema: Some(schema), max_tokens: Some(300), sampling, ..ask("give me JSON") }
}

fn person() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 6, "pattern": "^[a-zé]+$"},
            "true": {"type": "boolean"},
            "kind": {"enum": ["add", "hello"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 20},
        },
        "required": ["name", "true", "kind", "count"],
        "additionalProperties": false,
    })
}

#[tokio::test]
async fn an_answer_is_what_its_schema_says() {
    let pool = Pool::new(Script::ample()).await;
    for seed in 0..20 {
        let mut one = with_schema(seed, person());
        // With logarithms no token is forced: the grammar is asked for each.
        one.sampling.logprobs = (seed % 2 == 0).then_some(2);
        let answer = pool.answer(one).await.unwrap();
        let choice = &answer.choices[0];
        assert_eq!(choice.finish, FinishReason::Stop, "{}", choice.text);
        let value: Value = serde_json::from_str(&choice.text).unwrap();
        let name = value["name"].as_str().unwrap();
        assert!(
            (1..=6).contains(&name.chars().count())
                && name.chars().all(|c| c.is_ascii_lowercase() || c == 'é')
        );
        assert!(value["true"].is_boolean());
        assert!(["add", "hello"].contains(&value["kind"].as_str().unwrap()));
        assert!((1..=20).contains(&value["count"].as_i64().unwrap()));
        assert_eq!(value.as_object().unwrap().len(), 4);
    }
    pool.emptied().await;
}

#[tokio::test]
async fn tokens_that_must_follow_are_not_asked_for() {
    let pool = Pool::new(Script::ample()).await;
    let schema = json!({
        "type": "object",
        "properties": {"a_rather_long_name_of_a_field": {"const": "and a rather long constant for its only value"}},
        "required": ["a_rather_long_name_of_a_field"],
        "additionalProperties": false,
    });
    let (deltas, answer) = pool.stream(with_schema(1, schema)).await;
    let answer = answer.unwrap();
    let choice = &answer.choices[0];
    let value: Value = serde_json::from_str(&choice.text).unwrap();
    assert_eq!(value["a_rather_long_name_of_a_field"], "and a rather long constant for its only value");
    assert!(answer.usage.completion > 50);
    // Only around white space is there anything to choose.
    assert!(deltas.len() < 30, "{} steps for {} tokens", deltas.len(), answer.usage.completion);
}

#[tokio::test]
async fn any_object_and_any_length() {
    let pool = Pool::new(Script::ample()).await;
    let mut whole = 0;
    for seed in 0..12 {
        let mut one = with_schema(seed, json!({"type": "object"}));
        // No numbers beyond what a double holds: they are JSON, but cannot be read here.
        one.sampling.logit_bias = vec![(u32::from(b'e'), -100.0), (u32::from(b'E'), -100.0)];
        let answer = pool.answer(one).await.unwrap();
        let choice = &answer.choices[0];
        match choice.finish {
            FinishReason::Stop => {
                assert!(serde_json::from_str::<Value>(&choice.text).unwrap().is_object());
                whole += 1;
            }
            reason => assert_eq!((reason, answer.usage.completion), (FinishReason::Length, 300)),
        }
    }
    assert!(whole > 0);
}

#[tokio::test]
async fn schemas_that_cannot_be_followed_are_refused() {
    let pool = Pool::new(Script::ample()).await;
    for (schema, expected) in [
        (json!([1]), "is no object"),
        (json!({"type": "nothing"}), "JSON schema cannot be followed"),
        (json!({"type": "string", "pattern": "("}), "JSON schema cannot be followed"),
        (json!({"$ref": "#/$defs/missing"}), "JSON schema cannot be followed"),
        (json!({"type": "object", "unevaluatedProperties": 7}), "JSON schema cannot be followed"),
        (json!({"type": "integer", "minimum": 5, "maximum": 1}), "JSON schema cannot be followed"),
    ] {
        let error = pool.answer(with_schema(1, schema.clone())).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{schema}: {error}");
        let message = error.to_string();
        assert!(message.contains(expected) && !message.contains('\n'), "{schema}: {message}");
    }
    assert!(pool.answer(ask("x")).await.is_ok());
}

#[tokio::test]
async fn a_model_without_end_tokens_follows_no_grammar() {
    let pool = Pool::with(Script::ample(), Bytes { ends: Vec::new() }).await;
    let error = pool.answer(with_schema(1, person())).await.unwrap_err().to_string();
    assert!(error.contains("names no end token"), "{error}");
}

fn tools() -> Tools {
    let number = json!({"type": "integer", "minimum": 0, "maximum": 99});
    let add = json!({
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/number"}, "b": {"$ref": "#/$defs/number"}},
        "required": ["a", "b"],
        "additionalProperties": false,
        "$defs": {"number": number},
    });
    let hello = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let tool = |name: &str, parameters| Tool { name: name.to_owned(), description: None, parameters };
    Tools::new(vec![tool("add", add), tool("hello", hello)]).unwrap()
}

#[tokio::test]
async fn a_required_call_is_made_in_every_format() {
    use ToolFormat::{CommandR, DeepSeek, Hermes, InternLm, Llama3, Mistral};
    let pool = Pool::new(Script::ample()).await;
    for format in [Hermes, Mistral, Llama3, DeepSeek, InternLm, CommandR] {
        let mut called = Vec::new();
        for seed in 0..6 {
            // No more white space or calls than there must be.
            let unwanted = b" \t\r\n,".iter().map(|byte| u32::from(*byte)).chain([crate::vocabulary::COMMA]);
            let logit_bias = unwanted.map(|token| (token, -100.0)).collect();
            let sampling = SamplingParams { seed, logit_bias, ..SamplingParams::default() };
            let tools = Some((format, tools(), Choosing::Required));
            let one = Ask { tools, max_tokens: Some(380), sampling, ..ask("call") };
            let (deltas, answer) = pool.stream(one).await;
            let choice = answer.unwrap().choices.remove(0);
            assert_eq!(choice.finish, FinishReason::ToolCalls, "{format:?}: {:?}", choice.text);
            assert_eq!(choice.text, "", "{format:?}");
            assert!(!choice.tool_calls.is_empty());
            for call in &choice.tool_calls {
                let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
                match call.name.as_str() {
                    "add" => assert!(
                        arguments["a"].as_u64().unwrap() < 100 && arguments["b"].as_u64().unwrap() < 100
                    ),
                    name => assert_eq!((name, arguments.as_object().unwrap().len()), ("hello", 0)),
                }
                called.push(call.name.clone());
            }
            let streamed: Vec<_> = deltas.into_iter().flat_map(|delta| delta.tool_calls).collect();
            assert_eq!(streamed, choice.tool_calls);
        }
        assert!(called.len() >= 6, "{format:?} made {called:?}");
    }
    pool.emptied().await;
}

#[tokio::test]
async fn tools_that_may_be_called_leave_the_answer_free() {
    let pool = Pool::new(Script::ample()).await;
    let plain = pool.answer(ask("x")).await.unwrap().choices.remove(0);
    let one = Ask { tools: Some((ToolFormat::Hermes, tools(), Choosing::Auto)), ..ask("x") };
    let choice = pool.answer(one).await.unwrap().choices.remove(0);
    assert_eq!(choice, plain);
}

#[tokio::test]
async fn a_call_that_was_begun_is_written_as_its_grammar_says_and_then_the_answer_is_free() {
    let pool = Pool::new(Script::ample()).await;
    let mark = Bytes::new().token("<tool_call>").unwrap();
    let mut called = 0;
    for seed in 0..8 {
        // The mark comes often; nothing else of the format would, by itself.
        let mut logit_bias: Vec<(u32, f32)> = vec![(mark, 4.0)];
        logit_bias.extend(b" \t\r\n".iter().map(|byte| (u32::from(*byte), -100.0)));
        let sampling = SamplingParams { seed, logit_bias, ..SamplingParams::default() };
        let tools = Some((ToolFormat::Hermes, tools(), Choosing::Begun));
        let one = Ask { tools, max_tokens: Some(250), sampling, ..ask("call if you like") };
        let choice = pool.answer(one.clone()).await.unwrap().choices.remove(0);
        assert!(choice.tool_calls.iter().all(|call| ["add", "hello"].contains(&call.name.as_str())));
        // Only the last may be cut off, by the length.
        assert!(choice.text.matches("<tool_call>").count() <= 1, "{:?}", choice.text);
        assert!(!choice.text.contains("</tool_call>{"), "{:?}", choice.text);
        called += choice.tool_calls.len();
        // One that may make a single call ends with it.
        let single = pool.answer(Ask { one_call: true, ..one.clone() }).await.unwrap().choices.remove(0);
        assert_eq!(single.tool_calls, choice.tool_calls[..choice.tool_calls.len().min(1)]);
        assert_eq!(single.finish == FinishReason::ToolCalls, !choice.tool_calls.is_empty(), "{single:?}");
        // Without the grammar it is no call.
        let free = Ask { tools: one.tools.map(|(format, tools, _)| (format, tools, Choosing::Auto)), ..one };
        assert!(pool.answer(free).await.unwrap().choices[0].tool_calls.is_empty());
    }
    assert!(called > 8, "{called}");
}

/// Schemas that ask for as much as they can.
fn hostile_schemas() -> Vec<(&'static str, Value)> {
    let object = |field: String, schema: Value| json!({"type": "object", "properties": {field.clone(): schema}, "required": [field]});
    let nested =
        |depth| (0..depth).fold(json!({"type": "integer"}), |inner, _| object("a".to_owned(), inner));
    let choice = |of: usize, at: usize| {
        let one = |i: usize| {
            let pattern = format!("^a{{1,{}}}b*$", i + 1);
            object(format!("p{at}_{i}"), json!({"type": "string", "pattern": pattern}))
        };
        json!({"anyOf": (0..of).map(one).collect::<Vec<_>>()})
    };
    let product = |of: usize| json!({"allOf": (0..of).map(|at| choice(of, at)).collect::<Vec<_>>()});
    let matching = |pattern: &str| json!({"type": "string", "pattern": pattern});
    // Each refers to the next.
    let chain = |length: usize, link: fn(Value) -> Value| {
        let part = |at: usize| match at + 1 == length {
            true => json!({"type": "integer"}),
            false => link(json!({"$ref": format!("#/$defs/d{}", at + 1)})),
        };
        let parts: serde_json::Map<_, _> = (0..length).map(|at| (format!("d{at}"), part(at))).collect();
        json!({"$ref": "#/$defs/d0", "$defs": parts})
    };
    vec![
        ("references", chain(250, |next| next)),
        ("references in lists", chain(120, |next| json!({"type": "array", "items": next, "minItems": 1}))),
        ("references in products", chain(120, |next| json!({"allOf": [next, {"minimum": 3}]}))),
        ("references without end", chain(5000, |next| next)),
        ("a long text", json!({"type": "string", "minLength": 1_000_000})),
        ("a text of some length", json!({"type": "string", "minLength": 100_000, "maxLength": 1_000_000})),
        ("a repeated choice", matching("^(a|b){1,5000}$")),
        ("repetitions of repetitions", matching("^(((a|b){1,500}){1,500}){1,500}$")),
        ("a far look back", matching(".*a.{500}b.{500}c.*")),
        ("brackets", matching(&format!("^{}a{}$", "(".repeat(5000), ")".repeat(5000)))),
        ("many items", json!({"type": "array", "items": {"type": "integer"}, "maxItems": 1_000_000})),
        ("no fewer items", json!({"type": "array", "items": {"type": "integer"}, "minItems": 1_000_000})),
        ("a product", product(4)),
        ("a large product", product(8)),
        ("depth", nested(50)),
        ("more depth", nested(100)),
        ("depth far beyond", nested(300)),
        ("itself", json!({"$ref": "#/$defs/d", "$defs": {"d": {"allOf": [{"$ref": "#/$defs/d"}]}}})),
    ]
}

#[tokio::test]
async fn a_pattern_with_too_many_states_is_given_up() {
    let mut script = Script::new(crate::scripted::shape(16, &[(None, 400)]));
    script.context = 3000;
    let pool = Pool::new(script).await;
    let pattern = json!({"type": "string", "pattern": ".*a.{500}b.{500}c.*"});
    let mut one = Ask { max_tokens: Some(1500), ..with_schema(1, pattern) };
    one.sampling.logit_bias =
        [(b'a', 9.0), (b'b', 9.0), (b'"', -9.0)].map(|(byte, bias)| (byte.into(), bias)).into();
    let error = pool.answer(one).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("response_format: ") && message.contains("too many states"), "{message}");
}

#[tokio::test]
async fn schemas_that_ask_for_too_much_are_refused_in_one_line_or_followed() {
    let pool = Pool::new(Script::ample()).await;
    for (name, schema) in hostile_schemas() {
        let mut one = with_schema(1, schema);
        // Long texts rather than short ones.
        one.sampling.logit_bias =
            [(b'a', 9.0), (b'b', 9.0), (b'"', -9.0)].map(|(byte, bias)| (byte.into(), bias)).into();
        let answer = tokio::time::timeout(Duration::from_secs(60), pool.answer(one)).await;
        match answer.unwrap_or_else(|_| panic!("{name} has no end")) {
            Ok(answer) => assert!(answer.usage.completion > 0),
            Err(error) => {
                assert!(matches!(error, Error::Invalid { .. }), "{name}: {error}");
                let message = error.to_string();
                assert!(
                    message.contains("response_format: ") && !message.contains('\n'),
                    "{name}: {message}"
                );
            }
        }
    }
    let deep =
        with_schema(1, hostile_schemas().into_iter().find(|(name, _)| *name == "more depth").unwrap().1);
    let error = pool.answer(deep).await.unwrap_err().to_string();
    assert!(error.contains("; accepted: at most 128") && error.contains("is nested"), "{error}");
}
