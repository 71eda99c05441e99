//! What transformers' `apply_chat_template` renders, byte for byte; and templates that are broken or hostile.

use generation::{Chat, ChatTemplate, TemplateError};
use serde_json::{Value, json};

/// One case of `tests/fixtures/chat_templates.json`.
pub(crate) fn chat(case: &Value, now: &str) -> Chat {
    let given: Value = serde_json::from_str(case["chat"].as_str().unwrap()).unwrap();
    let flag = |name: &str| given.get(name).and_then(Value::as_bool).unwrap_or(false);
    let mut chat = Chat::new(given["messages"].as_array().unwrap().clone());
    chat.tools = given.get("tools").cloned();
    chat.add_generation_prompt = flag("add_generation_prompt");
    chat.continue_final_message = flag("continue_final_message");
    chat.now = Some(now.parse().unwrap());
    chat.variables.insert("bos_token".to_owned(), "<s>".into());
    chat.variables.insert("eos_token".to_owned(), "</s>".into());
    if let Some(variables) = given.get("variables").and_then(Value::as_object) {
        chat.variables.extend(variables.clone());
    }
    chat
}

/// What differs, a line a case.
pub(crate) fn differences(fixture: &Value) -> Vec<String> {
    let now = fixture["now"].as_str().unwrap();
    let mut wrong = Vec::new();
    for case in fixture["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let source = match &case["template"] {
            Value::String(source) => ChatTemplate::new(source).map(Some),
            other => ChatTemplate::of_config(other),
        };
        let rendered = source.and_then(|template| template.unwrap().render(&chat(case, now)));
        match (rendered, case.get("text").and_then(Value::as_str)) {
            (Ok(text), Some(expected)) if text == expected => {}
            (Err(error), None) => {
                assert!(!error.to_string().contains('\n'), "{name}: {error}");
                let expected = case["error"].as_str().unwrap();
                let raised = expected.strip_prefix("TemplateError: ");
                let told = |raised: &str| matches!(&error, TemplateError::Refused(told) if told == raised);
                if !raised.is_none_or(told) {
                    wrong.push(format!("{name}: {error}\n  expected {expected}"));
                }
            }
            (rendered, expected) => {
                wrong.push(format!(
                    "{name}:\n  got      {rendered:?}\n  expected {expected:?} {}",
                    case["error"]
                ));
            }
        }
    }
    wrong
}

#[test]
fn templates_render_as_transformers_has_it() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/chat_templates.json")).unwrap();
    let wrong = differences(&fixture);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_template_that_loops_is_stopped() {
    let sources = [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro again() %}{{ again() }}{{ again() }}{% endmacro %}{{ again() }}",
        "{% set ns = namespace(text='xxxxxxxx') %}{% for i in range(60) %}{% set ns.text = ns.text ~ ns.text %}{% endfor %}",
        "{{ 'x' * 99999999 * 10 }}",
        "{{ messages | tojson * 90000000 }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(20) %}{% set ns.l = ns.l + ns.l %}{% endfor %}\
         {{ [ns.l, ns.l, ns.l] | tojson }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = {1: ns.l, 2: ns.l} %}{% endfor %}\
         {{ ns.l | string }}",
    ];
    for source in sources {
        let template = ChatTemplate::new(source).unwrap();
        let error = template.render(&Chat::new(vec![json!({"role": "user", "content": "x"})])).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("chat template") && !message.contains('\n'), "{source}: {message}");
        let expected = ["it loops", "recursion limit", "is too large"];
        assert!(expected.iter().any(|reason| message.contains(reason)), "{source}: {message}");
    }
}

#[test]
fn what_is_wrong_is_told_in_one_line() {
    let syntax = ChatTemplate::new("a\n{% for %}").unwrap_err().to_string();
    assert!(syntax.starts_with("the model's chat template has an error in line 2: "), "{syntax}");
    let render = |source: &str, messages: Vec<Value>| {
        let chat = Chat::new(messages);
        ChatTemplate::new(source).unwrap().render(&chat).unwrap_err().to_string()
    };
    let message = || vec![json!({"role": "user", "content": "x"})];
    let cases = [
        (render("\n{{ nope() }}", message()), "failed in line 2: unknown function"),
        (render("{{ messages[0] | nope }}", message()), "nope"),
        (render("{{ messages.append(1) }}", message()), "would change a value"),
        (render("{{ raise_exception('only user') }}", message()), "refuses these messages: only user"),
        (render("x", Vec::new()), "messages is an empty list"),
        (render("x", vec![json!("hello")]), "a message is no object"),
        (render("{{ missing | tojson }}", message()), "no JSON"),
        (
            render("\n{% for tool in tools %}{{ tool }}{% endfor %}", message()),
            "failed in line 2: invalid operation: none cannot",
        ),
    ];
    for (got, expected) in cases {
        assert!(got.contains(expected), "{got:?} lacks {expected:?}");
    }
}

#[test]
fn one_of_several_templates_is_taken() {
    let named =
        json!([{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "<tool_call>"}]);
    let template = ChatTemplate::of_config(&named).unwrap().unwrap();
    let mut chat = Chat::new(vec![json!({"role": "user", "content": "x"})]);
    assert_eq!(template.render(&chat).unwrap(), "plain");
    chat.tools = Some(json!([{"type": "function", "function": {"name": "t"}}]));
    assert_eq!(template.render(&chat).unwrap(), "<tool_call>");
    assert!(template.tool_format().is_some());
    assert!(ChatTemplate::of_config(&Value::Null).unwrap().is_none());
    let error = ChatTemplate::of_config(&json!([{"name": "rag", "template": "x"}])).unwrap_err();
    assert!(error.to_string().contains("there are: rag"), "{error}");
}
