use serde_json::{Value, json};

use crate::process::{Answer, Server, candlepool, checkpoint, get, post};

#[tokio::test]
async fn a_configured_server_answers_as_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.txt"), "sk-one name=one priority=normal\n").unwrap();
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:1\"\napi_keys_file = \"keys.txt\"\nbody_limit = \"1KiB\"\n\
         [models.tiny]\nmodality = \"text-embedding\"\nsource = {:?}\nworkers = {{ min = 1 }}\n",
        checkpoint("pool-mean"),
    );
    let file = folder.path().join("candlepool.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = candlepool();
    // The variable overrides the file.
    command
        .args(["serve", "--log-format", "json", "--config"])
        .arg(file)
        .env("CANDLEPOOL__SERVER__LISTEN", "127.0.0.1:0");
    let server = Server::of(command).await;
    assert_eq!(server.get("/v1/models").await.status, 401);
    let with_key =
        get("/v1/models").replace("host: localhost", "host: localhost\r\nauthorization: Bearer sk-one");
    let list = server.send(with_key.as_bytes()).await.json();
    assert_eq!(list["data"][0]["id"], "tiny");
    let large = post("/v1/embeddings", &json!({"model": "tiny", "input": "a".repeat(2000)}).to_string());
    let large = String::from_utf8(large)
        .unwrap()
        .replace("host: localhost", "host: localhost\r\nauthorization: Bearer sk-one");
    assert_eq!(server.send(large.as_bytes()).await.status, 413);
}

#[tokio::test]
async fn metrics_tell_of_requests_and_jobs() {
    let server = Server::tiny().await;
    server.post("/v1/embeddings", &json!({"model": "tiny", "input": ["a", "b"]})).await;
    server.post("/v1/embeddings", &json!({"model": "nobody", "input": "a"})).await;
    server.get("/made/up").await;
    let metrics = server.get("/metrics").await;
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    for wanted in [
        "candlepool_jobs_accepted_total{model=\"tiny\"} 2",
        "candlepool_jobs_ended_total{model=\"tiny\",outcome=\"completed\"} 2",
        "candlepool_http_requests_total{method=\"POST\",route=\"/v1/embeddings\",status=\"200\"} 1",
        "candlepool_http_requests_total{method=\"POST\",route=\"/v1/embeddings\",status=\"404\"} 1",
        "candlepool_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"} 1",
        "candlepool_step_seconds_bucket{model=\"tiny\",le=\"0.25\"}",
        "candlepool_memory_reserved_bytes{account=\"weights\"} ",
        "candlepool_loads_total{model=\"tiny\"} 1",
        "candlepool_log_lines_dropped_total 0",
    ] {
        assert!(metrics.body.contains(wanted), "no {wanted} in {}", metrics.body);
    }
    for line in metrics.body.lines() {
        let name = line.split_whitespace().find(|word| word.starts_with("candlepool_")).unwrap_or_default();
        assert!(line.is_empty() || !name.is_empty(), "{line}");
    }
}

/// Every metric that is rendered stands in the documentation.
#[tokio::test]
async fn every_metric_is_documented() {
    let server = Server::tiny().await;
    server.post("/v1/embeddings", &json!({"model": "tiny", "input": "a"})).await;
    let metrics = server.get("/metrics").await.body;
    let documented = include_str!("../../../../docs/http.md");
    let names: Vec<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() > 10, "{metrics}");
    for name in names {
        assert!(documented.contains(&format!("`{name}`")), "{name} is not in docs/http.md");
    }
}

#[tokio::test]
async fn connections_are_kept_for_the_next_request() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::tiny().await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut bytes = vec![0; 4096];
        let mut text = String::new();
        while !text.ends_with("{\"status\":\"ok\"}") {
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }
    stream.write_all(get("/health").as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 200);
}

#[tokio::test]
async fn without_models_the_built_in_one_is_served() {
    let server = candlepool()
        .args(["list", "--format", "json"])
        .env("HF_HUB_CACHE", "/nowhere")
        .output()
        .await
        .unwrap();
    let list: Value = serde_json::from_slice(&server.stdout).unwrap();
    if list["builtin"].as_array().unwrap().is_empty() {
        let output = candlepool().args(["serve", "--listen", "127.0.0.1:0"]).output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        return;
    }
    let server = Server::start(&[]).await;
    let answer = server.post("/v1/embeddings", &json!({"model": "builtin", "input": ["a", "b"]})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), 2);
}
