//! The calls: lists, streams, options, engines.

use std::fs;
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, TryFutureExt};
use pool_core::compute::{Lane, Scripted, ScriptedCompute};
use pool_core::{Engine, Error as PoolError, GroupConfig, Workers};
use text_embedding::{Dtype, Error, Priority, Ranker, Reranker, TextEmbedding, Truncation};

use crate::models::{checkpoint, copy};
use crate::reference::distance;

/// What batch and order may change: the last bits.
const ROUNDING: f64 = 1e-5;

async fn tiny() -> TextEmbedding {
    TextEmbedding::load(checkpoint("normalize")).await.unwrap()
}

/// Texts of all lengths, none like another.
fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n} {}", "the cat sat on a mat. ".repeat(n * 7 % 3))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_keeps_its_order_and_does_not_change_its_members() {
    let pool = tiny().await;
    let texts = texts(200);
    let together = pool.embed_all(&texts).await.unwrap();
    let mut shuffled: Vec<usize> = (0..texts.len()).collect();
    shuffled.sort_by_key(|index| index * 7919 % 200);
    let other = pool.embed_all(shuffled.iter().map(|index| texts[*index].as_str())).await.unwrap();
    for (place, index) in shuffled.into_iter().enumerate() {
        assert!(distance(&other[place], &together[index]) < ROUNDING);
        assert_eq!(other[place].tokens, together[index].tokens);
    }
    for index in [0, 57, 199] {
        let alone = pool.embed(&texts[index]).await.unwrap();
        assert!(distance(&alone, &together[index]) < ROUNDING);
    }
    assert_eq!(pool.embed_all(Vec::<String>::new()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_keeps_its_order_and_outlives_failures() {
    let pool = tiny().await;
    let texts = texts(1500);
    let expected = pool.embed_all(&texts).wait(true).await.unwrap();
    let long = "word ".repeat(200);
    let inputs = texts.iter().enumerate().map(|(n, text)| if n == 700 { &long } else { text });
    let stream = pool.embed_stream(futures::stream::iter(inputs)).truncation(Truncation::Refuse);
    let answers: Vec<_> = stream.collect().await;
    assert_eq!(answers.len(), 1500);
    for (n, (answer, expected)) in answers.into_iter().zip(expected).enumerate() {
        match answer {
            Ok(embedding) => assert!(distance(&embedding, &expected) < ROUNDING, "{n}"),
            Err(error) => {
                assert_eq!(n, 700, "{error}");
                assert!(
                    error.to_string().starts_with("the input has 802 tokens, the model reads 48;"),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_reads_no_further_ahead_than_it_must() {
    let pool = tiny().await;
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    let endless =
        futures::stream::repeat_with(move || format!("text {}", count.fetch_add(1, Ordering::Relaxed)));
    let mut stream = pool.embed_stream(endless);
    for _ in 0..100 {
        stream.next().await.unwrap().unwrap();
    }
    let ahead = read.load(Ordering::Relaxed) - 100;
    assert!(ahead <= 512, "{ahead} inputs were read ahead");

    let large = "x ".repeat(2 << 20);
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    let endless = futures::stream::repeat_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        large.clone()
    });
    let mut stream = pool.embed_stream(endless);
    stream.next().await.unwrap().unwrap();
    let ahead = read.load(Ordering::Relaxed);
    assert!(ahead <= 6, "{ahead} inputs of 4 MB were read ahead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_admitted_whole_or_not_at_all() {
    let mut config = GroupConfig::new("tiny");
    config.limits.jobs = 10;
    let pool = TextEmbedding::load(checkpoint("normalize")).group(config).await.unwrap();
    let error = pool.embed_all(texts(11)).await.unwrap_err();
    assert!(matches!(error.pool(), Some(PoolError::TooLarge { .. })), "{error}");
    assert_eq!(pool.group().stats().queue.counts.accepted, 0);
    assert_eq!(pool.embed_all(texts(11)).wait(true).await.unwrap().len(), 11);
}

/// Polled where the lane never gives an answer, a long list must not have been hashed and handed in by the caller.
#[tokio::test]
async fn a_long_list_is_hashed_in_a_lane_and_a_short_one_at_once() {
    let compute = ScriptedCompute::new(|lane, _| match lane {
        Lane::Prepare => Scripted::Hang,
        Lane::Step | Lane::Io => Scripted::NOW,
    });
    let engine = Engine::builder().compute(compute.clone()).build().unwrap();
    let pool = TextEmbedding::load_in(&engine, checkpoint("normalize")).name("embed").await.unwrap();
    let reranker = Reranker::load_in(&engine, checkpoint("rerank-1")).name("rerank").await.unwrap();
    let accepted = || {
        let (embed, rerank) = (pool.group().stats(), reranker.group().stats());
        embed.queue.counts.accepted + rerank.queue.counts.accepted
    };
    let short = ["a cat", "a dog"].map(str::to_owned).to_vec();
    // No text is long; the list is. The second one is so because the query is hashed with each document.
    let long: Vec<String> = (0..40).map(|n| format!("{n} {}", "word ".repeat(500))).collect();
    let query = "word ".repeat(500);
    let many: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let calls: [(_, BoxFuture<'_, Result<usize, Error>>); 4] = [
        (2, pool.embed_all(short.clone()).into_future().map_ok(|all| all.len()).boxed()),
        (0, pool.embed_all(long).into_future().map_ok(|all| all.len()).boxed()),
        (2, reranker.rerank("cat", short).into_future().map_ok(|all| all.len()).boxed()),
        (0, reranker.rerank(query, many).into_future().map_ok(|all| all.len()).boxed()),
    ];
    for (at_once, mut call) in calls {
        let before = accepted();
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(accepted() - before, at_once);
        let answer = loop {
            match (&mut call).now_or_never() {
                Some(answer) => break answer,
                None => compute.release(),
            };
            tokio::task::yield_now().await;
        };
        assert!(answer.unwrap() >= 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priority_deadline_and_dropping_are_heeded() {
    let pool = tiny().await;
    let answer = pool.embed("soon").priority(Priority::High).deadline(Duration::from_secs(3600)).await;
    assert_eq!(answer.unwrap().len(), pool.info().dimensions);
    let error = pool.embed("late").deadline(Duration::ZERO).await.unwrap_err();
    assert!(
        matches!(error.pool(), Some(PoolError::DeadlineExceeded { .. } | PoolError::Overloaded { .. })),
        "{error}"
    );
    drop(pool.embed("never awaited"));
    let report = pool.drain(Duration::from_secs(10)).await;
    assert_eq!(report.total.completed, 1);
    assert_eq!(report.total.accepted, report.total.completed + report.total.cancelled + report.total.expired);
    let error = pool.embed("afterwards").await.unwrap_err();
    assert!(matches!(error.pool(), Some(PoolError::ShuttingDown)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_weights_and_an_engine_holds_several_models() {
    let engine = Engine::builder().build().unwrap();
    let pool = TextEmbedding::load_in(&engine, checkpoint("normalize"))
        .name("first")
        .workers(Workers { min: 2, max: 2 })
        .await
        .unwrap();
    let reranker =
        Reranker::load_in(&engine, checkpoint("rerank-1")).name("second").lazy(true).await.unwrap();
    let names: Vec<String> =
        engine.stats().await.unwrap().models.iter().map(|model| model.model.to_string()).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(pool.embed_all(texts(300)).await.unwrap().len(), 300);
    assert_eq!(reranker.group().stats().resident.get(), 0);
    let ranking = reranker.rerank("cat", ["a cat", "a dog", "the mat"]).top(2).await.unwrap();
    assert_eq!(ranking.len(), 2);
    assert!(reranker.group().stats().resident.get() > 0);
    let error = TextEmbedding::load_in(&engine, checkpoint("pool-cls")).name("first").await.unwrap_err();
    assert!(matches!(error.pool(), Some(PoolError::DuplicateModel { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evicted_model_comes_back() {
    let pool = tiny().await;
    let before = pool.embed("a cat").await.unwrap();
    assert!(pool.group().stats().resident.get() > 0);
    pool.group().evict();
    let gone = async {
        while pool.group().stats().resident.get() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    assert_eq!(pool.embed("a cat").await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ranker_is_what_the_checkpoint_is() {
    let documents = ["the cat sat", "a dog", "cats and mats"];
    for (name, cross) in [("rerank-legacy", true), ("rerank-1", true), ("prompts", false), ("static", false)]
    {
        let ranker = Ranker::load(checkpoint(name)).await.unwrap();
        assert_eq!(matches!(ranker, Ranker::CrossEncoder(_)), cross, "{name}");
        let ranking = ranker.rerank("cat", documents).await.unwrap();
        let mut indices: Vec<usize> = ranking.iter().map(|ranked| ranked.index).collect();
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedding_models_rank_with_their_own_prompts() {
    let pool = TextEmbedding::load(checkpoint("prompts")).await.unwrap();
    let documents = ["the cat sat", "a dog"];
    let ranking = pool.rerank("cat", documents).await.unwrap();
    let query = pool.embed("cat").prompt("query").await.unwrap();
    for ranked in &*ranking {
        // The folder has the prompts document (which is empty), passage and query.
        let document = pool.embed(documents[ranked.index]).prompt("document").await.unwrap();
        let expected = pool.info().similarity.between(&query, &document);
        assert!((ranked.score - expected).abs() < 1e-5, "{ranked:?} {expected}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_precision_computes_nearly_the_same() {
    let exact = tiny().await.embed("the cat sat on the mat").await.unwrap();
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let pool = TextEmbedding::load(checkpoint("normalize")).dtype(dtype).await.unwrap();
        let half = pool.embed("the cat sat on the mat").await.unwrap();
        let distance = distance(&half, &exact);
        // Eleven and eight bits of precision, through two layers.
        assert!(distance > 1e-6 && distance < 0.05, "{dtype} is {distance:e} away");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transformer_may_lie_in_a_folder_of_its_own() {
    let folder = copy("normalize");
    let inner = folder.path().join("0_Transformer");
    fs::create_dir(&inner).unwrap();
    for file in [
        "config.json",
        "model.safetensors",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        fs::rename(folder.path().join(file), inner.join(file)).unwrap();
    }
    let modules = fs::read_to_string(folder.path().join("modules.json")).unwrap();
    let modules = modules.replacen("\"path\": \"\"", "\"path\": \"0_Transformer\"", 1);
    assert!(modules.contains("0_Transformer"), "{modules}");
    fs::write(folder.path().join("modules.json"), modules).unwrap();
    let pool = TextEmbedding::load(folder.path()).await.unwrap();
    assert_eq!(pool.embed("a cat").await.unwrap(), tiny().await.embed("a cat").await.unwrap());
}

/// What is handed to tasks and stored must be `Send` and `'static`.
#[test]
fn pools_and_calls_can_be_sent() {
    fn sendable<T: Send + 'static>() {}
    fn stream<S: Stream + Send + 'static>() {}
    sendable::<TextEmbedding>();
    sendable::<Reranker>();
    sendable::<text_embedding::Embed>();
    sendable::<text_embedding::EmbedAll>();
    sendable::<text_embedding::Rerank<Ranker>>();
    sendable::<text_embedding::Load<Ranker>>();
    sendable::<Error>();
    stream::<text_embedding::EmbedStream<futures::stream::Iter<std::vec::IntoIter<String>>>>();
}
