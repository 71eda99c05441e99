//! A picture beside streams that decode: it is computed between their steps, never in place of them.

use std::time::Duration;

use futures::future::select_all;
use futures::{FutureExt as _, StreamExt as _};
use llava_vision::{LlavaVision, Priority};

use crate::tiny::{Tiny, about, picture};

/// Streams that write on and on.
const STREAMS: usize = 4;
/// Pictures of the question.
const PICTURES: [&str; 4] = ["square", "portrait", "landscape", "other-square"];

async fn stream(pool: &LlavaVision, seed: u64) -> llava_vision::GenerationStream {
    let call = pool.complete(format!("{seed} and so on")).temperature(1.0).seed(seed).ignore_eos(true);
    call.max_tokens(380).stream().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_streams_write_on_while_pictures_in_tiles_are_computed() {
    let pool = Tiny::new("next-llama").load().await.unwrap();
    let mut streams = Vec::new();
    for seed in 0..STREAMS as u64 {
        let mut stream = stream(&pool, seed).await;
        stream.next().await.unwrap().unwrap();
        streams.push(stream);
    }
    let asked = pool.chat([about(PICTURES.len(), "What are they?")]).pictures(PICTURES.map(picture));
    let mut answer = asked.priority(Priority::High).max_tokens(4).stream().await.unwrap();
    // What had been written before is not counted.
    for stream in &mut streams {
        while let Some(delta) = stream.next().now_or_never() {
            delta.unwrap().unwrap();
        }
    }
    let mut written = [0; STREAMS];
    let reading = async {
        loop {
            let deltas = streams.iter_mut().enumerate().map(|(number, stream)| {
                stream.next().map(move |delta| (number, delta.unwrap().unwrap().tokens.len())).boxed()
            });
            tokio::select! {
                biased;
                first = answer.next() => break first.unwrap().unwrap(),
                ((number, tokens), ..) = select_all(deltas) => written[number] += tokens,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap();
    // Each wrote beside each of the pictures, however fast those are.
    assert!(written.iter().all(|tokens| *tokens >= PICTURES.len()), "{written:?} tokens beside the pictures");
    assert_eq!(answer.finish().await.unwrap().usage.completion, 4);
    for stream in streams {
        // Each of them goes on to its end.
        assert_eq!(stream.finish().await.unwrap().usage.completion, 380);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_dropped_anywhere_leaves_nothing_behind() {
    let pool = Tiny::new("next-llama").load().await.unwrap();
    let alone = pool.describe(picture("wide"), "What is it?").max_tokens(6).await.unwrap();
    for wait in 0..24 {
        let names = ["square", "portrait", "landscape", "tall"];
        let asked = pool.describe(picture(names[wait % 4]), format!("{wait}: what is it?")).max_tokens(30);
        let waited =
            tokio::time::timeout(Duration::from_micros(200 * wait as u64), asked.into_future()).await;
        drop(waited);
    }
    let again = pool.describe(picture("wide"), "What is it?").max_tokens(6).await.unwrap();
    assert_eq!(again.text(), alone.text());
    for _ in 0..500 {
        let occupancy = pool.occupancy();
        if occupancy[0].blocks_used() == 0 && occupancy[0].running() + occupancy[0].waiting() == 0 {
            return;
        }
        let _ = pool.complete("a").max_tokens(1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("blocks are kept: {:?}", pool.occupancy());
}
