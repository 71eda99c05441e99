//! Wrong input in every way that a seeded generator can think of: each an answer or a clear refusal in one line, never
//! a panic, never a hang. The cases one would write by hand are in `candlepool`'s own tests.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::binary::{PATIENCE, candlepool, failed, finish, run, run_with, stderr, stdout};
use crate::connection::{Connection, post};
use crate::models::{checkpoint, files, say, trained, write};
use crate::random::Random;
use crate::server::Server;
use crate::turns::beside;

/// Checkpoints, each spoiled in one way.
const CHECKPOINTS: usize = 160;
/// Bodies, each spoiled in one way.
const BODIES: usize = 3_000;

/// Replaces, drops, doubles or moves some bytes.
fn spoil(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        bytes.push(random.next() as u8);
        return;
    }
    let at = random.below(bytes.len());
    let length = 1 + random.below(8.min(bytes.len() - at));
    match random.below(6) {
        0 => bytes[at] = random.next() as u8,
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..at + length)),
        3 => {
            let doubled = bytes[at..at + length].to_vec();
            bytes.splice(at..at, doubled);
        }
        4 => {
            const WORDS: [&[u8]; 12] = [
                b"null",
                b"-1",
                b"0",
                b"1e999",
                b"18446744073709551616",
                b"\"\"",
                b"[]",
                b"{}",
                b"\xff\xfe",
                b"\\ud800",
                b"true",
                b"[[[[[[[[",
            ];
            bytes.splice(at..at + length, random.of(&WORDS).iter().copied());
        }
        _ => {
            // A digit, if there is one from here on: numbers that are only slightly wrong are the hardest to notice.
            if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                bytes[at + digit] = b'0' + (random.next() % 10) as u8;
            }
        }
    }
}

/// Checks that a command either did its work or told in one line why not.
fn done_or_told(output: &std::process::Output, what: &str) -> bool {
    match output.status.code() {
        Some(0) => {
            let document: Value = serde_json::from_str(stdout(output)).unwrap();
            assert!(document["embeddings"].is_array(), "{what}: {document}");
            true
        }
        Some(1) => {
            let told = stderr(output);
            assert!(
                told.starts_with("error: ")
                    && told.trim_end().lines().count() == 1
                    && !told.contains("panicked"),
                "{what}: {told:?}"
            );
            false
        }
        status => panic!("{what}: {status:?}: {}", stderr(output)),
    }
}

#[tokio::test]
async fn spoiled_checkpoints_load_or_are_told_in_one_line() {
    let _turn = beside().await;
    let mut random = Random::new(2);
    let mut running = JoinSet::new();
    let (mut worked, mut told) = (0, 0);
    let mut count = |ended: Option<Result<bool, tokio::task::JoinError>>| match ended.map(Result::unwrap) {
        Some(true) => worked += 1,
        Some(false) => told += 1,
        None => {}
    };
    for case in 0..CHECKPOINTS {
        let name = *random.of(&["pool-mean", "static", "model2vec", "xlm-roberta"]);
        let mut files = files(&checkpoint(name));
        let spoiled = random.below(files.len());
        let (file, content) = &mut files[spoiled];
        let what = format!("case {case}: {name}/{file}");
        if file.ends_with(".safetensors") {
            // Its header is what can be wrong in interesting ways; the rest are numbers.
            let length = 8 + u64::from_le_bytes(content[..8].try_into().unwrap()) as usize;
            let numbers = content.split_off(length);
            spoil(content, &mut random);
            content.extend(numbers);
        } else {
            spoil(content, &mut random);
        }
        running.spawn(async move {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &files);
            let mut command = candlepool();
            command.args(["embed", "--model"]).arg(folder.path()).args(["some text", ""]);
            done_or_told(&finish(command).await, &what)
        });
        while running.len() >= 4 {
            count(running.join_next().await);
        }
    }
    while !running.is_empty() {
        count(running.join_next().await);
    }
    say(&format!(
        "bad input: of {CHECKPOINTS} spoiled checkpoints {told} were told in one line, {worked} still load"
    ));
    assert!(told >= CHECKPOINTS / 4, "the generator spoils too little: {told}");
}

#[tokio::test]
async fn a_real_model_that_is_cut_short_or_does_not_fit_is_told() {
    let _turn = beside().await;
    let Some(minilm) = trained("all-MiniLM-L6-v2") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let small: Vec<_> = files(&minilm).into_iter().filter(|(name, _)| name.ends_with(".json")).collect();
    let weights = std::fs::read(minilm.join("model.safetensors")).unwrap();
    write(folder.path(), &small);
    let place = folder.path().join("model.safetensors");
    let embed = || run(["embed".as_ref(), "--model".as_ref(), folder.path().as_os_str(), "text".as_ref()]);
    for length in [0, 7, 8, 4_000, weights.len() / 2, weights.len() - 1] {
        std::fs::write(&place, &weights[..length]).unwrap();
        let output = embed().await;
        let told = failed(&output, 1);
        assert!(told.contains("model.safetensors"), "{length} bytes: {told}");
    }
    std::fs::write(&place, &weights).unwrap();
    let config = std::fs::read_to_string(minilm.join("config.json")).unwrap();
    for (right, wrong) in [
        ("\"hidden_size\": 384", "\"hidden_size\": 768"),
        ("\"num_hidden_layers\": 6", "\"num_hidden_layers\": 7"),
        ("\"intermediate_size\": 1536", "\"intermediate_size\": 1535"),
        ("\"num_attention_heads\": 12", "\"num_attention_heads\": 11"),
        ("\"vocab_size\": 30522", "\"vocab_size\": 30000"),
        ("\"max_position_embeddings\": 512", "\"max_position_embeddings\": 100000"),
        ("\"hidden_size\": 384", "\"hidden_size\": 18446744073709551615"),
    ] {
        assert!(config.contains(right), "no {right} in {config}");
        std::fs::write(folder.path().join("config.json"), config.replace(right, wrong)).unwrap();
        failed(&embed().await, 1);
    }
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    assert!(embed().await.status.success());
}

#[cfg(unix)]
#[tokio::test]
async fn arguments_and_lines_that_are_not_text_are_told() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let _turn = beside().await;
    let latin = OsStr::from_bytes(b"caf\xe9");
    failed(&run(["embed".as_ref(), latin]).await, 2);
    let model = checkpoint("pool-mean");
    let model = model.to_str().unwrap();
    // A folder may be called so; this one is not there.
    assert_ne!(
        run(["embed".as_ref(), "--model".as_ref(), latin, "text".as_ref()]).await.status.code(),
        Some(0)
    );
    let lines = run_with(
        &["embed", "--model", model, "--format", "jsonl", "--input", "-"],
        b"good\ncaf\xe9\n\0nul\ngood\n",
    )
    .await;
    assert!(failed(&lines, 1).contains("1 of 4 items failed"));
    let failing: Vec<bool> = stdout(&lines)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["error"].is_string())
        .collect();
    assert_eq!(failing, [false, true, false, false]);
}

#[tokio::test]
async fn spoiled_requests_are_answered_or_refused_and_the_server_serves_on() {
    let _turn = beside().await;
    let tiny = format!("tiny=text-embedding:{}", checkpoint("pool-mean").display());
    let ranker = format!("ranker=text-embedding:{}", checkpoint("rerank-1").display());
    let server = Server::start(&["--model", &tiny, "--model", &ranker]).await;
    let right = [
        ("/v1/embeddings", json!({"model": "tiny", "input": ["one", "two 🙂"], "dimensions": 8})),
        ("/v1/embeddings", json!({"model": "tiny", "input": [[2, 5, 3], [1]], "encoding_format": "base64"})),
        ("/v1/embeddings", json!({"model": "tiny", "input": "text", "user": "somebody"})),
        (
            "/v1/rerank",
            json!({"model": "ranker", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1}),
        ),
        ("/v1/rerank", json!({"model": "tiny", "query": "q", "documents": ["a"], "return_documents": true})),
    ];
    for (route, body) in &right {
        assert_eq!(server.post(route, body).await.status, 200, "{body}");
    }
    let mut random = Random::new(7);
    let mut connection = server.connect().await;
    let (mut answered, mut refused) = (0, 0);
    for case in 0..BODIES {
        let (route, body) = random.of(&right);
        let mut body = body.to_string().into_bytes();
        for _ in 0..=random.below(3) {
            spoil(&mut body, &mut random);
        }
        let shown = || format!("case {case}: {route} {:?}", String::from_utf8_lossy(&body));
        connection.send(&post(route, &body)).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, connection.answer())
            .await
            .unwrap_or_else(|_| panic!("no answer to {}", shown()))
            .unwrap_or_else(|error| panic!("{error} at {}", shown()));
        match answer.status {
            200 => answered += 1,
            400 | 404 | 413 => {
                refused += 1;
                let error = answer.json()["error"].take();
                let message = error["message"].as_str().unwrap_or_default();
                assert!(!message.is_empty() && !message.contains('\n'), "{error} at {}", shown());
                assert!(error["code"].is_string(), "{error} at {}", shown());
            }
            status => panic!("{status} at {}: {}", shown(), String::from_utf8_lossy(&answer.body)),
        }
        if answer.closes() {
            connection = server.connect().await;
        }
    }
    say(&format!(
        "bad input: of {BODIES} spoiled bodies {refused} were refused, {answered} still made sense"
    ));
    assert!(refused >= BODIES / 2 && answered > 0);

    // Deep nesting overflows no stack, and long nonsense is refused by its beginning.
    for body in ["[".repeat(1 << 20), format!("{{\"model\": {}", "9".repeat(1 << 20))] {
        let mut connection = Connection::open(&server.address).await.unwrap();
        connection.send(&post("/v1/embeddings", body.as_bytes())).await.unwrap();
        let answer = connection.answer().await.unwrap();
        assert_eq!(answer.status, 400);
        assert!(answer.body.len() < 10_000, "the message quotes the body");
    }
    for (route, body) in &right {
        assert_eq!(server.post(route, body).await.status, 200, "{body}");
    }
    assert_eq!(server.get("/ready").await.status, 200);
}
