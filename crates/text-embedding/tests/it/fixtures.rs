//! Tiny checkpoints, one for each thing a configuration can say, against sentence-transformers and model2vec.

use text_embedding::{Embed, EmbedAll, Reranker, TextEmbedding};

use crate::models::fixture;
use crate::reference::{Case, Cases, distance, read};

/// The options of a case, on whichever call.
macro_rules! with_options {
    ($call:expr, $case:expr) => {{
        let mut call = $call;
        if let Some(name) = &$case.prompt_name {
            call = call.prompt(name);
        }
        if let Some(prompt) = &$case.prompt {
            call = call.prompt_text(prompt);
        }
        if let Some(dimensions) = $case.dimensions {
            call = call.dimensions(dimensions);
        }
        call
    }};
}

/// What is wrong with a case, if anything.
async fn embed(case: &Case) -> Vec<String> {
    let pool = match TextEmbedding::load(fixture(&case.folder)).await {
        Ok(pool) => pool,
        Err(error) => return vec![format!("{}: {error}", case.name)],
    };
    let mut wrong = Vec::new();
    let all: EmbedAll = with_options!(pool.embed_all(&case.texts), case);
    let batch = all.await.unwrap();
    for ((text, expected), batched) in case.texts.iter().zip(&case.expected).zip(batch) {
        let one: Embed = with_options!(pool.embed(text), case);
        let single = one.await.unwrap();
        for (how, got) in [("alone", &single), ("in a batch", &batched)] {
            let distance = distance(got, expected);
            if distance > case.tolerance {
                let start: String = text.chars().take(40).collect();
                wrong.push(format!("{} {how}: {start:?} is {distance:e} away", case.name));
            }
        }
    }
    wrong
}

async fn rerank(case: &Case) -> Vec<String> {
    let pool = match Reranker::load(fixture(&case.folder)).await {
        Ok(pool) => pool,
        Err(error) => return vec![format!("{}: {error}", case.name)],
    };
    assert_eq!(pool.info().labels, case.expected[0].len());
    let mut wrong = Vec::new();
    for ((query, document), expected) in case.pairs.iter().zip(&case.expected) {
        let scores = pool.score(query.as_str(), document.as_str()).await.unwrap();
        let distance = distance(&scores, expected);
        if distance > case.tolerance {
            wrong.push(format!("{}: {query:?} and {document:?} are {distance:e} away", case.name));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_checkpoint_gives_the_references_numbers() {
    let Cases { cases } = read("cases.json");
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        wrong.extend(match case.kind.as_str() {
            "embed" => embed(case).await,
            "rerank" => rerank(case).await,
            other => panic!("unknown kind {other}"),
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
