use proptest::prelude::*;
use serde_json::json;

use super::{Tool, ToolCall, ToolFormat, ToolParser, Tools};

fn tools() -> Tools {
    let tool =
        |name: &str| Tool { name: name.to_owned(), description: None, parameters: json!({"type": "object"}) };
    Tools::new(vec![tool("add"), tool("sub")]).unwrap()
}

fn call(name: &str, arguments: &str) -> ToolCall {
    ToolCall { name: name.to_owned(), arguments: arguments.to_owned() }
}

/// The plain text and the calls of an answer in pieces.
fn read(format: ToolFormat, pieces: &[&str]) -> (String, Vec<ToolCall>) {
    let mut parser = ToolParser::new(format, tools());
    let (mut text, mut calls) = (String::new(), Vec::new());
    for piece in pieces {
        let (more, read) = parser.push(piece);
        text.push_str(&more);
        calls.extend(read);
    }
    let (more, read) = parser.finish();
    calls.extend(read);
    (text + &more, calls)
}

const DEEPSEEK: &str = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\": 1}\n```\
                        <｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>sub\n```json\n{}\n```<｜tool▁call▁end｜>\
                        <｜tool▁calls▁end｜>";

/// Answers of each family, their text, and their calls.
fn answers() -> Vec<(ToolFormat, &'static str, &'static str, Vec<ToolCall>)> {
    use ToolFormat::{CommandR, DeepSeek, Hermes, InternLm, Llama3, Mistral};
    let add = || call("add", "{\"a\":1}");
    let sub = || call("sub", "{}");
    vec![
        (
            Hermes,
            "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>",
            "",
            vec![add()],
        ),
        (
            Hermes,
            "I add.\n<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 1}}</tool_call>\n<tool_call>\n\
             {\"name\": \"sub\", \"arguments\": {}}\n</tool_call>\n",
            "I add.\n",
            vec![add(), sub()],
        ),
        (Hermes, "no call <tool", "no call <tool", vec![]),
        (Hermes, "  plain \n", "  plain \n", vec![]),
        (Hermes, "<tool_call>not JSON</tool_call> so", "<tool_call>not JSON</tool_call> so", vec![]),
        (
            Hermes,
            "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
            "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
            vec![],
        ),
        // Cut off by the length, but whole.
        (Hermes, "<tool_call>\n{\"name\": \"sub\", \"arguments\": {}}", "", vec![sub()]),
        (
            Hermes,
            "<tool_call>\n{\"name\": \"sub\", \"argu",
            "<tool_call>\n{\"name\": \"sub\", \"argu",
            vec![],
        ),
        (
            Mistral,
            "[TOOL_CALLS] [{\"name\": \"add\", \"arguments\": {\"a\": 1}}, {\"name\": \"sub\", \"arguments\": {}}]",
            "",
            vec![add(), sub()],
        ),
        (Mistral, "[TOOL_CALLS]add[ARGS]{\"a\": 1}[TOOL_CALLS]sub{}", "", vec![add(), sub()]),
        (Llama3, "{\"name\": \"add\", \"parameters\": {\"a\": 1}}", "", vec![add()]),
        (
            Llama3,
            "<|python_tag|>{\"name\": \"add\", \"parameters\": {\"a\": 1}}; {\"name\": \"sub\", \"parameters\": {}}",
            "",
            vec![add(), sub()],
        ),
        (Llama3, "{\"answer\": 5}", "{\"answer\": 5}", vec![]),
        (Llama3, "The sum {\"name\": 1}", "The sum {\"name\": 1}", vec![]),
        (Llama3, "<|pyth", "<|pyth", vec![]),
        (DeepSeek, DEEPSEEK, "", vec![add(), sub()]),
        (
            InternLm,
            "ok <|action_start|><|plugin|>\n{\"name\": \"add\", \"parameters\": {\"a\": 1}}<|action_end|>\n",
            "ok ",
            vec![add()],
        ),
        (
            CommandR,
            "Action: ```json\n[\n  {\"tool_name\": \"add\", \"parameters\": {\"a\": 1}}\n]```",
            "",
            vec![add()],
        ),
        // Arguments as a JSON text within the JSON text.
        (
            Hermes,
            "<tool_call>{\"name\": \"add\", \"arguments\": \"{\\\"a\\\":1}\"}</tool_call>",
            "",
            vec![add()],
        ),
    ]
}

#[test]
fn calls_are_read_and_the_rest_stays_text() {
    for (format, answer, text, calls) in answers() {
        assert_eq!(read(format, &[answer]), (text.to_owned(), calls), "{format:?}: {answer}");
    }
}

proptest! {
    #[test]
    fn answers_in_pieces_come_to_what_they_do_whole(which in 0..19_usize, cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        let (format, answer, text, calls) = answers().swap_remove(which);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (answer.len() + 1)).collect();
        cuts.retain(|cut| answer.is_char_boundary(*cut));
        cuts.extend([0, answer.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|pair| &answer[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(format, &pieces), (text.to_owned(), calls), "{:?}", pieces);
    }
}

#[test]
fn formats_are_known_by_their_templates() {
    let of = ToolFormat::of_template;
    assert_eq!(of("... <tool_call>\n{{ x }}"), Some(ToolFormat::Hermes));
    assert_eq!(of("[TOOL_CALLS]"), Some(ToolFormat::Mistral));
    assert_eq!(of("{{ '<｜tool▁calls▁begin｜>' }}"), Some(ToolFormat::DeepSeek));
    assert_eq!(of("<|python_tag|>"), Some(ToolFormat::Llama3));
    assert_eq!(of("<tool_call><function={{ name }}>"), None);
    assert_eq!(of("{{ messages }}"), None);
}

#[test]
fn tools_that_are_none_are_refused() {
    let tool = |name: &str| Tool { name: name.to_owned(), description: None, parameters: json!({}) };
    let refused = |tools: Vec<Tool>| Tools::new(tools).unwrap_err().to_string();
    assert!(refused(vec![]).contains("empty"));
    assert!(refused(vec![tool("a b")]).contains("\"a b\""));
    assert!(refused(vec![tool("a"), tool("a")]).contains("two are named"));
    let list = Tool { parameters: json!([]), ..tool("a") };
    assert!(refused(vec![list]).contains("no JSON schema object"));
    assert!(tools().only("mul").unwrap_err().to_string().contains("\"mul\""));
    assert_eq!(tools().only("sub").unwrap().iter().count(), 1);
}
