//! A decoder of the size of SmolLM2 135M with random weights.
//!
//! `prefill/KIND`: 128 tokens of one sequence, logits for the last. `decode/KIND/N`: one token of each of N sequences that
//! are 256 tokens long. Kinds: `f32`, `q8_0`, and each of them with `deterministic`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nn::{
    Decoder, DecoderConfig, KvCache, NnError, Precision, Rows, SequenceChunk, Span, StoredMatrix, TensorStore,
};

/// Weights of no meaning.
struct Random {
    kind: Option<GgmlDType>,
}

impl TensorStore for Random {
    fn contains(&self, _: &str) -> bool {
        false
    }

    fn vector(&self, _: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(vec![1.0; length])
    }

    fn matrix(&self, _: &str, shape: (usize, usize)) -> Result<StoredMatrix, NnError> {
        let dense = Tensor::randn(0.0_f32, 1.0 / (shape.1 as f32).sqrt(), shape, &Device::Cpu)?;
        Ok(match self.kind {
            None => StoredMatrix::Dense(dense),
            Some(kind) => StoredMatrix::Quantised(Arc::new(QTensor::quantize(&dense, kind)?)),
        })
    }
}

fn decoder(kind: Option<GgmlDType>, deterministic: bool) -> Decoder {
    let config = DecoderConfig::from_huggingface(&serde_json::json!({
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
        "tie_word_embeddings": true,
    }));
    let precision = Precision { deterministic, ..Precision::default() };
    Decoder::load(config.unwrap(), &Random { kind }, precision).unwrap()
}

const BLOCK: usize = 16;
const PROMPT: usize = 128;
const LENGTH: usize = 256;

fn prefill(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prefill");
    group.sample_size(10).throughput(Throughput::Elements(PROMPT as u64));
    let tokens: Vec<u32> = (0..PROMPT as u32).collect();
    let table: Vec<u32> = (0..PROMPT.div_ceil(BLOCK) as u32).collect();
    for (name, decoder) in kinds() {
        let mut cache = KvCache::new(&decoder.config().cache_layout(BLOCK), &[table.len()]).unwrap();
        let inputs = [Span::Tokens(&tokens)];
        let chunk = SequenceChunk { inputs: &inputs, start: 0, tables: &[&table], logits: Rows::Last };
        group.bench_function(name, |bencher| bencher.iter(|| decoder.forward(&[chunk], &mut cache).unwrap()));
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, decoder) in kinds() {
        for sequences in [1, 8] {
            group.sample_size(10).throughput(Throughput::Elements(sequences as u64));
            let blocks = (LENGTH + 1).div_ceil(BLOCK);
            let mut cache =
                KvCache::new(&decoder.config().cache_layout(BLOCK), &[sequences * blocks]).unwrap();
            let tables: Vec<Vec<u32>> = (0..sequences)
                .map(|n| (n * blocks..(n + 1) * blocks).map(|block| block as u32).collect())
                .collect();
            let tables: Vec<[&[u32]; 1]> = tables.iter().map(|table| [table.as_slice()]).collect();
            let chunks: Vec<SequenceChunk<'_>> = tables
                .iter()
                .map(|tables| SequenceChunk {
                    inputs: &[Span::Tokens(&[7])],
                    start: LENGTH,
                    tables,
                    logits: Rows::Last,
                })
                .collect();
            group.bench_function(BenchmarkId::new(&name, sequences), |bencher| {
                bencher.iter(|| decoder.forward(&chunks, &mut cache).unwrap());
            });
        }
    }
    group.finish();
}

fn kinds() -> impl Iterator<Item = (String, Decoder)> {
    [(None, "f32"), (Some(GgmlDType::Q8_0), "q8_0")].into_iter().flat_map(|(kind, name)| {
        [(false, ""), (true, "-deterministic")]
            .map(|(deterministic, mode)| (format!("{name}{mode}"), decoder(kind, deterministic)))
    })
}

criterion_group!(benches, prefill, decode);
criterion_main!(benches);
