//! Pictures are never taken for one another, and one that was seen is not computed again.

use futures::future::join_all;
use llava_vision::{Generation, LlavaVision};

use crate::tiny::{Tiny, about, picture, tokens};

const QUESTION: &str = "What is in this picture?";

async fn ask(pool: &LlavaVision, name: &str, question: &str) -> Generation {
    pool.describe(picture(name), question).max_tokens(8).logprobs(20).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_text_with_two_pictures_of_one_size_shares_nothing() {
    for name in ["llava-llama", "next-mistral"] {
        let pool = Tiny::new(name).load().await.unwrap();
        let first = ask(&pool, "square", QUESTION).await;
        let other = ask(&pool, "other-square", QUESTION).await;
        assert_eq!(first.usage.prompt, other.usage.prompt);
        assert_ne!(first.choices[0].tokens[0].logprobs, other.choices[0].tokens[0].logprobs, "{name}");
        // Not a block of 16 tokens lies before the picture.
        assert_eq!((first.usage.cached, other.usage.cached), (0, 0), "{name}");
        // The first again, after the other and from the cache.
        let again = ask(&pool, "square", QUESTION).await;
        assert_eq!(tokens(&again), tokens(&first));
        assert!(again.usage.cached >= 16, "{name}: {:?}", again.usage);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_question_takes_the_pictures_place_from_the_cache() {
    let tiny = Tiny::new("next-llama");
    let (pool, fresh) = (tiny.load().await.unwrap(), tiny.load().await.unwrap());
    ask(&pool, "landscape", QUESTION).await;
    let second = ask(&pool, "landscape", "Is it green?").await;
    // 62 rows of the picture, of which whole blocks are shared.
    assert!(second.usage.cached >= 48, "{:?}", second.usage);
    assert_eq!(tokens(&second), tokens(&ask(&fresh, "landscape", "Is it green?").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_in_another_order_are_another_prompt() {
    let pool = Tiny::new("llava-llama").load().await.unwrap();
    let both = |first, second| {
        let call = pool.chat([about(2, QUESTION)]).pictures([picture(first), picture(second)]);
        call.max_tokens(8).logprobs(5).into_future()
    };
    let (one, other) =
        (both("square", "other-square").await.unwrap(), both("other-square", "square").await.unwrap());
    assert_ne!(one.choices[0].tokens[0].logprobs, other.choices[0].tokens[0].logprobs);
    assert_eq!(other.usage.cached, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_others_with_little_room_each_gets_what_it_gets_alone() {
    let tiny = Tiny::new("next-qwen2");
    // Two layers, keys and values of 2 heads of 10 numbers: 320 bytes a position, room for two such prompts.
    let load = || tiny.load().deterministic(true).kv_cache(llava_vision::Bytes(320 * 320));
    let (pool, alone) = (load().await.unwrap(), load().await.unwrap());
    let names = ["square", "other-square", "landscape", "portrait", "wide", "tall"];
    let ask = |pool: &LlavaVision, name: &str| {
        pool.describe(picture(name), QUESTION)
            .temperature(1.0)
            .seed(7)
            .max_tokens(12)
            .logprobs(20)
            .into_future()
    };
    let twice = names.iter().chain(&names);
    let beside = join_all(twice.clone().map(|name| ask(&pool, name))).await;
    for (name, beside) in twice.zip(beside) {
        assert_eq!(beside.unwrap().choices, ask(&alone, name).await.unwrap().choices, "{name}");
    }
}
