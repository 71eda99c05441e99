use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures::stream::{self, StreamExt as _};
use serde_json::json;

use super::{NO_KEYS, Server, post};

#[tokio::test]
async fn what_is_no_json_is_refused_with_its_place() {
    let server = Server::start().await;
    let nested = "[".repeat(100_000);
    let deep = format!("{{\"model\":\"tiny\",\"input\":{nested}");
    for (body, wanted) in [
        (&b""[..], "line 1 column 0"),
        (b"{", "line 1 column 1"),
        (b"{\"model\": \"tiny\",\n \"input\": nope}", "line 2"),
        (b"{\"model\": \"tiny\", \"input\": \"a\"} trailing", "trailing characters at line 1"),
        (b"{\"model\": \"tiny\", \"input\": \"\xff\"}", "not UTF-8: byte 29"),
        (b"{\"model\": \"tiny\", \"input\": \"\\ud800\"}", "line 1 column"),
    ] {
        let answer = server.post("/v1/embeddings", body.to_vec()).await;
        let message = answer.refused(400, "invalid_json");
        assert!(message.contains(wanted), "{message}");
    }
    for body in ["[1]", "\"text\"", "5", "null", deep.as_str()] {
        let answer = server.post("/v1/embeddings", body.to_owned()).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    assert_eq!(server.embed(json!({"model": "tiny", "input": "a"})).await.status, 200);
}

#[tokio::test]
async fn a_large_body_is_refused_by_its_announced_length_before_it_is_read() {
    let server = Server::start().await;
    // A body that never comes: were it waited for, the answer would be another.
    let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let request = post("/v1/embeddings").header("content-length", 100_000_000).body(body).unwrap();
    let message = server.send(request).await.refused(413, "request_too_large");
    assert!(message.contains("1.0 MiB"), "{message}");
}

#[tokio::test]
async fn a_large_body_of_unknown_length_is_refused_as_soon_as_it_is_too_large() {
    let server = Server::start().await;
    let piece = Bytes::from(vec![b' '; 100_000]);
    let pieces = stream::repeat(Ok::<_, Infallible>(piece)).take(12).chain(stream::pending());
    let answer = server.post("/v1/embeddings", Body::from_stream(pieces)).await;
    answer.refused(413, "request_too_large");
    assert_eq!(server.app.engine.governor().stats().used.get(), 0, "the refused body still holds memory");
}

#[tokio::test]
async fn a_client_that_pauses_within_its_body_is_given_up() {
    let server = Server::start().await;
    let pieces = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]).chain(stream::pending());
    let answer = server.post("/v1/embeddings", Body::from_stream(pieces)).await;
    answer.refused(408, "deadline_exceeded");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let server = Server::start().await;
    let pieces = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))]);
    server.post("/v1/embeddings", Body::from_stream(pieces)).await.refused(400, "incomplete_body");
}

#[tokio::test]
async fn only_json_as_it_is_is_taken() {
    let server = Server::start().await;
    let body = json!({"model": "tiny", "input": "a"}).to_string();
    let send = |name: &'static str, value: &'static str| {
        let request =
            Request::post("/v1/embeddings").header(name, value).body(Body::from(body.clone())).unwrap();
        server.send(request)
    };
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let message = send("content-type", kind).await.refused(400, "unsupported_content_type");
        assert!(message.contains("send application/json"), "{message}");
    }
    send("content-encoding", "gzip").await.refused(400, "unsupported_encoding");
    for kind in ["application/json; charset=utf-8", "Application/JSON", "application/problem+json"] {
        assert_eq!(send("content-type", kind).await.status, 200);
    }
    assert_eq!(send("x-none", "none").await.status, 200);
}

#[tokio::test]
async fn bodies_share_the_memory_budget() {
    let server = Server::with(NO_KEYS, 64 << 20, "").await;
    let governor = server.app.engine.governor().clone();
    let rest = governor.stats().available();
    let all = governor.try_reserve(pool_core::memory_governor::Account::Inputs, rest).unwrap();
    let answer = server.post("/v1/embeddings", vec![b' '; 1000]).await;
    answer.refused(429, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(all);
    assert_eq!(server.embed(json!({"model": "tiny", "input": "a"})).await.status, 200);
}

#[tokio::test]
async fn a_client_who_waits_takes_no_more_memory_than_it_has_sent_for() {
    use pool_core::memory_governor::Account;
    let server = Server::with(NO_KEYS, 64 << 20, "").await;
    for (announced, sent, most) in
        [(Some(200), 1, 200), (Some(1 << 20), 1, 16 << 10), (None, 1, 16 << 10), (None, 100_000, 200_000)]
    {
        let pieces = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![b' '; sent]))]);
        let body = Body::from_stream(pieces.chain(stream::pending()));
        let request = post("/v1/embeddings");
        let request =
            announced.into_iter().fold(request, |request, len: usize| request.header("content-length", len));
        let answering = server.send(request.body(body).unwrap());
        let mut answering = std::pin::pin!(answering);
        let mut highest = 0;
        let answer = loop {
            tokio::select! {
                answer = &mut answering => break answer,
                () = tokio::time::sleep(Duration::from_millis(5)) => {
                    let inputs = server.app.engine.governor().stats().account(Account::Inputs).get();
                    highest = highest.max(inputs);
                }
            }
        };
        answer.refused(408, "deadline_exceeded");
        assert!((sent as u64..=most).contains(&highest), "{announced:?}, {sent}: {highest}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_long_body_is_parsed_and_answered_away_from_the_runtime() {
    let server = Server::with(NO_KEYS, 64 << 20, "").await;
    let text = "word ".repeat(200_000);
    let answer = server.embed(json!({"model": "tiny", "input": [text, "short"]})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let own = crate::http::json::claim().model;
    assert!(server.app.engine.lanes().computed(&own) > Duration::ZERO);
    // Or a model's lost threads would be the server's, and the other way round.
    assert!(format!("{own}=text-embedding:builtin").parse::<crate::config::ModelFlag>().is_err());
}

#[tokio::test]
async fn a_long_value_is_not_repeated_whole() {
    let server = Server::start().await;
    let long = "x".repeat(900_000);
    let embed = |key: &str, value: serde_json::Value| {
        let mut body = json!({"model": "tiny", "input": "a"});
        body[key] = value;
        ("/v1/embeddings", body)
    };
    let rerank = |document: serde_json::Value| {
        ("/v1/rerank", json!({"model": "tiny", "query": "q", "documents": [document]}))
    };
    for ((route, body), status, code, wanted) in [
        (embed("model", json!(long)), 404, "model_not_found", "there is no model \"xxx"),
        (embed(&long, json!(1)), 400, "unknown_parameter", "supported are model, input"),
        (embed("encoding_format", json!(long)), 400, "invalid_value", "is neither \"float\" nor \"base64\""),
        (embed("dimensions", json!(long)), 400, "invalid_value", "expected a whole number from 1"),
        (embed("input", json!({ long.clone(): 1 })), 400, "invalid_value", "a list of texts"),
        (embed("input", json!([["a", long]])), 400, "invalid_value", "expected a token id"),
        (rerank(json!({ long.clone(): 1 })), 400, "unknown_parameter", "supported are text"),
    ] {
        let answer = server.post(route, body.to_string()).await;
        let message = answer.refused(status, code);
        assert!(message.contains(wanted), "{message}");
        assert!(answer.text.len() < 2000, "{} bytes: {message}", answer.text.len());
    }
    for header in ["content-type", "content-encoding", "x-priority", "x-request-timeout"] {
        let request = Request::post("/v1/embeddings").header(header, &long[..50_000]).body(Body::empty());
        let answer = server.send(request.unwrap()).await;
        assert!(answer.status == 400 && answer.text.len() < 2000, "{header}: {} bytes", answer.text.len());
    }
}

#[tokio::test]
async fn a_body_in_many_pieces_is_one_body() {
    let server = Server::with(NO_KEYS, 8 << 20, "").await;
    let text = "word ".repeat(1_000_000);
    let body = Bytes::from(json!({"model": "tiny", "input": ["a", text, "b"]}).to_string());
    let pieces: Vec<_> =
        body.chunks(77_777).map(|piece| Ok::<_, Infallible>(body.slice_ref(piece))).collect();
    let answer = server.post("/v1/embeddings", Body::from_stream(stream::iter(pieces))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), 3);
    assert_eq!(
        server.app.engine.governor().stats().account(pool_core::memory_governor::Account::Inputs).get(),
        0
    );
}
