//! Pictures in prompts: computed in pieces beside everything else, kept, dropped, and never confused.

use std::time::Duration;

use generation::GenerationConfig;
use pool_core::{Error, JobOptions, Priority};

use crate::scripted::{Ask, Drawing, Event, Pool, Script, alone, ask, shape, tokens};

const CAT: Drawing = Drawing { name: "cat", pieces: 3 };
const DOG: Drawing = Drawing { name: "dog", pieces: 3 };

/// A text, a picture of 40 rows and a question.
fn about(before: &str, drawing: Drawing, question: &str) -> Ask {
    ask(before).with_picture(drawing, 40, question)
}

const BEFORE: &str = "thirty-two characters before it.";

/// Asserts that an answer is what the request gets alone.
async fn as_alone(pool: &Pool, ask: Ask) -> generation::Usage {
    let answer = pool.answer(ask.clone()).await.unwrap();
    assert_eq!(tokens(&answer), tokens(&alone(&ask, 0, &pool.script.shape).await));
    answer.usage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_text_with_two_pictures_shares_the_blocks_before_them_alone() {
    let pool = Pool::new(Script::ample()).await;
    let cat = as_alone(&pool, about(BEFORE, CAT, "What is it?")).await;
    assert_eq!((cat.prompt, cat.cached), (32 + 40 + 11, 0));
    let dog = as_alone(&pool, about(BEFORE, DOG, "What is it?")).await;
    assert_eq!(dog.cached, 32, "two blocks of text");
    assert_eq!(pool.script.encoded(), 2);
    let both = [about(BEFORE, CAT, "What is it?"), about(BEFORE, DOG, "What is it?")];
    let answers = [pool.answer(both[0].clone()).await.unwrap(), pool.answer(both[1].clone()).await.unwrap()];
    assert_ne!(tokens(&answers[0]), tokens(&answers[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_question_about_a_picture_takes_its_blocks_and_computes_nothing_of_it() {
    let pool = Pool::new(Script::ample()).await;
    as_alone(&pool, about(BEFORE, CAT, "Is it black or white?")).await;
    let second = as_alone(&pool, about(BEFORE, CAT, "Is it young?")).await;
    assert_eq!(second.cached, 64, "two blocks of text, and two of the picture's two and a half");
    // Another text before it: other blocks, but the rows are kept.
    let other = as_alone(&pool, about("Otherwise.", CAT, "Is it young?")).await;
    assert_eq!((other.cached, pool.script.encoded()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_pictures_stand_in_one_prompt() {
    let pool = Pool::new(Script::ample()).await;
    let compare = |first, second| about("First ", first, "and then ").with_picture(second, 40, "Which one?");
    as_alone(&pool, compare(CAT, DOG)).await;
    assert_eq!(pool.script.encoded(), 2);
    as_alone(&pool, compare(DOG, CAT)).await;
    as_alone(&pool, compare(CAT, CAT)).await;
    let answers =
        [pool.answer(compare(CAT, DOG)).await.unwrap(), pool.answer(compare(DOG, CAT)).await.unwrap()];
    assert_ne!(tokens(&answers[0]), tokens(&answers[1]));
    assert_eq!(pool.script.encoded(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_dropped_are_computed_again() {
    for (picture_rows, encoded) in [(80, 2), (79, 4), (40, 4), (0, 4)] {
        let mut script = Script::ample();
        script.picture_rows = picture_rows;
        let pool = Pool::new(script).await;
        for (at, drawing) in [CAT, DOG, CAT, DOG].into_iter().enumerate() {
            as_alone(&pool, about(&format!("{at}: "), drawing, "What is it?")).await;
        }
        assert_eq!(pool.script.encoded(), encoded, "with room for {picture_rows} rows");
        // All at once, each gets what it gets alone, however little room there is.
        let all = (0..8).map(|at| about(&format!("{at}; "), if at % 2 == 0 { CAT } else { DOG }, "So?"));
        let mut waiting = Vec::new();
        for ask in all {
            let ticket = pool.group.submit(ask.clone(), JobOptions::default()).await.unwrap();
            waiting.push((ask, ticket));
        }
        for (ask, ticket) in waiting {
            assert_eq!(tokens(&ticket.await.unwrap()), tokens(&alone(&ask, 0, &pool.script.shape).await));
        }
        pool.emptied().await;
    }
}

/// Steps of a pool that four streams decode in while a picture of so many pieces is computed, and the most of its pieces
/// between two of them.
async fn beside_four_streams(pieces: usize, piece: Duration, step: Duration) -> (usize, usize) {
    let mut script = Script::ample();
    (script.step, script.piece) = (step, piece);
    let pool = Pool::new(script).await;
    let mut streams = Vec::new();
    for at in 0..4 {
        let mut one = ask(&format!("{at}"));
        (one.max_tokens, one.ignore_eos) = (Some(300), true);
        streams.push(pool.group.submit(one, JobOptions::default()).await.unwrap());
    }
    while pool.script.events().len() < 20 {
        tokio::time::sleep(step).await;
    }
    let mut asked = about("See: ", Drawing { name: "large", pieces }, "What is it?");
    asked.max_tokens = Some(1);
    pool.answer(asked).await.unwrap();
    drop(streams);
    let events = pool.script.events();
    let first = events.iter().position(|event| matches!(event, Event::Piece(_))).unwrap();
    let last = events.iter().position(|event| matches!(event, Event::Encoded(_))).unwrap();
    let runs: Vec<usize> = events[first..last]
        .split(|event| matches!(event, Event::Forward(_)))
        .map(|pieces| pieces.len())
        .collect();
    (runs.len() - 1, runs.into_iter().max().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_streams_go_on_while_a_picture_is_computed() {
    let ms = Duration::from_millis;
    // A picture of 600 ms beside steps of 20 ms: about 30 steps, each with pieces of about as long.
    let (steps, most) = beside_four_streams(120, ms(5), ms(20)).await;
    assert!(steps >= 15 && most <= 12, "{steps} steps, and up to {most} pieces between two of them");
    // Pieces that are longer than a step: one at a time, and steps without any.
    let (steps, most) = beside_four_streams(10, ms(60), ms(15)).await;
    assert!(steps >= 15 && most <= 2, "{steps} steps, and up to {most} pieces between two of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_leaves_while_its_picture_is_computed_leaves_nothing_behind() {
    let mut script = Script::ample();
    script.piece = Duration::from_millis(2);
    let pool = Pool::new(script).await;
    let endless = Drawing { name: "endless", pieces: 100_000 };
    let ticket =
        pool.group.submit(about("See: ", endless, "What is it?"), JobOptions::default()).await.unwrap();
    while !pool.script.events().contains(&Event::Piece("endless")) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(ticket);
    let forgotten = async {
        while !pool.script.events().contains(&Event::Forgotten("endless")) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), forgotten).await.unwrap();
    pool.emptied().await;
    let pieces = pool.script.events().len();
    as_alone(&pool, about("See: ", CAT, "What is it?")).await;
    let after = pool.script.events().split_off(pieces);
    assert!(!after.contains(&Event::Piece("endless")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_cannot_be_computed_ends_its_own_job() {
    let pool = Pool::new(Script::ample()).await;
    let beside = pool.group.submit(about("A ", CAT, "What is it?"), JobOptions::default()).await.unwrap();
    let failed =
        pool.answer(about("B ", Drawing { name: "torn", pieces: 0 }, "What is it?")).await.unwrap_err();
    assert!(matches!(failed, Error::Failed { .. }), "{failed:?}");
    assert_eq!(
        failed.to_string(),
        "model scripted failed: the picture cannot be computed: it cannot be drawn"
    );
    assert_eq!(beside.await.unwrap().usage.prompt, 2 + 40 + 11);
    as_alone(&pool, about("C ", DOG, "What is it?")).await;
    pool.emptied().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preempted_prompts_with_pictures_come_to_what_they_do_alone() {
    let mut script = Script::new(shape(16, &[(None, 14), (Some(20), 12)]));
    script.picture_rows = 40;
    let pool = Pool::new(script).await;
    let mut waiting = Vec::new();
    for at in 0..10 {
        let mut one = about(&format!("{at} "), if at % 3 == 0 { CAT } else { DOG }, "Tell a story. ");
        one.max_tokens = Some(60);
        let ticket = pool.group.submit(one.clone(), JobOptions::default()).await.unwrap();
        waiting.push((one, ticket));
    }
    for (one, ticket) in waiting {
        assert_eq!(tokens(&ticket.await.unwrap()), tokens(&alone(&one, 0, &pool.script.shape).await));
    }
    assert!(pool.script.occupancy().preemptions() > 0);
    pool.emptied().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_with_pictures_are_cut_at_fixed_positions_if_they_must() {
    let mut script = Script::ample();
    script.config = GenerationConfig { deterministic: true, ..GenerationConfig::default() };
    let pool = Pool::new(script).await;
    let long = |question: &str| {
        let before = "Text that takes more than one chunk. ".repeat(3);
        about(&before, CAT, "and ").with_picture(DOG, 70, question)
    };
    for question in ["First?", "Second?"] {
        let mut asked = long(question);
        asked.max_tokens = Some(1);
        as_alone(&pool, asked).await;
    }
    let chunks: Vec<(usize, usize)> = pool
        .script
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Forward(chunks) => Some(chunks),
            _ => None,
        })
        .flatten()
        .collect();
    let length = long("First?").prompt.len();
    // The second goes on from the last fixed position that the cache has all before.
    assert_eq!(chunks, [(0, 64), (64, 128), (128, 192), (192, length), (192, length + 1)]);
    assert_eq!(pool.script.encoded(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_more_urgent_picture_takes_over_and_the_other_comes_to_its_end() {
    let mut script = Script::ample();
    script.piece = Duration::from_millis(2);
    let pool = Pool::new(script).await;
    let slow = about("Slow: ", Drawing { name: "slow", pieces: 400 }, "What is it?");
    let low = JobOptions::default().priority(Priority::Low);
    let patient = Ask { priority: Priority::Low, ..slow.clone() };
    let patient = pool.group.submit(patient, low).await.unwrap();
    while !pool.script.events().contains(&Event::Piece("slow")) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let urgent = Ask { priority: Priority::High, ..about("Fast: ", CAT, "What is it?") };
    as_alone(&pool, urgent).await;
    assert_eq!(tokens(&patient.await.unwrap()), tokens(&alone(&slow, 0, &pool.script.shape).await));
    let events = pool.script.events();
    let ends: Vec<&Event> =
        events.iter().filter(|event| !matches!(event, Event::Forward(_) | Event::Piece(_))).collect();
    assert_eq!(ends, [&Event::Forgotten("slow"), &Event::Encoded("cat"), &Event::Encoded("slow")]);
}
