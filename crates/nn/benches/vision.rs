//! The vision towers of CLIP ViT-B/32 and ViT-L/14 at 224 pixels with random weights: `SHAPE/PICTURES`, pictures of one pass,
//! from pixel values to vectors.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use candle_core::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nn::{NnError, Pixels, StoredMatrix, TensorStore, TowerOutputs, VisionConfig, VisionTransformer};
use serde_json::{Value, json};

/// Weights of no meaning.
struct Random;

impl TensorStore for Random {
    fn contains(&self, _: &str) -> bool {
        false
    }

    fn vector(&self, _: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(vec![1.0; length])
    }

    fn matrix(&self, _: &str, shape: (usize, usize)) -> Result<StoredMatrix, NnError> {
        let dense = Tensor::randn(0.0_f32, 1.0 / (shape.1 as f32).sqrt(), shape, &Device::Cpu)?;
        Ok(StoredMatrix::Dense(dense))
    }
}

const EDGE: usize = 224;

fn shapes() -> [(&'static str, Value); 2] {
    [
        ("vit-b-32", json!({"model_type": "clip_vision_model"})),
        (
            "vit-l-14",
            json!({
                "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
                "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14,
            }),
        ),
    ]
}

fn vision(criterion: &mut Criterion) {
    let values: Vec<f32> = (0..3 * EDGE * EDGE).map(|n| (n % 511) as f32 / 128.0 - 2.0).collect();
    for (name, config) in shapes() {
        let mut group = criterion.benchmark_group(name);
        let config = VisionConfig::from_huggingface(&config).unwrap();
        let tower = VisionTransformer::load(config, &Random, TowerOutputs::embedding()).unwrap();
        for pictures in [1, 8] {
            let pixels = vec![Pixels { values: &values, height: EDGE, width: EDGE }; pictures];
            group.sample_size(10).throughput(Throughput::Elements(pictures as u64));
            group.bench_function(BenchmarkId::from_parameter(pictures), |bencher| {
                bencher.iter(|| {
                    let mut pass = tower.begin(&pixels).unwrap();
                    assert!(tower.advance(&mut pass, &mut || true));
                    pass
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, vision);
criterion_main!(benches);
