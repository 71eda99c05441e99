//! Chats and completions, written by a tiny decoder of random weights.

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use super::language_models::{LETTERS, Tiny};
use super::{Answer, NO_KEYS, Server, post};

const TEMPLATE: &str = "{% for message in messages %}{% if message.role == 'tool' %}{{ raise_exception('no tools here') }}\
     {% endif %}{{ message.role }}:{{ message.content }};{% endfor %}{% if add_generation_prompt %}{{ opening or 'assistant:' }}{% endif %}";

/// A server with the tiny decoder as `writer`, and where that comes from.
async fn server() -> (Server, Tiny) {
    let tiny = Tiny::new("smollm2");
    tiny.write("tokenizer_config.json", &json!({"chat_template": TEMPLATE}));
    let more = format!("[models.writer]\nmodality = \"text-to-text\"\nsource = {:?}\n", tiny.folder.path());
    (Server::with(NO_KEYS, 1 << 20, &more).await, tiny)
}

impl Server {
    async fn chat(&self, more: Value) -> Answer {
        let mut request =
            json!({"model": "writer", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 12});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/v1/chat/completions", request.to_string()).await
    }

    async fn complete(&self, more: Value) -> Answer {
        let mut request = json!({"model": "writer", "prompt": "hello", "max_tokens": 12});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/v1/completions", request.to_string()).await
    }
}

/// The pieces of a stream that ended as it should.
#[track_caller]
pub(super) fn pieces(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events: Vec<&str> = answer.text.split_terminator("\n\n").collect();
    let data: Vec<&str> = events.iter().map(|event| event.strip_prefix("data: ").unwrap()).collect();
    let (done, pieces) = data.split_last().unwrap();
    assert_eq!(*done, "[DONE]");
    pieces.iter().map(|piece| serde_json::from_str(piece).unwrap()).collect()
}

/// A choice's text, put together again.
pub(super) fn text_of(pieces: &[Value], index: u64, field: &str) -> String {
    let choices = pieces.iter().flat_map(|piece| piece["choices"].as_array().unwrap());
    choices
        .filter(|choice| choice["index"] == index)
        .filter_map(|choice| choice.pointer(field)?.as_str())
        .collect()
}

#[tokio::test]
async fn a_chat_is_the_same_whole_and_in_pieces() {
    let (server, _tiny) = server().await;
    let whole = server.chat(json!({})).await;
    assert_eq!(whole.status, 200, "{}", whole.text);
    let whole = whole.json();
    assert_eq!((&whole["object"], &whole["model"]), (&json!("chat.completion"), &json!("writer")));
    assert!(whole["id"].as_str().unwrap().starts_with("chatcmpl-"));
    let choice = &whole["choices"][0];
    assert_eq!((&choice["index"], &choice["finish_reason"]), (&json!(0), &json!("length")));
    assert_eq!(choice["message"]["role"], "assistant");
    let text = choice["message"]["content"].as_str().unwrap();
    assert_eq!(text.len(), 12);
    let prompt = "user:hello;assistant:".len();
    let usage = &whole["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(prompt), &json!(12), &json!(prompt + 12))
    );

    let plain = pieces(&server.chat(json!({"stream": true})).await);
    assert_eq!(plain[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(text_of(&plain, 0, "/delta/content"), text);
    let last = plain.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "length");
    assert!(
        plain.iter().all(|piece| piece["object"] == "chat.completion.chunk" && piece["id"] == plain[0]["id"])
    );
    assert!(plain.iter().all(|piece| piece.get("usage").is_none()), "nobody asked");

    let counted =
        pieces(&server.chat(json!({"stream": true, "stream_options": {"include_usage": true}})).await);
    let (last, before) = counted.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["total_tokens"], usage["total_tokens"]);
    assert!(before.iter().all(|piece| piece["usage"].is_null() && piece.get("usage").is_some()));
}

#[tokio::test]
async fn every_parameter_of_a_chat_is_obeyed() {
    let (server, _tiny) = server().await;
    let text = |answer: Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    let greedy = text(server.chat(json!({})).await);
    let drawn = json!({"temperature": 1.5, "seed": -7});
    let first = text(server.chat(drawn.clone()).await);
    assert_eq!(text(server.chat(drawn).await), first, "a seed repeats");
    assert_ne!(first, greedy);
    for narrow in [json!({"top_k": 1}), json!({"top_p": 1e-6}), json!({"min_p": 1.0})] {
        let mut request = json!({"temperature": 1.5, "seed": 3});
        request.as_object_mut().unwrap().extend(narrow.as_object().unwrap().clone());
        assert_eq!(text(server.chat(request).await), greedy, "{narrow}");
    }
    let (third, _) = greedy.char_indices().nth(3).unwrap();
    let stop = &greedy[third..third + 2];
    let stopped = server.chat(json!({"stop": stop})).await.json();
    let before = greedy.find(stop).unwrap();
    assert_eq!(stopped["choices"][0]["message"]["content"], greedy[..before]);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    let favoured = text(server.chat(json!({"logit_bias": {"25": 100}})).await);
    assert_eq!(favoured, "z".repeat(12));
    for penalty in ["repetition_penalty", "frequency_penalty", "presence_penalty"] {
        let changed = text(server.chat(json!({penalty: 2.0, "max_tokens": 60})).await);
        assert_ne!(changed[..], text(server.chat(json!({"max_tokens": 60})).await)[..], "{penalty}");
    }
    assert_eq!(text(server.chat(json!({"max_completion_tokens": 12})).await), greedy);
    let opened = server.chat(json!({"chat_template_kwargs": {"opening": "a"}})).await.json();
    assert_eq!(opened["usage"]["prompt_tokens"], "user:hello;a".len());
    let several = server.chat(json!({"n": 3, "temperature": 1.5, "seed": 1})).await.json();
    let texts: Vec<&Value> =
        several["choices"].as_array().unwrap().iter().map(|choice| &choice["message"]["content"]).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0] != texts[1] && texts[1] != texts[2], "{texts:?}");
    let streamed = pieces(&server.chat(json!({"n": 3, "temperature": 1.5, "seed": 1, "stream": true})).await);
    for (index, text) in texts.iter().enumerate() {
        assert_eq!(**text, json!(text_of(&streamed, index as u64, "/delta/content")));
    }
    let object = text(server.chat(json!({"response_format": {"type": "text"}, "user": "ada"})).await);
    assert_eq!(object, greedy);
}

#[tokio::test]
async fn logprobs_are_told_of_every_token() {
    let (server, _tiny) = server().await;
    let asked = json!({"logprobs": true, "top_logprobs": 3});
    let whole = server.chat(asked.clone()).await.json();
    let choice = &whole["choices"][0];
    let content = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 12);
    let text = choice["message"]["content"].as_str().unwrap();
    let tokens: String = content.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(tokens, text);
    for token in content {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        assert_eq!(top[0]["logprob"], token["logprob"], "the likeliest is taken");
        assert!(token["logprob"].as_f64().unwrap() < 0.0);
        assert_eq!(token["bytes"], json!(token["token"].as_str().unwrap().as_bytes()));
    }
    let mut streamed = asked;
    streamed["stream"] = true.into();
    let streamed = pieces(&server.chat(streamed).await);
    let told = streamed.iter().filter_map(|piece| piece["choices"][0]["logprobs"]["content"].as_array());
    let told: Vec<&Value> = told.flatten().collect();
    assert_eq!(told.len(), 12);
    assert_eq!(told[5]["token"], content[5]["token"]);

    let completed = server.complete(json!({"logprobs": 2})).await.json();
    let choice = &completed["choices"][0];
    let logprobs = &choice["logprobs"];
    assert_eq!(logprobs["text_offset"], json!((0..12).collect::<Vec<usize>>()));
    assert_eq!(logprobs["tokens"].as_array().unwrap().len(), 12);
    let first = logprobs["tokens"][0].as_str().unwrap();
    assert_eq!(logprobs["top_logprobs"][0][first], logprobs["token_logprobs"][0]);
    let pieces = pieces(&server.complete(json!({"logprobs": 2, "stream": true})).await);
    let offsets = pieces.iter().filter_map(|piece| piece["choices"][0]["logprobs"]["text_offset"].as_array());
    assert_eq!(offsets.flatten().cloned().collect::<Vec<_>>(), *logprobs["text_offset"].as_array().unwrap());
}

#[tokio::test]
async fn completions_go_on_with_texts_and_tokens() {
    let (server, _tiny) = server().await;
    let one = server.complete(json!({})).await;
    assert_eq!(one.status, 200, "{}", one.text);
    let one = one.json();
    assert_eq!((&one["object"], &one["usage"]["prompt_tokens"]), (&json!("text_completion"), &json!(5)));
    let text = one["choices"][0]["text"].as_str().unwrap();
    let ids: Vec<usize> = "hello".chars().map(|letter| LETTERS.find(letter).unwrap()).collect();
    for prompt in [json!(ids), json!([ids]), json!(["hello"])] {
        assert_eq!(
            server.complete(json!({"prompt": prompt})).await.json()["choices"][0]["text"],
            text,
            "{prompt}"
        );
    }
    let echoed = server.complete(json!({"prompt": ids, "echo": true})).await.json();
    assert_eq!(echoed["choices"][0]["text"], format!("hello{text}"));
    let listed = json!({"prompt": ["hello", "world"], "n": 2, "temperature": 1.0, "seed": 5});
    let list = server.complete(listed.clone()).await.json();
    let choices = list["choices"].as_array().unwrap();
    assert_eq!(
        choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    assert_eq!(list["usage"]["completion_tokens"], 48);
    let mut streamed = listed;
    streamed["stream"] = true.into();
    streamed["stream_options"] = json!({"include_usage": true});
    let pieces = pieces(&server.complete(streamed).await);
    for choice in choices {
        assert_eq!(choice["text"], text_of(&pieces, choice["index"].as_u64().unwrap(), "/text"));
    }
    assert_eq!(pieces.last().unwrap()["usage"]["completion_tokens"], 48);
    let default = server.post("/v1/completions", json!({"model": "writer", "prompt": "a"}).to_string()).await;
    assert_eq!(default.json()["usage"]["completion_tokens"], 16, "as OpenAI's protocol has it");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_by_name() {
    let (server, _tiny) = server().await;
    let invalid = "invalid_value";
    for (more, code, param) in [
        (json!({"temperature": -1}), invalid, json!("temperature")),
        (json!({"temperature": "hot"}), invalid, json!("temperature")),
        (json!({"top_p": 0}), invalid, json!("top_p")),
        (json!({"min_p": 2}), invalid, json!("min_p")),
        (json!({"top_k": -5}), invalid, json!("top_k")),
        (json!({"max_tokens": 0}), invalid, json!("max_tokens")),
        (json!({"max_tokens": 5, "max_completion_tokens": 6}), invalid, json!("max_tokens")),
        (json!({"n": 0}), invalid, json!("n")),
        (json!({"n": 1000}), invalid, json!("n")),
        (json!({"presence_penalty": 3}), invalid, json!("presence_penalty")),
        (json!({"logit_bias": {"100000": 1}}), invalid, json!("logit_bias")),
        (json!({"logit_bias": {"the": 1}}), invalid, json!("logit_bias")),
        (json!({"logprobs": true, "top_logprobs": 21}), invalid, json!("top_logprobs")),
        (json!({"top_logprobs": 2}), invalid, json!("top_logprobs")),
        (json!({"stop": [""]}), invalid, json!("stop")),
        (json!({"stream_options": {"include_usage": true}}), invalid, json!("stream_options")),
        (json!({"seed": 1.5}), invalid, json!("seed")),
        (json!({"messages": []}), invalid, json!("messages")),
        (json!({"messages": [{"role": "robot", "content": "a"}]}), invalid, json!("messages[0]")),
        (json!({"messages": [{"role": "tool", "content": "a", "tool_call_id": "1"}]}), invalid, Value::Null),
        (json!({"response_format": {"type": "yaml"}}), invalid, json!("response_format")),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}}),
            invalid,
            json!("response_format"),
        ),
        (json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), invalid, json!("tools")),
        (
            json!({"tools": [{"type": "retrieval", "function": {"name": "f"}}]}),
            invalid,
            json!("tools[0].type"),
        ),
        (json!({"tool_choice": "required"}), invalid, json!("tool_choice")),
        (json!({"tool_choice": "maybe"}), invalid, json!("tool_choice")),
        (json!({"repetition_penalty": 0}), invalid, json!("repetition_penalty")),
        (
            json!({"chat_template_kwargs": {"add_generation_prompt": false}}),
            invalid,
            json!("chat_template_kwargs"),
        ),
        (json!({"stop": "x".repeat(2000)}), invalid, json!("stop")),
        (json!({"n": 4_294_967_295_u32}), invalid, json!("n")),
        (
            json!({"tool_choice": {"type": "function", "function": "f"}}),
            invalid,
            json!("tool_choice.function"),
        ),
        (json!({"reasoning_effort": "high"}), "unknown_parameter", json!("reasoning_effort")),
    ] {
        for stream in [false, true] {
            let mut more = more.clone();
            if more.get("stream_options").is_none() {
                more["stream"] = stream.into();
            }
            let answer = server.chat(more.clone()).await;
            let message = answer.refused(400, code);
            assert_eq!(answer.json()["error"]["param"], param, "{more}: {message}");
            assert!(!message.contains("struct") && !message.contains("enum"), "{message}");
        }
    }
    let long = "a".repeat(100_000);
    let answer = server.chat(json!({"messages": [{"role": "user", "content": long}]})).await;
    let message = answer.refused(400, "context_length_exceeded");
    assert!(message.contains("tokens; the model takes"), "{message}");
    assert_eq!(answer.json()["error"]["param"], "messages");
    let biases: Map<String, Value> = (0..1025).map(|id| (id.to_string(), 0.into())).collect();
    let message = server.chat(json!({"logit_bias": biases})).await.refused(400, invalid);
    assert!(message.starts_with("logit_bias"), "{message}");
    let message = server.complete(json!({"logprobs": 21})).await.refused(400, invalid);
    assert!(message.starts_with("logprobs is 21"), "{message}");
    let many = vec!["a"; 5000];
    server.complete(json!({"prompt": many, "stream": true})).await.refused(413, "request_too_large");
    let answer = server.complete(json!({"prompt": ["a", ""]})).await;
    answer.refused(400, invalid);
    assert_eq!(answer.json()["error"]["param"], "prompt[1]");
    server.complete(json!({"echo": true, "logprobs": 1})).await.refused(400, invalid);
    server.complete(json!({"best_of": 2})).await.refused(400, "unknown_parameter");
    server.chat(json!({"model": "nobody"})).await.refused(404, "model_not_found");
    server.chat(json!({"model": "tiny"})).await.refused(400, "wrong_model");
    server.embed(json!({"model": "writer", "input": "a"})).await.refused(400, "wrong_model");
    let rank = json!({"model": "writer", "query": "a", "documents": ["b"]});
    server.post("/v1/rerank", rank.to_string()).await.refused(400, "wrong_model");
    assert_eq!(server.chat(json!({})).await.status, 200, "it lives");
}

/// A stream of which nobody has read more than its head, and whose job waits for that: it has more pieces than are kept.
async fn unread(server: &Server, timeout: &str) -> Response<Body> {
    // Warm, so that the first piece is there in time.
    assert_eq!(server.chat(json!({})).await.status, 200);
    let body = json!({
        "model": "writer", "messages": [{"role": "user", "content": "hello"}], "stream": true, "ignore_eos": true,
        "n": 8,
    });
    let request = post("/v1/chat/completions").header("x-request-timeout", timeout);
    let request = request.body(Body::from(body.to_string())).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

async fn rest(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_deadline_ends_a_stream_in_its_middle() {
    let (server, _tiny) = server().await;
    let response = unread(&server, "3").await;
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let text = rest(response).await;
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["code"], "deadline_exceeded", "{last}");
}

#[tokio::test]
async fn a_drain_waits_for_the_end_of_a_stream() {
    let (server, _tiny) = server().await;
    let response = unread(&server, "60").await;
    server.app.drain.begin();
    assert_eq!(server.app.drain.requests(), 1);
    let text = rest(response).await;
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(server.app.drain.requests(), 0);
}
