//! Many streams at once: each gets its own tokens, and every block comes back.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use generation::{FinishReason, Generation, SamplingParams, Usage};
use pool_core::{JobOptions, Priority};

use crate::scripted::{Ask, Drawing, Pool, Script, alone, ask, shape, tokens};

/// A repeatable sequence of numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn asks(count: u64, dice: &mut Dice) -> Vec<Ask> {
    let system = "You are a helpful assistant who answers briefly, and never without a reason. ";
    (0..count)
        .map(|at| {
            let mut one =
                ask(&format!("{}{}", &system[..dice.roll(70) as usize], "x".repeat(1 + at as usize % 9)));
            // Every third has a picture; there are three of them.
            if at % 3 == 1 {
                let names = ["cat", "dog", "cow"];
                let drawing = Drawing { name: names[dice.roll(3) as usize], pieces: 3 };
                one = one.with_picture(drawing, 13, "and");
            }
            one.sampling = SamplingParams {
                seed: at,
                temperature: if at % 5 == 0 { 0.0 } else { 1.0 },
                top_k: (at % 3 == 0).then_some(20),
                repetition_penalty: if at % 4 == 0 { 1.2 } else { 1.0 },
                ..SamplingParams::default()
            };
            one.max_tokens = Some(1 + dice.roll(60) as usize);
            one.choices = 1 + dice.roll(3) as u32;
            one.priority = Priority::ALL[dice.roll(3) as usize];
            one
        })
        .collect()
}

/// Reads a stream to its end, or so many events of it and then drops it.
async fn read(pool: &Pool, ask: Ask, give_up_after: Option<usize>) -> Option<(String, Generation)> {
    let options = JobOptions::default().priority(ask.priority);
    let (ticket, mut events) =
        pool.group.submit_streaming(ask, options, NonZeroUsize::new(4).unwrap()).await.unwrap();
    let mut texts: Vec<String> = Vec::new();
    let mut read = 0;
    while let Some(delta) = events.recv().await {
        texts.resize(texts.len().max(delta.choice as usize + 1), String::new());
        texts[delta.choice as usize].push_str(&delta.text);
        read += 1;
        if give_up_after == Some(read) {
            return None;
        }
    }
    let generation = ticket.await.unwrap();
    let whole: Vec<String> = generation.choices.iter().map(|choice| choice.text.clone()).collect();
    assert_eq!(texts, whole, "the pieces are the whole");
    Some((texts.concat(), generation))
}

async fn thirty_two(script: Script, seed: u64) {
    let ends_after = script.ends_after;
    let windows = script.shape.clone();
    let pool = Pool::new(script).await;
    let mut dice = Dice(seed);
    let all = asks(32, &mut dice);
    let jobs = all.iter().map(|one| {
        let give_up_after = (dice.roll(3) == 0).then(|| 1 + dice.roll(12) as usize);
        let pool = &pool;
        async move { (one, read(pool, one.clone(), give_up_after).await) }
    });
    let jobs: Vec<_> = jobs.collect();
    let mut written = 0;
    let mut finished = 0;
    for (one, answer) in futures_join(jobs).await {
        let Some((_, answer)) = answer else { continue };
        let expected = alone(one, ends_after, &windows).await;
        assert_eq!(tokens(&answer), tokens(&expected), "{:?}", one.sampling);
        assert_eq!(Usage { cached: 0, ..answer.usage }, expected.usage);
        assert_eq!(answer.choices, expected.choices);
        for choice in &answer.choices {
            // The token that ended it counts, and is no part of it.
            written += choice.tokens.len() + usize::from(choice.finish == FinishReason::Stop);
        }
        finished += 1;
        assert_eq!(answer.usage.prompt, one.prompt.len());
        let most = one.max_tokens.unwrap() * one.choices as usize;
        assert!(answer.usage.completion <= most);
        written -= answer.usage.completion;
    }
    assert_eq!(written, 0, "tokens are counted as they are written");
    assert!(finished > 10);
    pool.emptied().await;
    let report = pool.engine.drain(Duration::from_secs(10)).await;
    assert_eq!(report.total.completed + report.total.cancelled, 32);
}

/// Polls all at once, in one task.
async fn futures_join<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_streams_with_room_for_all() {
    let mut script = Script::new(shape(16, &[(None, 2000)]));
    script.ends_after = 40;
    thirty_two(script, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_streams_in_a_cache_for_two() {
    let mut script = Script::new(shape(4, &[(None, 80), (Some(10), 30)]));
    script.ends_after = 40;
    thirty_two(script, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_streams_cut_at_fixed_places() {
    let mut script = Script::new(shape(8, &[(None, 60), (Some(20), 40)]));
    script.ends_after = 30;
    script.config.deterministic = true;
    thirty_two(script, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_computed_before_is_not_computed_again() {
    let pool = Pool::new(Script::ample()).await;
    let first = ask(&"a shared beginning ".repeat(10));
    let one = pool.answer(first.clone()).await.unwrap();
    assert_eq!(one.usage.cached, 0);
    let computed = || pool.script.computed.load(Relaxed);
    let before = computed();
    let two = pool.answer(first.clone()).await.unwrap();
    assert_eq!(tokens(&one), tokens(&two));
    let full = (first.prompt.len() - 1) / 16 * 16;
    assert_eq!(two.usage.cached, full);
    // The rest of the prompt, and every token of the answer but the last.
    assert_eq!(computed() - before, first.prompt.len() - full + 19);
    // The next turn of a conversation begins with all of the last one.
    let mut next = first.clone();
    next.prompt.extend(tokens(&one)[0].iter().map(|token| generation::Item::Token(*token)));
    next.prompt.extend(crate::vocabulary::prompt("and then?"));
    let three = pool.answer(next).await.unwrap();
    assert_eq!(three.usage.cached, (first.prompt.len() + 19) / 16 * 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    for max_sequences in [32, 1] {
        slow_reader_beside_another(max_sequences).await;
    }
}

async fn slow_reader_beside_another(max_sequences: usize) {
    let mut script = Script::new(shape(4, &[(None, 40)]));
    script.config.max_sequences = max_sequences;
    let pool = Pool::new(script).await;
    let mut slow = ask("the slow reader's prompt is long enough to fill most of the cache: ");
    slow.max_tokens = Some(60);
    slow.priority = Priority::High;
    let (ticket, mut events) = pool
        .group
        .submit_streaming(slow.clone(), JobOptions::default(), NonZeroUsize::new(2).unwrap())
        .await
        .unwrap();
    assert!(events.recv().await.is_some());
    // Twice as much as there is room for besides.
    let mut other = ask("another prompt that needs most of the cache for itself alone, at least ");
    other.max_tokens = Some(50);
    let got = pool.answer(other.clone()).await.unwrap();
    assert_eq!(tokens(&got), tokens(&alone(&other, 0, &pool.script.shape).await));
    assert!(pool.script.occupancy().preemptions() > 0);
    let reading = async { while events.recv().await.is_some() {} };
    let (answer, ()) = tokio::join!(ticket, reading);
    assert_eq!(tokens(&answer.unwrap()), tokens(&alone(&slow, 0, &pool.script.shape).await));
    pool.emptied().await;
    assert!(pool.script.widest.load(Relaxed) <= max_sequences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_do_not_read_leave_their_places_to_others_and_get_them_back() {
    let mut script = Script::new(shape(4, &[(None, 300)]));
    script.config.max_sequences = 3;
    let pool = Pool::new(script).await;
    let mut slow = Vec::new();
    // More sequences than there are places, and none that is read.
    for at in 0..4 {
        let one = Ask { choices: 1 + at % 2, max_tokens: Some(60), ..ask("the slow reader's prompt") };
        let ahead = NonZeroUsize::new(2).unwrap();
        let options = JobOptions::default();
        let (ticket, mut events) = pool.group.submit_streaming(one.clone(), options, ahead).await.unwrap();
        assert!(events.recv().await.is_some());
        slow.push((one, ticket, events));
    }
    let other = Ask { choices: 3, ..ask("somebody who reads") };
    let got = pool.answer(other.clone()).await.unwrap();
    assert_eq!(tokens(&got), tokens(&alone(&other, 0, &pool.script.shape).await));
    // All wake at once.
    let reading = slow.into_iter().map(|(one, ticket, mut events)| async move {
        let reading = async { while events.recv().await.is_some() {} };
        let (answer, ()) = tokio::join!(ticket, reading);
        (one, answer.unwrap())
    });
    for (one, answer) in futures_join(reading.collect()).await {
        assert_eq!(tokens(&answer), tokens(&alone(&one, 0, &pool.script.shape).await));
    }
    pool.emptied().await;
    assert_eq!(pool.script.widest.load(Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_that_is_given_up_frees_its_place_between_two_chunks() {
    let mut script = Script::new(shape(4, &[(None, 200)]));
    script.step = Duration::from_millis(20);
    let pool = Pool::new(script).await;
    let mut long = ask(&"x".repeat(390));
    long.max_tokens = Some(5);
    let ticket = pool.group.submit(long, JobOptions::default()).await.unwrap();
    while pool.script.computed.load(Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(ticket);
    pool.emptied().await;
    assert!(pool.script.computed.load(Relaxed) < 390, "the rest is never computed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_sequences_are_active_than_there_may_be() {
    let mut script = Script::new(shape(4, &[(None, 300)]));
    script.config.max_sequences = 3;
    script.step = Duration::from_millis(2);
    let pool = Pool::new(script).await;
    pool.group.warm().await.unwrap();
    let mut most = 0;
    // Nine sequences in all.
    let asks: Vec<_> = (0..6).map(|at| Ask { choices: 1 + at % 2, ..ask("how many are there?") }).collect();
    let answers = futures_join(asks.iter().map(|one| pool.answer(one.clone())).collect());
    let watching = async {
        loop {
            let occupancy = pool.script.occupancy();
            most = most.max(occupancy.running());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answers = answers => assert!(answers.iter().all(Result::is_ok)),
        () = watching => {}
    }
    assert!((2..=3).contains(&most), "{most}");
    assert_eq!(pool.script.widest.load(Relaxed), 3);
    pool.emptied().await;
}
