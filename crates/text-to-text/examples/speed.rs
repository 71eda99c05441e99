//! Tokens a second through the public face, as asked on standard input.
//!
//! `speed SOURCE` loads a model and says so in a line of JSON. Then each line of input, `{"prompts": [[ids], ..], "tokens":
//! n}`, is answered by one: `{"prefill": tokens a second, "decode": tokens a second}`, of as many streams as there are
//! prompts. Prefill is all tokens of the prompts over the time in which every stream has got its first token; decode counts
//! while all streams write, and n tokens each. `cargo xtask bench text` asks, and asks llama.cpp the same in turn.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement"
)]

use futures::StreamExt as _;
use futures::future::join_all;
use serde_json::{Value, json};
use text_to_text::TextToText;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::time::Instant;

#[tokio::main]
async fn main() {
    let source = std::env::args().nth(1).expect("usage: speed SOURCE");
    let pool = TextToText::load(source.as_str()).name("speed").await.unwrap();
    println!("{}", json!({"architecture": pool.info().architecture, "vocabulary": pool.info().vocabulary}));
    let mut asked = BufReader::new(stdin()).lines();
    while let Some(line) = asked.next_line().await.unwrap() {
        let asked: Value = serde_json::from_str(&line).expect("a line of JSON");
        let prompts: Vec<Vec<u32>> = asked["prompts"].as_array().unwrap().iter().map(ids).collect();
        let tokens = asked["tokens"].as_u64().unwrap() as usize;
        let prefill = prefill(&pool, &prompts).await;
        let decode = decode(&pool, &prompts, tokens).await;
        println!("{}", json!({"prefill": prefill, "decode": decode}));
    }
}

fn ids(prompt: &Value) -> Vec<u32> {
    prompt.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Prompts that were never seen before, and one token each.
async fn prefill(pool: &TextToText, prompts: &[Vec<u32>]) -> f64 {
    let start = Instant::now();
    let calls = prompts.iter().map(|prompt| pool.complete(prompt.as_slice()).temperature(0.0).max_tokens(1));
    for answer in join_all(calls.map(IntoFuture::into_future)).await {
        let usage = answer.unwrap().usage;
        assert_eq!(usage.cached, 0, "the prompt is new");
    }
    let elapsed = start.elapsed().as_secs_f64();
    prompts.iter().map(Vec::len).sum::<usize>() as f64 / elapsed
}

/// The same prompts once more, which are cached by now.
async fn decode(pool: &TextToText, prompts: &[Vec<u32>], tokens: usize) -> f64 {
    let streams = join_all(prompts.iter().map(|prompt| times(pool, prompt, tokens + 1))).await;
    let start = *streams.iter().map(|times| &times[0]).max().unwrap();
    let end = *streams.iter().map(|times| &times[tokens]).min().unwrap();
    let within = streams.iter().flatten().filter(|time| start < **time && **time <= end).count();
    within as f64 / (end - start).as_secs_f64()
}

/// When each token of an answer came.
async fn times(pool: &TextToText, prompt: &[u32], tokens: usize) -> Vec<Instant> {
    let call = pool.complete(prompt).temperature(0.0).ignore_eos(true).max_tokens(tokens);
    let mut stream = call.stream().await.unwrap();
    let mut times = Vec::with_capacity(tokens);
    while let Some(delta) = stream.next().await {
        let now = Instant::now();
        times.extend(delta.unwrap().tokens.iter().map(|_| now));
    }
    assert_eq!(times.len(), tokens, "an answer is as long as it may be");
    times
}
