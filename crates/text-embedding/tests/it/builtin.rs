//! The compiled-in model.

use text_embedding::{Ranker, Similarity, TextEmbedding};

use crate::reference::{StaticPairs, read};

/// Ranks, equal values sharing their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        let shared = (start + end - 1) as f64 / 2.0;
        order[start..end].iter().for_each(|index| ranks[*index] = shared);
        start = end;
    }
    ranks
}

/// Spearman's correlation: Pearson's of the ranks.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() - 1) as f64 / 2.0;
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    sum(&a, &b) / (sum(&a, &a) * sum(&b, &b)).sqrt()
}

#[test]
fn spearman_knows_order_and_its_reverse() {
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    close(spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 90.0]), 1.0);
    close(spearman(&[1.0, 2.0, 3.0], &[5.0, 4.0, -1.0]), -1.0);
    close(spearman(&[1.0, 2.0, 2.0, 4.0], &[1.0, 3.0, 2.0, 4.0]), 0.9486832980505138);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ranks_pairs_nearly_as_the_model_it_was_made_from() {
    let pool = TextEmbedding::load("builtin").await.unwrap();
    let StaticPairs { pairs } = read("static_pairs.json");
    assert!(pairs.len() >= 1000, "{} pairs", pairs.len());
    let texts = pairs.iter().flat_map(|pair| [pair.a.as_str(), pair.b.as_str()]);
    let vectors = pool.embed_all(texts).wait(true).await.unwrap();
    let similarities: Vec<f64> =
        vectors.chunks(2).map(|pair| f64::from(Similarity::Cosine.between(&pair[0], &pair[1]))).collect();
    let reference: Vec<f64> = pairs.iter().map(|pair| pair.similarity).collect();
    let correlation = spearman(&similarities, &reference);
    println!("Spearman's correlation over {} pairs: {correlation:.4}", pairs.len());
    assert!(correlation >= 0.75, "{correlation}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ranks_documents() {
    let ranker = Ranker::load("builtin").await.unwrap();
    let documents =
        ["stock prices fell on Friday", "the kitten slept on the sofa", "rain is expected tomorrow"];
    let ranking = ranker.rerank("a cat is sleeping", documents).await.unwrap();
    assert_eq!(ranking[0].index, 1);
    assert_eq!(ranking.len(), 3);
    assert!(ranking.tokens > 0);
    assert!(ranking.windows(2).all(|pair| pair[0].score >= pair[1].score));
}
