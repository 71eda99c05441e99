//! Four models of four modalities under a memory limit that holds two of them: each request is answered, whatever has to
//! leave for it, and the process stays within the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::models::{say, trained};
use crate::server::Server;
use crate::turns::alone;
use crate::vision_models::{Checkpoint, picture_url};

/// Room for two of the models, of which there are four of 120 to 210 MiB.
const LIMIT: u64 = 512 << 20;
/// Requests to each model, in turn.
const ROUNDS: usize = 3;

/// The resident memory of a process, in bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A sum over all models of a counter in the metrics.
fn total(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_make_room_for_each_other_and_every_request_is_answered() {
    let _turn = alone().await;
    let Some(minilm) = trained("all-MiniLM-L6-v2") else { return };
    let Some(smollm) = trained("SmolLM2-135M-Instruct") else { return };
    let llava = Checkpoint::llava().with_vocabulary(
        600_000,
        &["language_model.model.embed_tokens.weight", "language_model.lm_head.weight"],
    );
    let clip =
        Checkpoint::clip().with_vocabulary(1_500_000, &["text_model.embeddings.token_embedding.weight"]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("candlepool.toml");
    let model = |name: &str, modality: &str, source: &std::path::Path, more: &str| {
        format!(
            "[models.{name}]\nmodality = \"{modality}\"\nsource = {source:?}\nqueue = {{ max_wait = \"none\" }}\n{more}"
        )
    };
    let text = [
        format!("[memory]\nlimit = {LIMIT}\n"),
        model("texts", "text-embedding", &minilm, ""),
        model("images", "image-embedding", clip.path(), ""),
        model("writer", "text-to-text", &smollm, "kv_cache = \"100MiB\"\nsequences = 2\n"),
        model("seer", "llava-vision", llava.path(), "kv_cache = \"8MiB\"\nsequences = 2\n"),
    ];
    std::fs::write(&config, text.concat()).unwrap();
    let server = Arc::new(Server::start(&["--config", config.to_str().unwrap()]).await);

    let (most, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let watching = tokio::spawn({
        let (most, over, process) = (Arc::clone(&most), Arc::clone(&over), server.process());
        async move {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(resident(process), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let question = json!([
        {"type": "image_url", "image_url": {"url": picture_url("square")}},
        {"type": "text", "text": "What is it?"},
    ]);
    let chat = |model: &str, content: &Value| {
        let body =
            json!({"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 4});
        ("/v1/chat/completions", body)
    };
    let embed = |model: &str, input: Value| ("/v1/embeddings", json!({"model": model, "input": input}));
    let requests = [
        embed("texts", json!("a text")),
        embed("images", json!([{"image": picture_url("square")}, "a text"])),
        chat("writer", &json!("Hello")),
        chat("seer", &question),
    ];
    let mut answers: Vec<Vec<Value>> = vec![Vec::new(); requests.len()];
    for _ in 0..ROUNDS {
        for ((path, body), answers) in requests.iter().zip(&mut answers) {
            let answer = server.post(path, body).await;
            assert_eq!(answer.status, 200, "{path} {body}: {}", String::from_utf8_lossy(&answer.body));
            let answer = answer.json();
            let said = answer.get("data").or(answer.pointer("/choices/0/message"));
            answers.push(said.unwrap_or_else(|| panic!("{answer}")).clone());
        }
    }
    // All at once: each waits until the others have made room.
    let together = requests.iter().map(|(path, body)| server.post(path, body));
    for answer in futures::future::join_all(together).await {
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
    over.store(true, Ordering::Relaxed);
    watching.await.unwrap();
    for answers in answers {
        for again in &answers[1..] {
            assert_eq!(again, &answers[0], "a model that was loaded again answers as before");
        }
    }
    let metrics = String::from_utf8(server.get("/metrics").await.body).unwrap();
    let (loads, evictions) =
        (total(&metrics, "candlepool_loads_total{"), total(&metrics, "candlepool_evictions_total{"));
    let most = most.load(Ordering::Relaxed);
    say(&format!(
        "memory: {loads} loads and {evictions} evictions under a limit of {} MiB; {} MiB resident at most",
        LIMIT >> 20,
        most >> 20
    ));
    assert!(evictions >= (2 * ROUNDS) as f64, "everything had room: {evictions} evictions");
    assert!(most <= LIMIT + LIMIT / 10, "{most} bytes were resident");
}
