//! Whose turn it is, who hears what, and what is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use text_to_image::{DrawingEvent, Imagine, Priority, TextToImage};

use crate::fixture;

/// Of tiny models, one whose passes take some milliseconds.
fn large(pool: &TextToImage, prompt: &str) -> Imagine {
    pool.imagine(prompt).size(192, 192).seed(1)
}

async fn settled(pool: &TextToImage) {
    let idle = async {
        while pool.group().stats().queue.leased + pool.group().stats().queue.waiting > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), idle).await.unwrap();
}

#[tokio::test]
async fn a_stream_tells_each_step_and_then_the_picture() {
    let pool = fixture::load("sd1").await;
    let mut stream = pool.imagine("a cat").steps(4).size(64, 32).previews(true).stream().await.unwrap();
    let mut steps = Vec::new();
    let mut drawing = None;
    while let Some(event) = stream.next().await {
        match event.unwrap() {
            DrawingEvent::Step(step) => {
                let preview = step.preview.unwrap();
                assert_eq!((preview.width, preview.height), (16, 8));
                text_to_image::EncodedImage::new(preview.bytes).decode().unwrap();
                steps.push((step.step, step.steps));
            }
            DrawingEvent::Done(done) => drawing = Some(done),
            other => panic!("{other:?}"),
        }
    }
    // PNDM evaluates once more than it steps.
    assert_eq!(steps, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
    let drawing = drawing.unwrap();
    assert_eq!((drawing.pictures[0].width, drawing.pictures[0].height), (64, 32));
    assert_eq!(drawing.parameters.steps, 4);
}

#[tokio::test]
async fn equal_seeds_draw_equal_pictures_and_others_do_not() {
    let pool = fixture::load("sd1").await;
    let draw = async |seed| pool.imagine("a cat").steps(2).seed(seed).await.unwrap().pictures.remove(0).bytes;
    let (first, again, other) = (draw(1).await, draw(1).await, draw(2).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    let (one, two) = (pool.imagine("a cat").steps(1), pool.imagine("a cat").steps(1));
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert_ne!(one.parameters.seed, two.parameters.seed, "a seed is drawn where none is given");
}

#[tokio::test]
async fn of_jobs_of_two_sizes_and_one_that_is_cancelled_both_finish_and_memory_returns() {
    let pool = fixture::load("sd1").await;
    // Whatever is made lazily is made now.
    pool.imagine("warm").steps(1).await.unwrap();
    settled(&pool).await;
    let governor = pool.engine().governor();
    let before = governor.stats().used;
    let mut cancelled = large(&pool, "left").steps(500).stream().await.unwrap();
    let small = tokio::spawn(pool.imagine("small").size(32, 32).steps(6).into_future());
    let wide = tokio::spawn(large(&pool, "wide").size(128, 64).steps(6).into_future());
    let mut told = 0;
    while told < 2 {
        match cancelled.next().await.unwrap().unwrap() {
            DrawingEvent::Step(step) => told = step.step,
            other => panic!("{other:?}"),
        }
    }
    drop(cancelled);
    // 498 steps of it would take longer than this by far.
    let finished = tokio::time::timeout(Duration::from_secs(30), async { (small.await, wide.await) });
    let (small, wide) = finished.await.unwrap();
    assert_eq!(small.unwrap().unwrap().pictures[0].width, 32);
    assert_eq!(wide.unwrap().unwrap().pictures[0].width, 128);
    settled(&pool).await;
    assert_eq!(governor.stats().used, before);
}

#[tokio::test]
async fn equal_jobs_finish_one_after_another_not_all_at_the_end() {
    let pool = fixture::load("sd1").await;
    let steps = 10;
    let taken = Arc::new(AtomicUsize::new(0));
    let mut waits = Vec::new();
    for number in 0..4 {
        let mut stream =
            large(&pool, "a cat").scheduler("ddim").steps(steps).seed(number).stream().await.unwrap();
        let taken = Arc::clone(&taken);
        waits.push(tokio::spawn(async move {
            // Steps that all jobs had taken when this one was done.
            while let Some(event) = stream.next().await {
                if matches!(event.unwrap(), DrawingEvent::Step(_)) {
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            }
            taken.load(Ordering::Relaxed)
        }));
    }
    let mut latencies = Vec::new();
    for wait in waits {
        latencies.push(wait.await.unwrap());
    }
    let lockstep = 4 * steps;
    assert_eq!(taken.load(Ordering::Relaxed), lockstep);
    let mean = latencies.iter().sum::<usize>() as f64 / 4.0;
    assert!(mean <= 0.7 * lockstep as f64, "{latencies:?}: in lockstep each would take {lockstep}");
}

#[tokio::test]
async fn a_more_urgent_picture_overtakes_one_that_was_begun() {
    let pool = fixture::load("sd1").await;
    let mut slow = large(&pool, "slow").steps(400).priority(Priority::Low).stream().await.unwrap();
    assert!(matches!(slow.next().await.unwrap().unwrap(), DrawingEvent::Step(_)));
    // An equal one waits; the urgent one passes both.
    let mut equal = large(&pool, "equal").steps(2).priority(Priority::Low).stream().await.unwrap();
    pool.imagine("urgent").steps(2).priority(Priority::High).await.unwrap();
    let begun = futures::FutureExt::now_or_never(equal.next());
    assert!(begun.is_none(), "it was begun before the one that came first was done");
    let next = tokio::time::timeout(Duration::from_secs(60), slow.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(next, DrawingEvent::Step(step) if step.step == 2), "the overtaken one goes on");
    drop((slow, equal));
    settled(&pool).await;
}

#[tokio::test]
async fn a_deadline_ends_a_picture_in_its_middle() {
    let pool = fixture::load("sd1").await;
    let call = large(&pool, "late").steps(900).deadline(Duration::from_millis(300));
    let error = tokio::time::timeout(Duration::from_secs(30), call.into_future()).await.unwrap().unwrap_err();
    assert!(matches!(error.pool(), Some(pool_core::Error::DeadlineExceeded { .. })), "{error}");
    settled(&pool).await;
}

#[tokio::test]
async fn several_workers_pictures_and_formats() {
    let pool = fixture::load("sd1").await;
    for format in ["png", "jpeg", "webp"] {
        let drawing =
            pool.imagine("a cat").steps(1).pictures(3).format(format.parse().unwrap()).await.unwrap();
        assert_eq!(drawing.pictures.len(), 3);
        let pixels: Vec<_> = drawing
            .pictures
            .iter()
            .map(|picture| {
                assert_eq!(picture.format.as_str(), format);
                text_to_image::EncodedImage::new(picture.bytes.clone()).decode().unwrap()
            })
            .collect();
        assert_ne!(pixels[0].pixels(), pixels[1].pixels());
    }
}
