//! What a tokenizer takes to get ready, and to encode.
//!
//! `open/MODEL`: mapping the GGUF file, checking its header, and building the tokenizer of its vocabulary. `encode/MODEL`:
//! a hundred kilobytes of words, and of one unbroken letter. Models that are not under `target/models` are left out.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use model_source::{Gguf, LanguageTokenizer, Special};

const MODELS: [&str; 2] = [
    "SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf",
    "gemma-3-270m/gemma-3-270m-q4_k_m.gguf",
];

fn tokenizer(path: &Path) -> LanguageTokenizer {
    LanguageTokenizer::from_gguf(&Gguf::open_path(path).unwrap()).unwrap()
}

fn language_tokenizer(criterion: &mut Criterion) {
    let texts = [
        ("words", "The quick brown fox jumps over 13 lazy dogs; Größe, 中文 and 🙂 too.\n"),
        ("letters", "a"),
        ("spaces", " "),
    ];
    for model in MODELS {
        let name = model.split('/').next().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/models").join(model);
        if !path.exists() {
            eprintln!("{name} is absent; run cargo xtask models");
            continue;
        }
        criterion.bench_function(&format!("open/{name}"), |bencher| {
            bencher.iter(|| tokenizer(black_box(&path)));
        });
        let tokenizer = tokenizer(&path);
        let mut group = criterion.benchmark_group(format!("encode/{name}"));
        for (kind, piece) in texts {
            let text = piece.repeat(100_000 / piece.len());
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(BenchmarkId::from_parameter(kind), |bencher| {
                bencher.iter(|| tokenizer.encode(black_box(&text), Special::Parse).unwrap());
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = language_tokenizer
}
criterion_main!(benches);
