use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Server, vector};

#[tokio::test]
async fn every_form_of_input_is_answered_in_openais_shape() {
    let server = Server::start().await;
    let one = server.embed(json!({"model": "tiny", "input": "a b c"})).await;
    assert_eq!(one.status, 200, "{}", one.text);
    let body = one.json();
    assert_eq!((&body["object"], &body["model"]), (&json!("list"), &json!("tiny")));
    assert_eq!(body["data"].as_array().unwrap().len(), 1);
    let tokens = body["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(tokens >= 3 && body["usage"]["total_tokens"] == tokens, "{body}");
    let list = server.embed(json!({"model": "tiny", "input": ["a b c", "", "other"]})).await;
    assert_eq!(list.json()["data"].as_array().unwrap().len(), 3);
    assert_close(&vector(&list, 0), &vector(&one, 0));
    let ids = server.embed(json!({"model": "tiny", "input": [2, 5, 6, 3]})).await;
    assert_eq!(ids.status, 200, "{}", ids.text);
    assert_eq!(ids.json()["usage"]["prompt_tokens"], 4);
    let lists = server.embed(json!({"model": "tiny", "input": [[2, 5, 6, 3], [2, 3]]})).await;
    assert_close(&vector(&lists, 0), &vector(&ids, 0));
}

fn assert_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Batches of another shape may differ in the last bits.
    assert!(apart < 1e-5, "{a:?} and {b:?}");
}

#[tokio::test]
async fn base64_is_the_same_numbers_in_little_endian() {
    let server = Server::start().await;
    let float = server.embed(json!({"model": "tiny", "input": "text", "encoding_format": "float"})).await;
    let base64 = server.embed(json!({"model": "tiny", "input": "text", "encoding_format": "base64"})).await;
    let body = base64.json();
    let bytes = STANDARD.decode(body["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_close(&values, &vector(&float, 0));
}

#[tokio::test]
async fn dimensions_cut_the_vector() {
    let server = Server::start().await;
    let full = vector(&server.embed(json!({"model": "tiny", "input": "text"})).await, 0);
    let cut = vector(&server.embed(json!({"model": "tiny", "input": "text", "dimensions": 3})).await, 0);
    assert_eq!(cut.len(), 3);
    assert!(full.len() > 3);
    let too_many =
        server.embed(json!({"model": "tiny", "input": "text", "dimensions": full.len() + 1})).await;
    too_many.refused(400, "invalid_value");
    assert_eq!(too_many.json()["error"]["param"], "dimensions");
}

#[tokio::test]
async fn what_cannot_be_obeyed_is_refused_by_name() {
    let server = Server::start().await;
    for (body, code, param) in [
        (json!({"model": "tiny", "input": "a", "truncate": true}), "unknown_parameter", "truncate"),
        (json!({"input": "a"}), "missing_parameter", "model"),
        (json!({"model": "tiny"}), "missing_parameter", "input"),
        (json!({"model": 5, "input": "a"}), "invalid_value", "model"),
        (json!({"model": "tiny", "input": []}), "invalid_value", "input"),
        (json!({"model": "tiny", "input": 5}), "invalid_value", "input"),
        (json!({"model": "tiny", "input": null}), "invalid_value", "input"),
        (json!({"model": "tiny", "input": ["a", 1]}), "invalid_value", "input"),
        (json!({"model": "tiny", "input": [1, "a"]}), "invalid_value", "input"),
        (json!({"model": "tiny", "input": [[1], "a"]}), "invalid_value", "input"),
        (json!({"model": "tiny", "input": [1, [2]]}), "invalid_value", "input"),
        (json!({"model": "tiny", "input": ["a", true]}), "invalid_value", "input[1]"),
        (json!({"model": "tiny", "input": [1, -2]}), "invalid_value", "input[1]"),
        (json!({"model": "tiny", "input": [1, 2.5]}), "invalid_value", "input[1]"),
        (json!({"model": "tiny", "input": [4294967296_u64]}), "invalid_value", "input[0]"),
        (json!({"model": "tiny", "input": [[1, "a"]]}), "invalid_value", "input[0][1]"),
        (json!({"model": "tiny", "input": [{"image": "data:,"}]}), "invalid_value", "input[0].image"),
        (json!({"model": "tiny", "input": ["a", {"image": "data:,a"}]}), "wrong_model", "input[1]"),
        (json!({"model": "tiny", "input": ["a", {"image": "data:,a", "b": 1}]}), "invalid_value", "input[1]"),
        (json!({"model": "tiny", "input": ["a", {"text": "b"}]}), "invalid_value", "input[1]"),
        (json!({"model": "tiny", "input": [5, {"image": "data:,a"}]}), "invalid_value", "input"),
        (
            json!({"model": "tiny", "input": "a", "encoding_format": "hex"}),
            "invalid_value",
            "encoding_format",
        ),
        (json!({"model": "tiny", "input": "a", "dimensions": 0}), "invalid_value", "dimensions"),
        (json!({"model": "tiny", "input": "a", "dimensions": -1}), "invalid_value", "dimensions"),
        (json!({"model": "ranker", "input": "a"}), "wrong_model", "model"),
    ] {
        let answer = server.embed(body.clone()).await;
        let message = answer.refused(400, code);
        assert_eq!(answer.json()["error"]["param"], param, "{body}: {message}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    // The server still serves.
    assert_eq!(server.embed(json!({"model": "tiny", "input": "a"})).await.status, 200);
}

#[tokio::test]
async fn token_ids_outside_the_vocabulary_are_refused_with_their_place() {
    let server = Server::start().await;
    for input in [json!([2, 4_000_000_000_u32]), json!([[2, 3], [2, 999_999]]), json!([[]])] {
        let answer = server.embed(json!({"model": "tiny", "input": input})).await;
        let message = answer.refused(400, "invalid_value");
        assert!(answer.json()["error"]["param"].as_str().unwrap().starts_with("input"), "{message}");
    }
}

#[tokio::test]
async fn a_list_is_taken_whole_or_not_at_all() {
    let server = Server::start().await;
    let most = 4096;
    let answer = server.embed(json!({"model": "tiny", "input": vec!["a"; most + 1]})).await;
    answer.refused(413, "request_too_large");
    let counts = server.app.engine.stats().await.unwrap().models[0].queue.counts;
    assert_eq!(counts.accepted, 0);
}

#[tokio::test]
async fn ranking_works_with_both_kinds_of_models() {
    let server = Server::start().await;
    for model in ["tiny", "ranker"] {
        let documents = json!(["first", {"text": "second"}, ""]);
        let request =
            json!({"model": model, "query": "what", "documents": documents, "return_documents": true});
        let answer = server.post("/v1/rerank", request.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let body = answer.json();
        let results = body["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        let scores: Vec<f64> = results.iter().map(|one| one["relevance_score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let second = results.iter().find(|one| one["index"] == 1).unwrap();
        assert_eq!(second["document"]["text"], "second");
        assert!(body["usage"]["total_tokens"].as_u64().unwrap() > 0);
        let top = json!({"model": model, "query": "what", "documents": ["a", "b"], "top_n": 1});
        let body = server.post("/v1/rerank", top.to_string()).await.json();
        assert_eq!(body["results"].as_array().unwrap().len(), 1);
        assert!(body["results"][0].get("document").is_none());
    }
}

#[tokio::test]
async fn rankings_that_cannot_be_made_are_refused_by_name() {
    let server = Server::start().await;
    for (body, code, param) in [
        (json!({"model": "tiny", "query": "q", "documents": []}), "invalid_value", "documents"),
        (json!({"model": "tiny", "query": "q"}), "missing_parameter", "documents"),
        (json!({"model": "tiny", "documents": ["a"]}), "missing_parameter", "query"),
        (json!({"model": "tiny", "query": "q", "documents": ["a"], "top_n": 0}), "invalid_value", "top_n"),
        (json!({"model": "tiny", "query": "q", "documents": [5]}), "invalid_value", "documents[0]"),
        (
            json!({"model": "tiny", "query": "q", "documents": ["a", {"title": "b"}]}),
            "unknown_parameter",
            "documents[1].title",
        ),
        (json!({"model": "tiny", "query": "q", "documents": [{}]}), "missing_parameter", "documents[0].text"),
        (
            json!({"model": "tiny", "query": "q", "documents": ["a"], "rank_fields": []}),
            "unknown_parameter",
            "rank_fields",
        ),
    ] {
        let answer = server.post("/v1/rerank", body.to_string()).await;
        let message = answer.refused(400, code);
        assert_eq!(answer.json()["error"]["param"], param, "{body}: {message}");
    }
}
