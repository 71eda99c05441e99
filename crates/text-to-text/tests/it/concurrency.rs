//! Many sequences at once, in a cache too small for them: each is what it is alone, and all blocks come back.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use text_to_text::{Bytes, Message, TextToText};

use crate::models::{LETTERS, Tiny};

/// Some words of the tiny decoders' letters, different for each number.
fn words(number: usize, length: usize) -> String {
    let letters: Vec<char> = LETTERS.chars().collect();
    (0..length).map(|at| letters[(number * 31 + at * at * 7 + at * number) % letters.len()]).collect()
}

/// A deterministic pool whose cache holds so many blocks of 16 tokens in each group of layers.
async fn pool(name: &str, blocks: u64) -> TextToText {
    load(name, blocks, true).await
}

async fn load(name: &str, blocks: u64, deterministic: bool) -> TextToText {
    let tiny = Tiny::new(name);
    let config = &tiny.fixture["config"];
    let number = |field: &str| config[field].as_u64().unwrap();
    let head =
        config["head_dim"].as_u64().unwrap_or_else(|| number("hidden_size") / number("num_attention_heads"));
    let token = 2 * 4 * number("num_key_value_heads") * head * number("num_hidden_layers");
    let load = tiny.load().kv_cache(Bytes(blocks * 16 * token)).deterministic(deterministic);
    // The folder is not needed any more once the weights are there.
    load.await.unwrap()
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
async fn alone_beside_others_after_giving_way_and_from_the_cache_all_bits_are_the_same() {
    // Room for a few of the twelve at once. Where most layers keep a window only, the others get more blocks.
    for (name, blocks) in [
        ("gemma2", 17),
        ("gemma3", 17),
        ("llama-bias", 24),
        ("llama2", 24),
        ("llama3", 24),
        ("mistral", 17),
        ("phi3", 40),
        ("qwen2-window", 40),
        ("qwen3", 24),
        ("smollm2", 24),
    ] {
        let pool = pool(name, blocks).await;
        let prompts: Vec<String> = (0..12).map(|number| words(number, 20 + number * 7)).collect();
        // Probabilities to their last bit, of the token drawn and of twenty others.
        let ask = |(seed, prompt): (usize, &String)| {
            pool.complete(prompt).temperature(1.0).seed(seed as u64).max_tokens(60).logprobs(20).into_future()
        };
        let mut alone = Vec::new();
        for call in prompts.iter().enumerate().map(ask) {
            alone.push(call.await.unwrap().choices);
        }
        let beside = join_all(prompts.iter().enumerate().map(ask)).await;
        let beside: Vec<_> = beside.into_iter().map(|one| one.unwrap().choices).collect();
        assert_eq!(alone, beside, "{name}");
        let preemptions = pool.occupancy()[0].preemptions();
        // Where all layers keep a window, a sequence is not let in before its window has room, and never outgrows it.
        let gives_way = !["mistral", "phi3", "qwen2-window"].contains(&name);
        assert!(!gives_way || preemptions > 0, "{name}: nothing had to give way: {:?}", pool.occupancy());
        all_blocks_are_back(&pool).await;
        // The longest prompt has more than one chunk, so its beginning is taken from the cache the second time, where there
        // is room to keep it: without, a window's blocks are the first to be given up.
        let roomy = self::pool(name, 200).await;
        let longest = || {
            let call = roomy.complete(&prompts[11]).temperature(1.0).seed(11).max_tokens(60);
            call.logprobs(20).into_future()
        };
        let (_, again) = (longest().await.unwrap(), longest().await.unwrap());
        assert!(again.usage.cached >= 64, "{name}: {:?}", again.usage);
        assert_eq!(again.choices, alone[11], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_default_texts_part_at_a_near_tie_only() {
    for name in ["llama3", "gemma3", "qwen2"] {
        let pool = load(name, 200, false).await;
        let prompts: Vec<String> = (0..12).map(|number| words(number, 20 + number * 7)).collect();
        let ask =
            |prompt: &String| pool.complete(prompt).temperature(0.0).max_tokens(60).logprobs(2).into_future();
        let together = join_all(prompts.iter().map(ask)).await;
        for (prompt, together) in prompts.iter().zip(together) {
            let (together, alone) = (together.unwrap(), ask(prompt).await.unwrap());
            let pairs = alone.choices[0].tokens.iter().zip(&together.choices[0].tokens);
            let Some((token, other)) =
                pairs.into_iter().find(|(alone, together)| alone.token != together.token)
            else {
                continue;
            };
            let top = &token.logprobs.as_ref().unwrap().top;
            let margin = top[0].1 - top[1].1;
            eprintln!("{name}: {} or {} after {prompt:?}, {margin:e} apart", token.token, other.token);
            assert!(margin < 1e-3, "{name}: parted where {margin} lies between");
        }
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
