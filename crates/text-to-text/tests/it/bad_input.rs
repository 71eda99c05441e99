//! Requests that cannot be served: a clear line for each, and the pool goes on.

use pool_core::Error as PoolError;
use serde_json::json;
use text_to_text::{Error, Message, ResponseFormat, TextToText, Tool, ToolChoice};

use crate::models::Tiny;

fn invalid(error: Error) -> String {
    assert!(matches!(error.pool(), Some(PoolError::Invalid { .. })), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n') && !message.is_empty(), "{message:?}");
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_served_is_told_in_one_line() {
    let pool = Tiny::new("smollm2").load().await.unwrap();
    let ask = || pool.complete("Hello");
    for (call, expected) in [
        (ask().temperature(-0.5), "temperature is -0.5; accepted: a number from 0 to 2"),
        (ask().temperature(f32::NAN), "temperature is NaN; accepted: a number from 0 to 2"),
        (ask().top_p(0.0), "top_p is 0; accepted: a number above 0, to 1"),
        (ask().top_k(0), "top_k is 0; accepted: at least 1, or leave it out for no limit"),
        (ask().logprobs(21), "top_logprobs is 21; accepted: a number from 0 to 20"),
        (ask().logit_bias([(67, 1.0)]), "logit_bias is for token 67; accepted: token ids from 0 to 66"),
        (ask().max_tokens(0), "max_tokens is 0; accepted: at least 1, or leave it out"),
        (ask().n(0), "n is 0; accepted: a number from 1 to 32"),
        (ask().n(33), "n is 33; accepted: a number from 1 to 32"),
        (ask().stop([""]), "stop has an empty string; give at least one character, or leave it out"),
        (
            ask().response_format(ResponseFormat::JsonObject),
            "this model names no end token, so its answers cannot follow a grammar",
        ),
        (pool.complete(""), "the prompt is empty; give at least one token"),
        (pool.complete(vec![3, 67]), "token id 67 in the prompt; the model has ids from 0 to 66"),
        (
            pool.complete("a".repeat(500)),
            "the prompt has 500 tokens; the model takes 192 of prompt and answer together, so at most 191 of the prompt",
        ),
        (
            ask().echo(true).logprobs(1),
            "echo and logprobs exclude each other: the prompt's probabilities are not computed",
        ),
    ] {
        assert_eq!(invalid(call.clone().await.unwrap_err()), expected);
        // Streamed, it is refused at once or with the first item.
        let streamed = match call.stream().await {
            Err(error) => error,
            Ok(stream) => stream.finish().await.unwrap_err(),
        };
        assert_eq!(invalid(streamed), expected);
    }
    let error = pool.complete_all(["fine", &"a".repeat(200)]).max_tokens(1).await.unwrap_err();
    assert!(matches!(error, Error::Item { index: 1, .. }), "{error:?}");
    assert!(error.to_string().starts_with("prompt 1: the prompt has 200 tokens; "), "{error}");
    assert_eq!(ask().max_tokens(2).await.unwrap().usage.completion, 2);
}

fn weather() -> Tool {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    Tool { name: "weather".to_owned(), description: None, parameters }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_that_cannot_be_held_are_refused() {
    let pool = Tiny::new("llama2").load().await.unwrap();
    let ask = || pool.chat([Message::user("Hello")]).max_tokens(2);
    let error = pool.chat(Vec::<Message>::new()).await.unwrap_err();
    assert_eq!(invalid(error), "messages is an empty list; give at least one");
    let error = ask().tools([weather()]).await.unwrap_err();
    assert!(invalid(error).starts_with("tools: model tiny's chat template has no place for them"));
    let error = ask().tool_choice(ToolChoice::Required).await.unwrap_err();
    assert_eq!(invalid(error), "tool_choice wants a call, and there are no tools; give some");
    assert_eq!(ask().tools([weather()]).tool_choice(ToolChoice::None).await.unwrap().usage.completion, 2);

    let with_template = |template: &str| {
        let tiny = Tiny::new("llama2");
        tiny.write("tokenizer_config.json", &json!({"chat_template": template}));
        tiny
    };
    for (template, expected) in [
        (
            "{{ raise_exception('roles must alternate') }}",
            "the model's chat template refuses these messages: roles must alternate",
        ),
        (
            "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
            "the model's chat template was stopped after",
        ),
        ("a\n{{ messages.nothing.there }}", "the model's chat template failed in line 2: "),
        ("{% if %}", "the model's chat template has an error in line 1: "),
    ] {
        let tiny = with_template(template);
        let pool: TextToText = tiny.load().await.unwrap();
        let error = invalid(pool.chat([Message::user("Hello")]).await.unwrap_err());
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(pool.complete("Hello").max_tokens(2).await.unwrap().usage.completion, 2);
    }
    let bare = Tiny::new("llama2");
    bare.write("tokenizer_config.json", &json!({}));
    let pool = bare.load().await.unwrap();
    assert!(!pool.info().chats);
    assert_eq!(
        invalid(pool.chat([Message::user("Hello")]).await.unwrap_err()),
        "model tiny has no chat template, so it cannot hold a conversation; send a plain prompt instead"
    );
}
