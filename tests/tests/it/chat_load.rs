//! Many streams at once, some of which their clients leave half-way: each is what it is alone, every token is accounted
//! for, and the cache is empty in the end.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::connection::post;
use crate::models::{say, trained};
use crate::random::Random;
use crate::server::Server;
use crate::turns::beside;

/// As many as the promise is about.
const STREAMS: usize = 32;
/// Tokens of a whole answer.
const TOKENS: usize = 16;
/// Tokens that those ask for who leave: more than they wait for.
const MANY: usize = 400;
/// Everything together; a minute is usual on two cores.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a client saw of its stream.
#[derive(Debug)]
struct Seen {
    text: String,
    /// Of the last piece; `None` where the client has left.
    tokens: Option<u64>,
}

fn request(number: usize, stream: bool, tokens: usize) -> Value {
    let mut request = json!({
        "model": "smollm",
        "messages": [{"role": "user", "content": format!("Tell me something about the number {number}.")}],
        "temperature": 0.9,
        "seed": number,
        "max_tokens": tokens,
        "ignore_eos": true,
    });
    if stream {
        request["stream"] = true.into();
        request["stream_options"] = json!({"include_usage": true});
    }
    request
}

/// Reads a stream, and leaves after so many pieces of text.
async fn read(address: &str, number: usize, leave_after: Option<usize>) -> Seen {
    let asked = request(number, true, if leave_after.is_some() { MANY } else { TOKENS });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&post("/v1/chat/completions", asked.to_string().as_bytes())).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut seen = Seen { text: String::new(), tokens: None };
    let mut pieces = 0;
    loop {
        if leave_after.is_some_and(|after| pieces >= after) {
            return seen;
        }
        let line = lines.next_line().await.unwrap().expect("the stream ended before its last piece");
        // Between events are the lengths of the chunks that HTTP sends them in.
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if data == "[DONE]" {
            return seen;
        }
        let piece: Value = serde_json::from_str(data).unwrap();
        assert!(piece.get("error").is_none(), "{piece}");
        if let Some(tokens) = piece["usage"]["completion_tokens"].as_u64() {
            seen.tokens = Some(tokens);
        }
        if let Some(text) = piece["choices"][0]["delta"]["content"].as_str() {
            seen.text.push_str(text);
            pieces += 1;
        }
    }
}

/// A metric of the model, from `/metrics`.
async fn metric(server: &Server, name: &str) -> f64 {
    let answer = server.get("/metrics").await;
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    line.unwrap_or_else(|| panic!("{name} is not told")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn thirty_two_streams_with_cancellations_are_accounted_for() {
    let _turn = beside().await;
    let Some(model) = trained("SmolLM2-135M-Instruct") else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("candlepool.toml");
    let text = format!(
        "[models.smollm]\nmodality = \"text-to-text\"\nsource = {model:?}\ndeterministic = true\n\
         kv_cache = \"64MiB\"\nqueue = {{ max_wait = \"none\" }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let server = Server::start(&["--config", config.to_str().unwrap()]).await;
    let all = async {
        let mut random = Random::new(32);
        // Some leave with the first piece, some in the middle, some stay.
        let leaving: Vec<Option<usize>> =
            (0..STREAMS).map(|_| (random.below(3) == 0).then(|| 1 + random.below(TOKENS / 2))).collect();
        let streams = leaving.iter().enumerate().map(|(number, leave)| read(&server.address, number, *leave));
        let seen = join_all(streams).await;
        let stayed = leaving.iter().filter(|leave| leave.is_none()).count();
        assert!((10..STREAMS - 4).contains(&stayed), "{stayed} stayed");
        let told: u64 = seen.iter().filter_map(|seen| seen.tokens).sum();
        assert_eq!(told, (stayed * TOKENS) as u64, "every token of every answer, and no other");

        let written = metric(&server, "candlepool_generation_written_tokens_total").await;
        assert!(
            written >= told as f64 && written < (STREAMS * TOKENS) as f64,
            "{written}: those who left cost on"
        );
        for (number, seen) in seen.iter().enumerate() {
            let alone = server.post("/v1/chat/completions", &request(number, false, TOKENS)).await.json();
            let alone = alone["choices"][0]["message"]["content"].as_str().unwrap();
            match leaving[number] {
                None => assert_eq!(seen.text, alone, "stream {number}"),
                Some(_) => {
                    assert!(alone.starts_with(&seen.text), "stream {number}: {:?} of {alone:?}", seen.text)
                }
            }
        }
        // Whoever left has been let go of: the last answer is there, and holds nothing any more.
        for name in ["candlepool_generation_cache_blocks_used", "candlepool_generation_running_sequences"] {
            assert_eq!(metric(&server, name).await, 0.0, "{name}");
        }
        let pool = server.pool().await;
        assert_eq!(pool["queue"]["waiting"], 0);
        assert_eq!(pool["queue"]["leased"], 0);
        let jobs = &pool["jobs"];
        let left = (STREAMS - stayed) as u64;
        assert_eq!((&jobs["accepted"], &jobs["cancelled"]), (&json!(2 * STREAMS), &json!(left)));
        say(&format!(
            "chat load: {stayed} of {STREAMS} streams stayed, {told} tokens told to them, {written} written"
        ));
    };
    tokio::time::timeout(PATIENCE, all).await.expect("it hangs");
}
