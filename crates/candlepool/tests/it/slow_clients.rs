//! Clients that send too much, too slowly, or nothing.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::process::{Answer, PATIENCE, Server, candlepool, checkpoint, post};

/// Sends so many bytes before it reads, as most clients do, and reads the answer.
async fn send_body(server: &Server, head: &str, piece: &[u8], pieces: usize) -> Answer {
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..pieces {
        stream.write_all(piece).await.expect("the connection was cut before the answer could be read");
    }
    Answer::read(&mut stream).await
}

#[tokio::test]
async fn a_body_of_100_mb_is_refused_and_its_client_hears_of_it() {
    let server = Server::tiny().await;
    // Not before everything is resolved, which takes memory too.
    while server.get("/ready").await.status != 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = server.memory("VmHWM");
    let piece = vec![b' '; 1 << 20];
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let announced = format!("{head}content-length: {}\r\n\r\n", 100 << 20);
    let answer = send_body(&server, &announced, &piece, 100).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert_eq!(answer.json()["error"]["code"], "request_too_large");
    let after = server.memory("VmHWM");
    assert!(after < before + 40 * 1024, "the refused body was kept: {before} KiB became {after} KiB");

    let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    let answer = send_body(&server, &chunked, &chunk, 100).await;
    assert_eq!(answer.status, 413, "{}", answer.body);

    let elsewhere = announced.replace("/v1/embeddings", "/nowhere");
    assert_eq!(send_body(&server, &elsewhere, &piece, 100).await.status, 404);
    let answer = server.post("/v1/embeddings", &json!({"model": "tiny", "input": "a"})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_before_it_sends() {
    let server = Server::tiny().await;
    let mut stream = server.connect().await;
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 104857600\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let asked = Instant::now();
    let answer = Answer::read(&mut stream).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(asked.elapsed() < Duration::from_secs(5), "the body was waited for");
}

#[tokio::test]
async fn clients_that_send_nothing_lose_their_connection_and_hold_up_nobody() {
    let mut command = candlepool();
    let tiny = format!("tiny=text-embedding:{}", checkpoint("pool-mean").display());
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--model", &tiny]);
    command
        .env("CANDLEPOOL__SERVER__HEADER_TIMEOUT", "300ms")
        .env("CANDLEPOOL__SERVER__MAX_CONNECTIONS", "2");
    let server = Server::of(command).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /health HT").await.unwrap();
    // Both places are taken; the third client waits until they are given up.
    let answer = server.get("/health").await;
    assert_eq!(answer.status, 200);
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("still open");
        closed.expect("the connection was reset");
        assert!(rest.is_empty(), "a request that never came has an answer: {rest:?}");
    }
}

#[tokio::test]
async fn a_client_that_stops_within_its_body_is_answered() {
    let mut command = candlepool();
    let tiny = format!("tiny=text-embedding:{}", checkpoint("pool-mean").display());
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--model", &tiny]);
    command.env("CANDLEPOOL__SERVER__BODY_TIMEOUT", "300ms");
    let server = Server::of(command).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        .await
        .unwrap();
    let mut bytes = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("no answer").unwrap();
    let text = String::from_utf8_lossy(&bytes[..read]).to_lowercase();
    assert!(text.starts_with("http/1.1 408") && text.contains("x-should-retry: false"), "{text}");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_given_up() {
    let mut command = candlepool();
    let tiny = format!("tiny=text-embedding:{}", checkpoint("pool-mean").display());
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--model", &tiny]);
    command.env("CANDLEPOOL__SERVER__BODY_TIMEOUT", "300ms").env("CANDLEPOOL__SERVER__MAX_CONNECTIONS", "1");
    let server = Server::of(command).await;
    let mut deaf = server.connect().await;
    // Answers of 20 MB in all, more than the system keeps for a reader.
    let texts: Vec<String> = (0..4000).map(|index| index.to_string()).collect();
    let request = post("/v1/embeddings", &json!({"model": "tiny", "input": texts}).to_string());
    let request = String::from_utf8(request).unwrap().replace("connection: close", "connection: keep-alive");
    for _ in 0..20 {
        // Once the server no longer reads, the rest of the requests does not matter.
        let sent = tokio::time::timeout(Duration::from_millis(500), deaf.write_all(request.as_bytes()));
        if !matches!(sent.await, Ok(Ok(()))) {
            break;
        }
    }
    // There is one place, and the deaf client has it.
    assert_eq!(server.get("/health").await.status, 200);
    drop(deaf);
}
