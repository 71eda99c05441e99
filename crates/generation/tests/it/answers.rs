//! What an answer consists of, and what is refused.

use std::time::Duration;

use generation::{ContentHash, FinishReason, GenerationConfig, Item, Limits, SamplingParams};
use pool_core::Error;

use crate::scripted::{Ask, Drawing, Pool, Script, ask, shape, tokens};
use crate::vocabulary::{EOS, SIZE};

fn seeded(seed: u64) -> Ask {
    let mut one = ask("tell me something");
    one.sampling = SamplingParams { seed, ..SamplingParams::default() };
    one
}

#[tokio::test]
async fn a_seed_decides_the_answer_and_choices_differ() {
    let pool = Pool::new(Script::ample()).await;
    let mut three = seeded(7);
    three.choices = 3;
    let answer = pool.answer(three.clone()).await.unwrap();
    // The prompt was computed once, and of each choice every token but the last.
    let computed = pool.script.computed.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(computed, three.prompt.len() + 3 * 19);
    let choices = tokens(&answer);
    assert_eq!(choices.len(), 3);
    assert!(choices[0] != choices[1] && choices[1] != choices[2] && choices[0] != choices[2]);
    assert_eq!(tokens(&pool.answer(three.clone()).await.unwrap()), choices);
    // The first of several is what one alone would be.
    assert_eq!(tokens(&pool.answer(seeded(7)).await.unwrap())[0], choices[0]);
    assert_ne!(tokens(&pool.answer(seeded(8)).await.unwrap())[0], choices[0]);
    assert_eq!((answer.usage.prompt, answer.usage.completion), (three.prompt.len(), 60));
}

#[tokio::test]
async fn a_stop_string_ends_the_answer_before_itself() {
    let pool = Pool::new(Script::ample()).await;
    let mut one = seeded(3);
    one.max_tokens = Some(40);
    // Letters only, so that the text is as good as its bytes.
    one.sampling.logit_bias = (0..26).map(|letter| (97 + letter, 40.0)).collect();
    let whole = pool.answer(one.clone()).await.unwrap().choices.remove(0);
    assert_eq!(whole.finish, FinishReason::Length);
    for (from, to) in [(0, 1), (5, 8), (20, 24), (36, 40)] {
        let stop = whole.text[from..to].to_owned();
        let at = whole.text.find(&stop).unwrap();
        one.stop = vec!["not in it".to_owned(), stop];
        let (deltas, answer) = pool.stream(one.clone()).await;
        let choice = answer.unwrap().choices.remove(0);
        assert_eq!((choice.text.as_str(), choice.finish), (&whole.text[..at], FinishReason::Stop));
        assert_eq!(deltas.iter().map(|delta| delta.text.as_str()).collect::<String>(), choice.text);
        let shown: Vec<u32> = choice.tokens.iter().map(|written| written.token).collect();
        assert_eq!(
            shown,
            whole.text[..at].bytes().map(u32::from).collect::<Vec<_>>(),
            "no token of the stop string"
        );
        assert_eq!(deltas.last().unwrap().finish, Some(FinishReason::Stop));
        assert_eq!(deltas.iter().filter(|delta| delta.finish.is_some()).count(), 1);
    }
}

#[tokio::test]
async fn end_tokens_end_an_answer_unless_they_are_ignored() {
    let mut script = Script::ample();
    script.ends_after = 8;
    let pool = Pool::new(script).await;
    let mut one = seeded(1);
    one.max_tokens = Some(200);
    let answer = pool.answer(one.clone()).await.unwrap();
    let choice = &answer.choices[0];
    assert_eq!(choice.finish, FinishReason::Stop);
    assert!(choice.tokens.iter().all(|written| written.token != EOS));
    assert_eq!(answer.usage.completion, choice.tokens.len() + 1);
    one.ignore_eos = true;
    let answer = pool.answer(one).await.unwrap();
    assert_eq!((answer.choices[0].finish, answer.usage.completion), (FinishReason::Length, 200));
}

#[tokio::test]
async fn logarithms_come_with_every_token_shown() {
    let pool = Pool::new(Script::ample()).await;
    let mut one = seeded(2);
    one.sampling.temperature = 0.0;
    one.sampling.logprobs = Some(3);
    let (deltas, answer) = pool.stream(one).await;
    let choice = answer.unwrap().choices.remove(0);
    let streamed: Vec<_> = deltas.into_iter().flat_map(|delta| delta.tokens).collect();
    assert_eq!(streamed, choice.tokens);
    assert_eq!(choice.tokens.len(), 20);
    for written in &choice.tokens {
        let told = written.logprobs.as_ref().unwrap();
        assert_eq!(told.top.len(), 3);
        // The most likely was taken.
        assert_eq!(told.top[0], (written.token, told.own));
        assert!(told.own < 0.0 && told.top[0].1 >= told.top[1].1 && told.top[1].1 >= told.top[2].1);
    }
}

#[tokio::test]
async fn ids_without_a_token_are_never_drawn() {
    let mut script = Script::ample();
    script.padding = 37;
    let pool = Pool::new(script).await;
    let plain = Pool::new(Script::ample()).await;
    for temperature in [0.0, 1.0] {
        for schema in [None, Some(serde_json::json!({"type": "string", "maxLength": 10}))] {
            let mut one = Ask { schema, ..seeded(4) };
            one.sampling.temperature = temperature;
            one.sampling.logprobs = Some(5);
            let answer = pool.answer(one.clone()).await.unwrap();
            assert_eq!(answer, plain.answer(one).await.unwrap(), "as if there was no padding");
            let choice = &answer.choices[0];
            let told = choice.tokens.iter().flat_map(|written| &written.logprobs.as_ref().unwrap().top);
            assert!(told.clone().count() > 0 && told.clone().all(|(token, _)| (*token as usize) < SIZE));
        }
    }
}

#[tokio::test]
async fn an_answer_ends_where_the_model_does() {
    let mut script = Script::ample();
    script.context = 40;
    let pool = Pool::new(script).await;
    let mut one = ask(&"x".repeat(30));
    one.max_tokens = None;
    let answer = pool.answer(one.clone()).await.unwrap();
    assert_eq!((answer.choices[0].finish, answer.usage.completion), (FinishReason::Length, 10));
    one.prompt = crate::vocabulary::prompt(&"x".repeat(40));
    let error = pool.answer(one).await.unwrap_err().to_string();
    assert!(error.contains("the prompt has 40 tokens; the model takes 40 of prompt and answer"), "{error}");
}

#[tokio::test]
async fn a_prompt_the_cache_has_no_room_for_is_refused_with_the_numbers() {
    let pool = Pool::new(Script::new(shape(4, &[(None, 8), (Some(6), 4)]))).await;
    let error = pool.answer(ask(&"x".repeat(32))).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }));
    let error = error.to_string();
    assert!(error.contains("has 32 tokens") && error.contains("takes 32"), "{error}");
    // One less, and it gets as long as there is room.
    let mut one = ask(&"x".repeat(30));
    one.max_tokens = None;
    assert_eq!(pool.answer(one).await.unwrap().usage.completion, 2);
    pool.emptied().await;
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_and_the_pool_lives() {
    let pool = Pool::new(Script::ample()).await;
    let cases: Vec<(Ask, &str)> = vec![
        (Ask { max_tokens: Some(0), ..ask("x") }, "max_tokens is 0"),
        (Ask { choices: 0, ..ask("x") }, "n is 0; accepted: a number from 1 to 32"),
        (Ask { choices: 33, ..ask("x") }, "n is 33"),
        (ask(""), "the prompt is empty"),
        (Ask { prompt: vec![Item::Token(9999)], ..ask("x") }, "token id 9999"),
        (Ask { stop: vec![String::new()], ..ask("x") }, "stop has an empty string"),
        (
            Ask { sampling: SamplingParams { temperature: -1.0, ..SamplingParams::default() }, ..ask("x") },
            "temperature is -1; accepted: a number from 0 to 2",
        ),
        (
            Ask { schema: Some(serde_json::json!({"type": "object"})), ignore_eos: true, ..ask("x") },
            "ignore_eos and an answer's grammar",
        ),
    ];
    for (one, expected) in cases {
        let error = pool.answer(one).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(expected) && !message.contains('\n'), "{message:?} lacks {expected:?}");
    }
    assert!(pool.answer(ask("x")).await.is_ok());
    assert_eq!(pool.engine.drain(Duration::from_secs(5)).await.total.completed, 1);
}

#[tokio::test]
async fn a_chunk_at_fault_ends_its_job_alone() {
    let mut script = Script::ample();
    script.poison = Some(250);
    let pool = Pool::new(script).await;
    let mut bad = ask("x");
    bad.prompt.push(Item::Token(250));
    let (first, second, third) =
        tokio::join!(pool.answer(ask("good one")), pool.answer(bad), pool.answer(ask("good two")));
    assert!(first.is_ok() && third.is_ok());
    let error = second.unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    assert!(error.to_string().contains("poisoned"));
    pool.emptied().await;
}

#[tokio::test]
async fn rows_that_no_picture_of_the_job_has_end_it() {
    let pool = Pool::new(Script::ample()).await;
    let drawing = Drawing { name: "cat", pieces: 1 };
    for (rows, row) in [(30, 30), (30, 31), (0, 0)] {
        let mut one = ask("look: ").with_picture(drawing, rows, " what is it?");
        one.prompt.insert(3, Item::Embedding { content: ContentHash::of("cat"), row });
        let error = pool.answer(one).await.unwrap_err().to_string();
        assert!(error.contains(&format!("row {row} of a picture that has {rows}: ")), "{error}");
    }
    assert!(pool.answer(ask("look: ").with_picture(drawing, 30, " what is it?")).await.is_ok());
}

#[test]
fn a_cache_that_can_serve_nothing_is_told() {
    let limits = |cache: &generation::CacheShape, deterministic| {
        let config = GenerationConfig { deterministic, ..GenerationConfig::default() };
        Limits::new(SIZE, 100, cache, &config)
    };
    assert_eq!(limits(&shape(4, &[(None, 8)]), false).unwrap().cache, 32);
    assert_eq!(limits(&shape(4, &[(None, 8), (Some(6), 3)]), false).unwrap().cache, 32);
    assert_eq!(limits(&shape(4, &[(None, 8), (Some(6), 2)]), false).unwrap().cache, 8);
    for (cache, deterministic) in [
        (shape(4, &[]), false),
        (shape(0, &[(None, 8)]), false),
        (shape(4, &[(None, 0)]), false),
        (shape(4, &[(None, 8), (Some(0), 8)]), false),
        (shape(4, &[(None, 8)]), true),
    ] {
        let error = limits(&cache, deterministic).unwrap_err().to_string();
        assert!(error.contains("give it more memory"), "{error}");
    }
}
