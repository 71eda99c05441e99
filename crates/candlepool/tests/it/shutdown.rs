//! The end of a server: nothing that was accepted is lost, and the report says what became of it.
#![cfg(unix)]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use crate::process::{Answer, PATIENCE, Server, checkpoint, post};

/// Jobs of the model `tiny`.
async fn jobs(server: &Server) -> Value {
    let pools = server.get("/pools").await.json();
    pools["models"].as_array().unwrap().iter().find(|model| model["name"] == "tiny").unwrap().clone()
}

fn outstanding(model: &Value) -> u64 {
    let count = |name: &str| model["jobs"][name].as_u64().unwrap();
    count("accepted") - count("completed") - count("cancelled") - count("expired") - count("failed")
}

async fn ended(server: &mut Server) -> Option<i32> {
    tokio::time::timeout(PATIENCE, server.child.wait()).await.expect("it does not end").unwrap().code()
}

#[tokio::test]
async fn what_was_accepted_finishes_and_new_work_is_refused() {
    let mut server = Server::tiny().await;
    const TEXTS: usize = 500;
    let texts: Vec<String> =
        (0..TEXTS).map(|index| format!("text {index} {}", "and so on ".repeat(10))).collect();
    let mut clients = JoinSet::new();
    for client in 0..40 {
        let mut stream = server.connect().await;
        // Each its own, as equal jobs would be computed once.
        let own: Vec<String> = texts.iter().map(|text| format!("{client} {text}")).collect();
        let request = post("/v1/embeddings", &json!({"model": "tiny", "input": own}).to_string());
        clients.spawn(async move {
            stream.write_all(&request).await.unwrap();
            Answer::read(&mut stream).await
        });
    }
    // Until there is plenty of work that is neither done nor to be done in a moment.
    while outstanding(&jobs(&server).await) < 1000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.signal("TERM").await;
    while server.get("/ready").await.status == 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut late = server.connect().await;
    let request = post("/v1/embeddings", &json!({"model": "tiny", "input": "late"}).to_string());
    late.write_all(&request).await.unwrap();
    let late = Answer::read(&mut late).await;
    let report = server.report().await;
    let (mut completed, mut refused) = (0, 0);
    while let Some(answer) = clients.join_next().await {
        let answer = answer.unwrap();
        match answer.status {
            200 => completed += answer.json()["data"].as_array().unwrap().len() as u64,
            429 => refused += TEXTS as u64,
            503 => {}
            status => panic!("{status}: {}", answer.body),
        }
    }
    assert_eq!(ended(&mut server).await, Some(0));
    assert!(completed >= 1000);
    assert_eq!(report["completed"], completed, "{report}");
    assert_eq!(report["refused"], refused, "{report}");
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(
        count("accepted"),
        count("completed") + count("cancelled") + count("expired") + count("failed")
    );
    assert_eq!((count("cancelled"), count("expired"), count("failed")), (0, 0, 0));
    assert_eq!(report["deadline_passed"], false);
    assert_eq!(report["models"]["tiny"]["completed"], completed);
    assert_eq!(late.status, 503, "{}", late.body);
    assert!(late.head.contains("retry-after: "), "{}", late.head);
}

#[tokio::test]
async fn an_idle_server_ends_at_once_with_a_report() {
    let mut server = Server::tiny().await;
    server.signal("INT").await;
    let report = server.report().await;
    assert_eq!((&report["accepted"], &report["lost_threads"]), (&json!(0), &json!(0)));
    assert_eq!(ended(&mut server).await, Some(0));
}

/// A server that has the beginning of a request whose rest never comes.
async fn with_a_stuck_request(drain_timeout: &str) -> (Server, impl Sized) {
    let tiny = format!("tiny=text-embedding:{}", checkpoint("pool-mean").display());
    let server = Server::start(&["--model", &tiny, "--drain-timeout", drain_timeout]).await;
    let mut stuck = server.connect().await;
    stuck
        .write_all(b"POST /v1/embeddings HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\n{")
        .await
        .unwrap();
    // Until the server has it.
    while !server.get("/metrics").await.body.contains("candlepool_http_requests_in_flight 2") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (server, stuck)
}

#[tokio::test]
async fn the_drains_deadline_ends_a_request_that_does_not_come_to_its_end() {
    let (mut server, _stuck) = with_a_stuck_request("200ms").await;
    server.signal("TERM").await;
    let report = server.report().await;
    assert_eq!(report["accepted"], 0);
    assert_eq!(ended(&mut server).await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (mut server, _stuck) = with_a_stuck_request("1h").await;
    server.signal("TERM").await;
    while server.get("/ready").await.status == 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The same signal to a process and its group arrives twice, and means one thing.
    server.signal("TERM").await;
    assert_eq!(server.get("/ready").await.status, 503, "the drain goes on");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    server.signal("TERM").await;
    assert_eq!(ended(&mut server).await, Some(1));
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_jobs() {
    let server = Server::tiny().await;
    // The model is in memory, so that jobs do not wait for it.
    server.post("/v1/embeddings", &json!({"model": "tiny", "input": "a"})).await;
    let texts: Vec<String> =
        (0..4000).map(|index| format!("text {index} {}", "and so on ".repeat(10))).collect();
    let request = post("/v1/embeddings", &json!({"model": "tiny", "input": texts}).to_string());
    let mut cancelled = false;
    // Whether the client is quicker than the model is up to the machine, but not every time.
    for _ in 0..20 {
        let mut stream = server.connect().await;
        stream.write_all(&request).await.unwrap();
        while outstanding(&jobs(&server).await) == 0
            && jobs(&server).await["jobs"]["accepted"].as_u64().unwrap() % 4000 == 1
        {
            tokio::task::yield_now().await;
        }
        drop(stream);
        while outstanding(&jobs(&server).await) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if jobs(&server).await["jobs"]["cancelled"].as_u64().unwrap() > 0 {
            cancelled = true;
            break;
        }
    }
    assert!(cancelled, "no job was cancelled");
}
