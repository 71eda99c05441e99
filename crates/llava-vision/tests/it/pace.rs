//! A picture beside streams that decode: it is computed between their steps, never in place of them.

use std::time::Duration;

use futures::StreamExt as _;
use llava_vision::{LlavaVision, Priority};

use crate::tiny::{Tiny, picture};

/// Streams that write on and on.
const STREAMS: usize = 4;

async fn stream(pool: &LlavaVision, seed: u64) -> llava_vision::GenerationStream {
    let call = pool.complete(format!("{seed} and so on")).temperature(1.0).seed(seed).ignore_eos(true);
    call.max_tokens(380).stream().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_streams_write_on_while_a_picture_in_tiles_is_computed() {
    let pool = Tiny::new("next-llama").load().await.unwrap();
    let mut streams = Vec::new();
    for seed in 0..STREAMS as u64 {
        let mut stream = stream(&pool, seed).await;
        stream.next().await.unwrap().unwrap();
        streams.push(stream);
    }
    let answer = pool.describe(picture("square"), "What is it?").priority(Priority::High).max_tokens(4);
    let answer = tokio::time::timeout(Duration::from_secs(60), answer.into_future()).await;
    assert_eq!(answer.unwrap().unwrap().usage.completion, 4);
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
