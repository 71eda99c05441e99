use std::time::Duration;

use axum::body::Body;
use serde_json::json;

use super::{Server, post};
use crate::http::Pools;

#[tokio::test]
async fn health_readiness_and_models_are_told() {
    let server = Server::start().await;
    for entry in server.app.registry.entries() {
        entry.first_attempt().await;
    }
    assert_eq!(server.get("/health").await.json(), json!({"status": "ok"}));
    assert_eq!(server.get("/ready").await.json(), json!({"ready": true, "reasons": []}));
    let list = server.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let names: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["ranker", "tiny"]);
    let one = server.get("/v1/models/tiny").await.json();
    assert_eq!(
        (&one["id"], &one["object"], &one["owned_by"]),
        (&json!("tiny"), &json!("model"), &json!("candlepool"))
    );
    assert!(one["created"].as_u64().unwrap() > 1_700_000_000);
}

#[tokio::test]
async fn pools_tell_what_was_done() {
    let server = Server::start().await;
    server.embed(json!({"model": "tiny", "input": ["a", "b", "c"]})).await;
    let pools: Pools = serde_json::from_str(&server.get("/pools").await.text).unwrap();
    assert_eq!(pools.status, "serving");
    let tiny = pools.models.iter().find(|model| model.name == "tiny").unwrap();
    assert_eq!(
        (tiny.state.as_str(), tiny.modality.as_str(), tiny.healthy),
        ("resident", "text-embedding", true)
    );
    assert_eq!((tiny.jobs.accepted, tiny.jobs.completed, tiny.workers.len()), (3, 3, 1));
    let ranker = pools.models.iter().find(|model| model.name == "ranker").unwrap();
    assert_eq!((ranker.state.as_str(), ranker.jobs.accepted), ("absent", 0));
    assert!(pools.memory.accounts["weights"] > 0);
    assert_eq!(pools.lanes.keys().collect::<Vec<_>>(), ["io", "prepare", "step"]);
}

#[tokio::test]
async fn a_shutdown_refuses_new_work_and_is_told() {
    let server = Server::start().await;
    server.app.drain.begin();
    let answer = server.embed(json!({"model": "tiny", "input": "a"})).await;
    answer.refused(503, "shutting_down");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(server.get("/health").await.status, 200);
    let ready = server.get("/ready").await;
    assert_eq!(
        (ready.status.as_u16(), &ready.json()["reasons"][0]),
        (503, &json!("the server is shutting down"))
    );
    assert_eq!(server.get("/pools").await.json()["status"], "draining");
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_request_that_is_dropped_cancels_its_jobs() {
    let server = Server::start().await;
    let texts = vec!["a text of some words"; 2000];
    let request = json!({"model": "tiny", "input": texts}).to_string();
    let request = post("/v1/embeddings").body(Body::from(request)).unwrap();
    let accepted = || async { server.app.engine.stats().await.unwrap().models };
    let counts = |models: &[pool_core::GroupStats]| {
        models
            .iter()
            .find(|model| model.model.as_str() == "tiny")
            .map(|model| model.queue.counts)
            .unwrap_or_default()
    };
    let mut sent = Box::pin(server.send(request));
    // Polled until its jobs are in, and dropped then.
    while counts(&accepted().await).accepted == 0 {
        tokio::select! {
            biased;
            answer = &mut sent => panic!("answered too soon: {}", answer.status),
            () = tokio::time::sleep(Duration::from_micros(200)) => {}
        }
    }
    drop(sent);
    // A list so long goes in by a lane, which may still have its jobs in hand.
    while counts(&accepted().await).outstanding() > 0 {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let counts = counts(&accepted().await);
    assert_eq!(counts.accepted, 2000);
    assert!(counts.cancelled > 0, "{counts:?}");
    assert_eq!(server.app.drain.requests(), 0);
}
