//! Inputs that cannot be served: a clear line for each, and the pool goes on.

use pool_core::Error as PoolError;
use text_embedding::{Error, Reranker, TextEmbedding, Truncation};

use crate::models::checkpoint;

fn invalid(error: Error) -> String {
    assert!(matches!(error.pool(), Some(PoolError::Invalid { .. })), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n') && !message.is_empty(), "{message:?}");
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_served_is_told_in_one_line() {
    let pool = TextEmbedding::load(checkpoint("prompts")).name("tiny").await.unwrap();
    let full = pool.info().dimensions;

    let error = pool.embed("a").dimensions(0).await.unwrap_err();
    assert_eq!(invalid(error), format!("dimensions is 0; model tiny has 1 to {full}"));
    let error = pool.embed("a").dimensions(full + 1).await.unwrap_err();
    assert_eq!(invalid(error), format!("dimensions is {}; model tiny has 1 to {full}", full + 1));

    let error = pool.embed("a").prompt("haiku").await.unwrap_err();
    assert_eq!(invalid(error), "unknown prompt \"haiku\": model tiny has document, passage, query");
    let error = pool.embed_tokens([1_u32]).prompt("query").await.unwrap_err();
    assert_eq!(invalid(error), "a prompt cannot be put before token ids; send text, or no prompt");

    let last = pool.info().vocabulary as u32 - 1;
    assert!(pool.embed_tokens([2, last, 3]).await.is_ok());
    let error = pool.embed_tokens([2, last + 1, 3]).await.unwrap_err();
    let expected =
        format!("token id {} is out of range; the model's vocabulary has ids 0 to {last}", last + 1);
    assert_eq!(invalid(error), expected);
    let error = pool.embed_tokens(Vec::<u32>::new()).await.unwrap_err();
    assert_eq!(invalid(error), "the list of token ids is empty; send at least one");

    let long = vec![5_u32; 49];
    assert_eq!(pool.embed_tokens(long.clone()).await.unwrap().tokens, 48);
    let error = pool.embed_tokens(long).truncation(Truncation::Refuse).await.unwrap_err();
    assert_eq!(invalid(error), "the input has 49 tokens, the model reads 48; shorten it or allow truncation");

    let list = ["fine", "fine too", &"word ".repeat(100)];
    let error = pool.embed_all(list).truncation(Truncation::Refuse).await.unwrap_err();
    assert!(matches!(error, Error::Item { index: 2, .. }), "{error:?}");
    assert!(error.to_string().starts_with("input 2: the input has "), "{error}");

    assert!(pool.embed("the pool goes on").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_classifier_does_not_rank() {
    let pool = Reranker::load(checkpoint("rerank-3")).name("tiny").await.unwrap();
    let error = pool.rerank("a", ["b"]).await.unwrap_err();
    let expected = "model tiny gives each pair 3 scores and cannot rank; use a model with one label";
    assert_eq!(invalid(error), expected);
    assert_eq!(pool.score("a", "b").await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_texts_have_vectors() {
    for name in ["normalize", "static", "model2vec"] {
        let pool = TextEmbedding::load(checkpoint(name)).await.unwrap();
        for text in [
            "",
            " ",
            "\0",
            "\u{fffd}",
            "\u{301}",
            "[CLS][SEP][PAD]",
            &"a".repeat(1 << 20),
            &" ".repeat(1 << 20),
        ] {
            let embedding = pool.embed(text).await.unwrap();
            assert_eq!(embedding.len(), pool.info().dimensions);
            assert!(embedding.iter().all(|value| value.is_finite()));
        }
    }
}
