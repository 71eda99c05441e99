//! Hard texts through MiniLM, against sentence-transformers.

use futures::StreamExt;
use text_embedding::TextEmbedding;

use crate::models::trained;
use crate::reference::{HardTexts, read};

/// The largest difference of a component.
fn largest(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_component_agrees_with_the_reference() {
    let Some(folder) = trained("all-MiniLM-L6-v2") else {
        return;
    };
    let fixture: HardTexts = read("hard_texts.json");
    assert!(fixture.cases.len() >= 40);
    let pool = TextEmbedding::load(folder).await.unwrap();
    assert_eq!((pool.info().dimensions, pool.info().max_tokens), (384, Some(256)));
    assert!(pool.info().normalized);
    let texts: Vec<&str> = fixture.cases.iter().map(|case| case.text.as_str()).collect();

    let batch = pool.embed_all(texts.iter().copied()).await.unwrap();
    let stream = pool.embed_stream(futures::stream::iter(texts.iter().copied()));
    let streamed: Vec<_> = stream.map(Result::unwrap).collect().await;
    let mut backwards = pool.embed_all(texts.iter().rev().copied()).await.unwrap();
    backwards.reverse();
    let mut wrong = Vec::new();
    let mut worst = 0.0_f32;
    for (index, case) in fixture.cases.iter().enumerate() {
        let alone = pool.embed(case.text.as_str()).await.unwrap();
        let tokens = pool.embed_tokens(case.token_ids.clone()).await.unwrap();
        assert_eq!(alone.tokens, case.token_ids.len(), "{}", case.id);
        let ways = [
            ("alone", &alone),
            ("tokens", &tokens),
            ("batch", &batch[index]),
            ("stream", &streamed[index]),
            ("backwards", &backwards[index]),
        ];
        for (way, got) in ways {
            let difference = largest(got, &case.embedding);
            worst = worst.max(difference);
            if difference > fixture.tolerance {
                wrong.push(format!("{} {way}: {difference:e}", case.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("largest difference of a component: {worst:e}");
}
