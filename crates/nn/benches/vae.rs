//! Convolutions of the shapes that Stable Diffusion 1.5 has, eight of them in four residual blocks, with norms and all, and
//! beside them a linear map of as many inputs and outputs, which shows what the processor gives. `CHANNELS@EDGE`; the unit
//! is an operation, of which only those of these convolutions are counted.
//!
//! `decode/PIXELS` is the whole decoder of Stable Diffusion, of random weights.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use candle_core::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nn::{Mlp, MlpConfig, NnError, StoredMatrix, TensorStore, TowerActivation, Vae, VaeConfig, VaeParts};
use serde_json::json;

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

    fn tensor(&self, _: &str, shape: &[usize]) -> Result<Vec<f32>, NnError> {
        let depth: usize = shape[1..].iter().product();
        let dense = Tensor::randn(0.0_f32, 1.0 / (depth as f32).sqrt(), shape, &Device::Cpu)?;
        Ok(dense.flatten_all()?.to_vec1()?)
    }
}

fn decoder(channels: &[usize], layers: usize, attention: bool) -> Vae {
    let config = json!({
        "block_out_channels": channels, "layers_per_block": layers, "mid_block_add_attention": attention,
        "down_block_types": vec!["DownEncoderBlock2D"; channels.len()],
        "up_block_types": vec!["UpDecoderBlock2D"; channels.len()],
    });
    Vae::load(VaeConfig::from_diffusers(&config).unwrap(), &Random, VaeParts::Decoder).unwrap()
}

fn decode(vae: &Vae, latents: &[f32], edge: usize) {
    let mut pass = vae.begin_decode(&latents[..4 * edge * edge], edge, edge).unwrap();
    assert!(vae.advance(&mut pass, &mut || true));
}

fn vae(criterion: &mut Criterion) {
    let latents: Vec<f32> = (0..4 * 512 * 512).map(|n| (n % 511) as f32 / 128.0 - 2.0).collect();
    for (channels, edge) in [(320, 64), (640, 32), (1280, 16), (1280, 8), (512, 64), (256, 256), (128, 512)] {
        let operations = |positions: usize| 2 * positions * 9 * channels * channels;
        let mut group = criterion.benchmark_group(format!("{channels}@{edge}"));
        let vae = decoder(&[channels], 1, false);
        group.sample_size(10).throughput(Throughput::Elements(8 * operations(edge * edge) as u64));
        group.bench_function("convolutions", |bencher| bencher.iter(|| decode(&vae, &latents, edge)));
        let rows = (edge * edge).min(8192);
        let activation = TowerActivation::Gelu;
        let linear = MlpConfig { inputs: 9 * channels, inner: channels, outputs: 1, bias: true, activation };
        let linear = Mlp::load(linear, &Random, ["first", "second"]).unwrap();
        let inputs: Vec<f32> = latents.iter().cycle().take(rows * 9 * channels).copied().collect();
        group.throughput(Throughput::Elements(operations(rows) as u64));
        group.bench_function("linear", |bencher| bencher.iter(|| linear.apply(&inputs)));
        group.finish();
    }
    let vae = decoder(&[128, 256, 512, 512], 2, true);
    let mut group = criterion.benchmark_group("decode");
    for edge in [32, 64] {
        group.sample_size(10).throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(8 * edge), |bencher| {
            bencher.iter(|| decode(&vae, &latents, edge));
        });
    }
    group.finish();
}

criterion_group!(benches, vae);
criterion_main!(benches);
