//! A pass of the UNet of Stable Diffusion 1.5 with weights of no meaning: `SAMPLES x EDGE`, latents of that edge (32 is a picture
//! of 256 pixels), from samples to results. It takes 4 GiB of memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use candle_core::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nn::{NnError, StoredMatrix, TensorStore, Unet, UnetConfig, UnetInput};
use serde_json::json;

/// Weights of no meaning.
struct Random;

fn numbers(shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    let scale = (3.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
    let mut state = count as u32;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state as i32 as f32) / (1_u32 << 31) as f32 * scale
    };
    (0..count).map(|_| number()).collect()
}

impl TensorStore for Random {
    fn contains(&self, _: &str) -> bool {
        true
    }

    fn vector(&self, _: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(vec![1.0; length])
    }

    fn matrix(&self, _: &str, shape: (usize, usize)) -> Result<StoredMatrix, NnError> {
        Ok(StoredMatrix::Dense(Tensor::from_vec(numbers(&[shape.0, shape.1]), shape, &Device::Cpu)?))
    }

    fn tensor(&self, _: &str, shape: &[usize]) -> Result<Vec<f32>, NnError> {
        Ok(numbers(shape))
    }
}

fn unet(criterion: &mut Criterion) {
    let config = UnetConfig::from_diffusers(&json!({"cross_attention_dim": 768})).unwrap();
    let unet = Unet::load(config, &Random).unwrap();
    let mut group = criterion.benchmark_group("stable-diffusion-1");
    let context: Vec<f32> = (0..77 * 768).map(|n| (n % 511) as f32 / 128.0 - 2.0).collect();
    for (samples, edge) in [(1, 32), (2, 32), (1, 64)] {
        let sample: Vec<f32> = (0..4 * edge * edge).map(|n| (n % 509) as f32 / 128.0 - 2.0).collect();
        let input = UnetInput {
            sample: &sample,
            height: edge,
            width: edge,
            timestep: 500.0,
            context: &context,
            added: None,
            guidance: None,
        };
        group.sample_size(10).throughput(Throughput::Elements(samples as u64));
        group.bench_function(BenchmarkId::new(samples.to_string(), edge), |bencher| {
            bencher.iter(|| {
                let mut pass = unet.begin(&vec![input; samples]).unwrap();
                assert!(unet.advance(&mut pass, &mut || true));
                pass
            });
        });
    }
    group.finish();
}

criterion_group!(benches, unet);
criterion_main!(benches);
