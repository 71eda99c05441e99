//! Many sequences at once, in a cache too small for them: each is what it is alone, and all blocks come back.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use generation::Generation;
use text_to_text::{Bytes, Message, TextToText};

use crate::models::{LETTERS, Tiny};

/// Some words of the tiny decoders' letters, different for each number.
fn words(number: usize, length: usize) -> String {
    let letters: Vec<char> = LETTERS.chars().collect();
    (0..length).map(|at| letters[(number * 31 + at * at * 7 + at * number) % letters.len()]).collect()
}

/// A pool whose cache holds so many blocks of 16 tokens in each group of layers.
async fn pool(name: &str, blocks: u64) -> TextToText {
    let tiny = Tiny::new(name);
    let config = &tiny.fixture["config"];
    let number = |field: &str| config[field].as_u64().unwrap();
    let head =
        config["head_dim"].as_u64().unwrap_or_else(|| number("hidden_size") / number("num_attention_heads"));
    let token = 2 * 4 * number("num_key_value_heads") * head * number("num_hidden_layers");
    let load = tiny.load().kv_cache(Bytes(blocks * 16 * token)).deterministic(true);
    // The folder is not needed any more once the weights are there.
    load.await.unwrap()
}

fn ids(generation: &Generation) -> Vec<u32> {
    generation.choices[0].tokens.iter().map(|token| token.token).collect()
}

async fn all_blocks_are_back(pool: &TextToText) {
    for _ in 0..200 {
        let occupancy = pool.occupancy();
        assert_eq!(occupancy.len(), 1);
        if occupancy[0].blocks_used() == 0 && occupancy[0].running() + occupancy[0].waiting() == 0 {
            return;
        }
        // A step is at work, or one job must come for the cancelled ones to be let go of.
        let _ = pool.complete("a").max_tokens(1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("blocks are kept: {:?}", pool.occupancy());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_does_not_depend_on_what_is_written_beside_it() {
    // Room for a few of the twelve at once. Most of gemma3's layers keep a window only, the others get more blocks.
    for (name, blocks) in [("smollm2", 24), ("gemma3", 17)] {
        let pool = pool(name, blocks).await;
        let prompts: Vec<String> = (0..12).map(|number| words(number, 20 + number * 7)).collect();
        let mut alone = Vec::new();
        for (seed, prompt) in prompts.iter().enumerate() {
            let call = pool.complete(prompt).temperature(1.0).seed(seed as u64).max_tokens(60);
            alone.push(ids(&call.await.unwrap()));
        }
        let calls = prompts.iter().enumerate().map(|(seed, prompt)| {
            pool.complete(prompt).temperature(1.0).seed(seed as u64).max_tokens(60).into_future()
        });
        let beside: Vec<_> = join_all(calls).await.into_iter().map(|one| ids(&one.unwrap())).collect();
        assert_eq!(alone, beside, "{name}");
        assert!(
            pool.occupancy()[0].preemptions() > 0,
            "{name}: nothing had to give way: {:?}",
            pool.occupancy()
        );
        all_blocks_are_back(&pool).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_dropped_anywhere_leave_nothing_behind() {
    let pool = pool("mistral", 40).await;
    let streams = (0..32_usize).map(|number| {
        let pool = pool.clone();
        async move {
            let call = pool.complete(words(number, 10 + number * 3)).seed(7).temperature(1.0).max_tokens(40);
            // Every third is read to its end; the others are dropped after so many deltas.
            let read = if number % 3 == 0 { usize::MAX } else { number };
            let mut stream = call.clone().stream().await.unwrap();
            let (mut text, mut deltas) = (String::new(), 0);
            while deltas < read {
                let Some(delta) = stream.next().await else { break };
                text.push_str(&delta.unwrap().text);
                deltas += 1;
            }
            if read == usize::MAX {
                let whole = stream.finish().await.unwrap();
                assert_eq!(text, whole.text());
                assert_eq!(whole.usage.completion, 40);
            } else {
                drop(stream);
            }
            (call, text)
        }
    });
    let partial = join_all(streams).await;
    all_blocks_are_back(&pool).await;
    for (call, text) in partial {
        let whole = call.await.unwrap();
        assert!(whole.text().starts_with(&text), "a stream was given another's text");
    }
    let counts = pool.group().stats().queue.counts;
    assert_eq!(counts.failed, 0, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_beginning_is_computed_once_and_answers_are_the_same_as_without_it() {
    let pool = pool("llama3", 60).await;
    let system = words(3, 80);
    let ask = |user: &str| pool.chat([Message::system(&*system), Message::user(user)]).max_tokens(8);
    let first = ask("one").await.unwrap();
    assert_eq!(first.usage.cached, 0);
    // What is computed the same way always is cut after each 64 tokens, so that is what can be shared of 93.
    let second = ask("two").await.unwrap();
    assert_eq!(second.usage.cached, 64);
    let again = ask("one").await.unwrap();
    assert_eq!(again.usage.cached, 64);
    assert_eq!(first.choices, again.choices);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_answers_differ_and_come_again_with_their_seed() {
    let pool = pool("qwen3", 60).await;
    let ask = |seed| pool.complete("Hello:").temperature(1.0).max_tokens(12).n(3).seed(seed);
    let (first, again, other) = (ask(1).await.unwrap(), ask(1).await.unwrap(), ask(2).await.unwrap());
    assert_eq!(first.choices.len(), 3);
    assert_eq!(first.choices, again.choices);
    assert_ne!(first.choices, other.choices);
    assert_ne!(first.choices[0].text, first.choices[1].text);
    assert_ne!(first.choices[1].text, first.choices[2].text);
    let unseeded = || pool.complete("Hello:").temperature(1.0).max_tokens(12).into_future();
    let both = join_all([unseeded(), unseeded()]).await;
    assert_ne!(
        both[0].as_ref().unwrap().choices,
        both[1].as_ref().unwrap().choices,
        "joined, or of one seed"
    );
}
