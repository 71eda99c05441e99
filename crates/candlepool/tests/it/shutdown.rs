//! The end of a server: nothing that was accepted is lost, and the report says what became of it.
#![cfg(unix)]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
        .write_all(b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
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
async fn an_answer_that_is_read_slowly_arrives_whole_and_who_comes_meanwhile_is_told() {
    // The built-in model's vectors make an answer of 10 MB, more than the system keeps for a reader.
    let mut server = Server::start(&["--drain-timeout", "60s"]).await;
    let texts: Vec<String> = (0..4000).map(|index| index.to_string()).collect();
    let request = post("/v1/embeddings", &json!({"model": "builtin", "input": texts}).to_string());
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut slow = socket.connect(server.address.parse().unwrap()).await.unwrap();
    slow.write_all(&request).await.unwrap();
    // The answer has begun.
    slow.readable().await.unwrap();
    server.signal("TERM").await;
    let report = server.report().await;
    assert_eq!(report["completed"], 4000, "{report}");
    // Longer than connections have that do nothing.
    let mut late = Vec::new();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        late.push(server.post("/v1/embeddings", &json!({"model": "builtin", "input": "late"})).await);
    }
    for answer in late {
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert_eq!(answer.json()["error"]["code"], "shutting_down");
    }
    let answer = Answer::read(&mut slow).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), 4000);
    assert_eq!(ended(&mut server).await, Some(0));
}

#[tokio::test]
async fn a_signal_before_the_server_listens_ends_it_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    // Files that come to no end, as on a disk that does not answer: whoever opens one waits for its writer.
    let pipes = [folder.path().join("candlepool.toml"), model.join("modules.json")];
    let made = tokio::process::Command::new("mkfifo").args(&pipes).status().await.unwrap();
    assert!(made.success());
    let [config, manifest] = pipes;
    let source = format!("stuck=text-embedding:{}", model.display());
    for (option, value, pipe) in
        [("--config", config.to_str().unwrap(), &config), ("--model", &source, &manifest)]
    {
        let mut command = crate::process::candlepool();
        command.args(["serve", "--listen", "127.0.0.1:0", option, value]);
        let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let process = child.id().unwrap().to_string();
        let mut options = tokio::fs::OpenOptions::new();
        let opened = options.write(true).open(pipe);
        let _writer = tokio::time::timeout(PATIENCE, opened).await.expect("nobody reads it").unwrap();
        let sent = tokio::process::Command::new("kill").args(["-TERM", &process]).status().await.unwrap();
        assert!(sent.success());
        let ended = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output());
        let output = ended.await.expect("the signal is not heard").unwrap();
        assert_eq!(output.status.code(), Some(0), "{option}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Nobody reads what the server logs, until it is asked to end.
#[tokio::test]
async fn a_full_standard_error_holds_up_nobody_and_the_report_is_not_lost() {
    const REQUESTS: usize = 6000;
    let mut command = crate::process::candlepool();
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    // Two lines a request at least: more than a pipe and the queue before it hold.
    command.env("CANDLEPOOL_LOG", "candlepool=trace");
    let mut server = Server::of(command).await;
    let (mut reader, mut writer) = server.connect().await.into_split();
    let asking = tokio::spawn(async move {
        for _ in 0..REQUESTS {
            writer.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        }
        writer
    });
    let answered = async {
        let mut answers = Vec::new();
        let mut bytes = vec![0; 64 << 10];
        while answers.windows(4).filter(|four| four == b"\"ok\"").count() < REQUESTS {
            for _ in 0..100 {
                let read = tokio::time::timeout(Duration::from_millis(100), reader.read(&mut bytes)).await;
                let Ok(read) = read else { break };
                answers.extend_from_slice(&bytes[..read.unwrap()]);
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the server is stuck");
    drop(asking.await.unwrap());
    let metrics = server.get("/metrics").await.body;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("candlepool_log_lines_dropped_total "));
    let dropped: u64 = dropped.expect("no line was dropped").parse().unwrap();
    server.signal("TERM").await;
    // What was dropped may be told of before the report or after it.
    let (mut told, mut reported) = (0, false);
    let report = async {
        while let Some(line) = server.log.next_line().await.unwrap() {
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            told += line["lines"].as_u64().unwrap_or(0);
            reported |= line["event"] == "drained";
        }
    };
    tokio::time::timeout(PATIENCE, report).await.expect("it does not end");
    assert!(reported, "it ended without a report");
    assert_eq!(ended(&mut server).await, Some(0));
    assert!(told >= dropped, "{dropped} lines were dropped and {told} told of");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_jobs() {
    let tiny = format!("tiny=text-embedding:{}", checkpoint("pool-mean").display());
    let mut command = crate::process::candlepool();
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--model", &tiny]);
    // On a busy machine the rate that is measured would have so many texts refused.
    command.env("CANDLEPOOL__MODELS__TINY__QUEUE__MAX_WAIT", "none");
    let server = Server::of(command).await;
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
