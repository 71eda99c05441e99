//! A trained chat model: SmolLM2-135M-Instruct, quantised to four bits.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use generation::FinishReason;
use serde_json::{Value, json};
use text_to_text::{Dtype, Message, ResponseFormat, Tool, ToolChoice};

use crate::models::smollm;

fn france() -> [Message; 1] {
    [Message::user("What is the capital of France?")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_capital_of_france_is_paris() {
    let Some(load) = smollm() else { return };
    let pool = load.dtype(Dtype::F32).await.unwrap();
    let info = pool.info();
    assert_eq!((info.architecture.as_str(), info.vocabulary, info.context), ("llama", 49152, 8192));
    assert!(info.chats);
    let answer = pool.chat(france()).max_tokens(16).await.unwrap();
    assert!(answer.text().contains("Paris"), "{}", answer.text());

    let mut stream = pool.chat(france()).max_tokens(16).logprobs(2).stream().await.unwrap();
    let (mut text, mut tokens, mut finish) = (String::new(), Vec::new(), None);
    while let Some(delta) = stream.next().await {
        let delta = delta.unwrap();
        text.push_str(&delta.text);
        tokens.extend(delta.tokens);
        finish = finish.or(delta.finish);
    }
    let whole = stream.finish().await.unwrap();
    assert_eq!(
        (whole.text(), &whole.choices[0].tokens, Some(whole.choices[0].finish)),
        (&*text, &tokens, finish)
    );
    assert!(text.contains("Paris"), "{text}");
    for token in &tokens {
        let logprobs = token.logprobs.as_ref().unwrap();
        assert_eq!(logprobs.top.len(), 2);
        // Greedy: the most likely is the one that was taken.
        assert_eq!(logprobs.top[0], (token.token, logprobs.own));
    }

    // At the default precision too, though the answer begins at a near-tie: what this file holds is hardly rounded.
    let default = smollm().unwrap().await.unwrap();
    let answer = default.chat(france()).max_tokens(16).await.unwrap();
    assert_eq!(answer.text(), "The capital of France is Paris.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_chats_at_once_are_what_each_is_alone() {
    let Some(load) = smollm() else { return };
    let pool = load.deterministic(true).await.unwrap();
    let topics = ["rain", "bread", "Rome", "bees", "ships", "the moon", "glass", "chess"];
    // Longer than a block of the cache.
    let system =
        "You are a helpful assistant who answers in one short and friendly sentence, without any list. "
            .repeat(5);
    let system = system.trim_end();
    let ask = |number: usize| {
        let messages = [Message::system(system), Message::user(format!("Tell me about {}.", topics[number]))];
        pool.chat(messages).temperature(0.8).seed(number as u64).max_tokens(12)
    };
    let together = join_all((0..topics.len()).map(|number| ask(number).into_future())).await;
    for (number, together) in together.into_iter().enumerate() {
        let (together, alone) = (together.unwrap(), ask(number).await.unwrap());
        assert_eq!(together.choices, alone.choices, "{}", topics[number]);
        // By now the beginning that all share has been computed.
        assert!(alone.usage.cached >= 64, "{:?}", alone.usage);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_string_ends_the_answer_and_is_not_shown() {
    let Some(load) = smollm() else { return };
    let pool = load.await.unwrap();
    let counted = pool.complete("1, 2, 3, 4, 5,").max_tokens(16).await.unwrap();
    assert!(counted.text().contains(" 7, 8"), "{}", counted.text());
    let call = pool.complete("1, 2, 3, 4, 5,").max_tokens(16).stop(["7, 8"]);
    let mut stream = call.stream().await.unwrap();
    let mut shown = String::new();
    while let Some(delta) = stream.next().await {
        shown.push_str(&delta.unwrap().text);
    }
    let stopped = stream.finish().await.unwrap();
    let before = counted.text().split("7, 8").next().unwrap();
    assert_eq!((stopped.text(), &*shown, stopped.choices[0].finish), (before, before, FinishReason::Stop));
    let echoed = pool.complete("1, 2, 3, 4, 5,").max_tokens(4).echo(true).await.unwrap();
    assert!(echoed.text().starts_with("1, 2, 3, 4, 5, 6"), "{}", echoed.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_follows_its_schema_and_bad_schemas_are_refused() {
    let Some(load) = smollm() else { return };
    let pool = load.await.unwrap();
    let schema = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "country": {"enum": ["France", "Spain", "Italy"]},
            "population": {"type": "integer", "minimum": 0, "maximum": 99_999_999},
        },
        "required": ["city", "country", "population"],
        "additionalProperties": false,
    });
    let ask = |schema: Value| {
        let message =
            Message::user("Give me the capital of France as JSON with city, country and population.");
        pool.chat([message]).max_tokens(80).response_format(ResponseFormat::schema(schema))
    };
    let answer = ask(schema.clone()).await.unwrap();
    assert_eq!(answer.choices[0].finish, FinishReason::Stop, "{}", answer.text());
    let value: Value = serde_json::from_str(answer.text()).unwrap();
    let fields = value.as_object().unwrap();
    assert_eq!(fields.len(), 3, "{value}");
    assert!(fields["city"].as_str().unwrap().chars().count() <= 20, "{value}");
    assert!(["France", "Spain", "Italy"].contains(&fields["country"].as_str().unwrap()), "{value}");
    assert!(fields["population"].as_u64().unwrap() <= 99_999_999, "{value}");

    for (bad, expected) in [
        (json!("string"), "response_format: the JSON schema is no object; "),
        (json!({"type": "potato"}), "response_format: the JSON schema cannot be followed: "),
        (json!({"type": "string", "pattern": "("}), "response_format: the JSON schema cannot be followed: "),
    ] {
        let error = ask(bad).await.unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
    }
    let object =
        pool.chat(france()).max_tokens(24).response_format(ResponseFormat::JsonObject).await.unwrap();
    assert!(object.text().trim_start().starts_with('{'), "{}", object.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_and_a_passed_deadline_free_their_blocks() {
    let Some(load) = smollm() else { return };
    let pool = load.await.unwrap();
    let endless = || pool.complete("Once upon a time").ignore_eos(true).max_tokens(5000);
    let mut stream = endless().stream().await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    assert!(pool.occupancy()[0].blocks_used() > 0);
    drop(stream);
    let late = endless().deadline(Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(late.pool(), Some(pool_core::Error::DeadlineExceeded { .. })), "{late:?}");
    let mut late = endless().deadline(Duration::from_secs(2)).stream().await.unwrap();
    let last = loop {
        match late.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(last.pool(), Some(pool_core::Error::DeadlineExceeded { .. })), "{last:?}");
    assert!(late.next().await.is_none());
    // Whoever left is let go of with the next step.
    let _ = pool.complete("Once").max_tokens(1).await.unwrap();
    assert_eq!((pool.occupancy()[0].blocks_used(), pool.occupancy()[0].running()), (0, 0));
}

/// As Qwen 2.5 is given tools, in short.
const HERMES: &str = include_str!("../fixtures/tools.jinja");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_is_called_and_its_result_read() {
    let Some(load) = smollm() else { return };
    let pool = load.chat_template(HERMES).await.unwrap();
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        description: Some("Looks something up.".to_owned()),
        parameters: json!({
            "type": "object",
            "properties": {"unit": {"enum": ["celsius", "kelvin"]}},
            "required": ["unit"],
            "additionalProperties": false,
        }),
    };
    let question = Message::user("How warm is it?");
    let ask = |choice| {
        let tools = [tool("weather"), tool("clock")];
        pool.chat([question.clone()]).tools(tools).tool_choice(choice).max_tokens(60)
    };
    let named = ToolChoice::Named("weather".to_owned());
    let mut stream = ask(named).parallel_tool_calls(false).stream().await.unwrap();
    let (mut text, mut calls) = (String::new(), Vec::new());
    while let Some(delta) = stream.next().await {
        let delta = delta.unwrap();
        text.push_str(&delta.text);
        calls.extend(delta.tool_calls);
    }
    let answer = stream.finish().await.unwrap();
    assert_eq!((answer.choices[0].finish, answer.text(), &*text), (FinishReason::ToolCalls, "", ""));
    assert_eq!(answer.choices[0].tool_calls, calls);
    assert_eq!((calls.len(), calls[0].name.as_str()), (1, "weather"));
    let arguments: Value = serde_json::from_str(&calls[0].arguments).unwrap();
    assert!(["celsius", "kelvin"].contains(&arguments["unit"].as_str().unwrap()), "{arguments}");

    let turns = [question.clone(), Message::tool_calls(&calls), Message::tool("call_0", "21 degrees")];
    let told = pool.chat(turns).tools([tool("weather"), tool("clock")]).max_tokens(8).await.unwrap();
    assert!(told.usage.prompt > answer.usage.prompt, "{:?}", told.usage);

    let error = ask(ToolChoice::Named("map".to_owned())).await.unwrap_err().to_string();
    assert_eq!(error, "tool_choice names \"map\", which is none of the tools");
    let error =
        ask(ToolChoice::Auto).response_format(ResponseFormat::JsonObject).await.unwrap_err().to_string();
    assert!(error.starts_with("tools and a response_format exclude each other; "), "{error}");
}
