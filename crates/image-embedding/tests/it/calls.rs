//! Lists, options, engines.

use std::time::Duration;

use image_embedding::{Engine, ImageEmbedding, Input};
use pool_core::{Error as PoolError, QueueLimits};

use crate::fixture::{checkpoint, picture, pool};

const FILES: [&str; 5] = ["landscape.png", "portrait.png", "square.png", "wide.png", "grey.png"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_keeps_its_order_and_does_not_change_its_members() {
    let pool = pool("clip").await;
    let inputs: Vec<Input> = (0..60)
        .map(|n| match n % 3 {
            0 => format!("text {n}").into(),
            _ => picture(FILES[n % 5]).into(),
        })
        .collect();
    let together = pool.embed_all(inputs.clone()).await.unwrap();
    for (input, together) in inputs.into_iter().zip(together) {
        assert_eq!(pool.embed(input).await.unwrap(), together);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_admitted_whole_or_not_at_all() {
    let limits = QueueLimits { jobs: 3, ..QueueLimits::default() };
    let pool = ImageEmbedding::load(checkpoint("clip")).limits(limits).await.unwrap();
    let error = pool.embed_all(FILES.map(picture)).await.unwrap_err();
    assert!(matches!(error.pool(), Some(PoolError::TooLarge { .. })), "{error:?}");
    let report = pool.group().stats().queue;
    assert_eq!((report.counts.accepted, report.counts.completed), (0, 0), "{report:?}");
    // With patience each waits for its room.
    assert_eq!(pool.embed_all(FILES.map(picture)).wait(true).await.unwrap().len(), 5);
    assert_eq!(pool.embed_all(FILES[..3].iter().map(|file| picture(file))).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_share_an_engine_and_unloaded_ones_load_with_their_first_job() {
    let engine = Engine::builder().build().unwrap();
    let clip = ImageEmbedding::load_in(&engine, checkpoint("clip")).lazy(true).await.unwrap();
    let dinov2 = ImageEmbedding::load_in(&engine, checkpoint("dinov2")).await.unwrap();
    let (one, other) = tokio::join!(async { clip.embed_image(picture("wide.png")).await }, async {
        dinov2.embed_image(picture("wide.png")).await
    },);
    assert_eq!((one.unwrap().len(), other.unwrap().len()), (18, 24));
    let report = engine.drain(Duration::from_secs(20)).await;
    assert_eq!((report.total.accepted, report.total.completed), (2, 2));
    let error = clip.embed_image(picture("wide.png")).await.unwrap_err();
    assert!(matches!(error.pool(), Some(PoolError::ShuttingDown)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_pictures_are_computed_once() {
    let pool = pool("clip").await;
    let many = pool.embed_all([(); 40].map(|()| picture("square.png"))).await.unwrap();
    assert!(many.windows(2).all(|pair| pair[0] == pair[1]));
}
