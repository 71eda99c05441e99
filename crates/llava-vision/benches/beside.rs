//! What a picture in tiles costs four streams that write: the time between two of a stream's tokens, alone and while
//! pictures are computed one after another. The second should be at most three times the first; their ratio is printed.
//!
//! `cargo bench -p llava-vision`; the model has random weights, a small one's sizes, and tiles of 256 patches.
#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use futures::StreamExt as _;
use llava_vision::{GenerationStream, LlavaVision};
use serde_json::json;
use tokio::time::Instant;

const STREAMS: u64 = 4;
/// Numbers of a row of the tower's and of the language model's, and their layers.
const SEEING: (usize, usize) = (384, 8);
const WRITING: (usize, usize) = (768, 10);
const PATCHES: usize = 16;
const VOCABULARY: usize = 305;

/// A model with random weights, in the layout of Hugging Face.
fn write_model(folder: &Path) {
    let ((seeing, towers), (writing, layers), side) = (SEEING, WRITING, PATCHES * 14);
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| {
        let scale = 1.0 / (shape[shape.len() - 1] as f64).sqrt();
        tensors.insert(
            name,
            Tensor::randn(0.0, scale, shape, &Device::Cpu).unwrap().to_dtype(DType::F16).unwrap(),
        );
    };
    let tower = "vision_tower.vision_model";
    add(format!("{tower}.embeddings.class_embedding"), &[seeing]);
    add(format!("{tower}.embeddings.patch_embedding.weight"), &[seeing, 3, 14, 14]);
    add(format!("{tower}.embeddings.position_embedding.weight"), &[PATCHES * PATCHES + 1, seeing]);
    let mut map = |name: String, outputs: usize, inputs: usize| {
        add(format!("{name}.weight"), &[outputs, inputs]);
        add(format!("{name}.bias"), &[outputs]);
    };
    for layer in 0..towers {
        let layer = format!("{tower}.encoder.layers.{layer}");
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            map(format!("{layer}.self_attn.{part}"), seeing, seeing);
        }
        map(format!("{layer}.mlp.fc1"), 4 * seeing, seeing);
        map(format!("{layer}.mlp.fc2"), seeing, 4 * seeing);
    }
    map("multi_modal_projector.linear_1".to_owned(), writing, seeing);
    map("multi_modal_projector.linear_2".to_owned(), writing, writing);
    for norm in ["pre_layrnorm".to_owned(), "post_layernorm".to_owned()].into_iter().chain(
        (0..towers).flat_map(|layer| [1, 2].map(|half| format!("encoder.layers.{layer}.layer_norm{half}"))),
    ) {
        add(format!("{tower}.{norm}.weight"), &[seeing]);
        add(format!("{tower}.{norm}.bias"), &[seeing]);
    }
    add("image_newline".to_owned(), &[writing]);
    for layer in 0..layers {
        let layer = format!("language_model.model.layers.{layer}");
        for part in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            add(format!("{layer}.self_attn.{part}.weight"), &[writing, writing]);
        }
        for (part, shape) in [
            ("gate", [2 * writing, writing]),
            ("up", [2 * writing, writing]),
            ("down", [writing, 2 * writing]),
        ] {
            add(format!("{layer}.mlp.{part}_proj.weight"), &shape);
        }
        add(format!("{layer}.input_layernorm.weight"), &[writing]);
        add(format!("{layer}.post_attention_layernorm.weight"), &[writing]);
    }
    add("language_model.model.norm.weight".to_owned(), &[writing]);
    add("language_model.model.embed_tokens.weight".to_owned(), &[VOCABULARY, writing]);
    add("language_model.lm_head.weight".to_owned(), &[VOCABULARY, writing]);
    safetensors::serialize_to_file(&tensors, None, &folder.join("model.safetensors")).unwrap();

    let config = json!({
        "model_type": "llava_next", "image_token_index": 3,
        "image_grid_pinpoints": [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]],
        "vision_config": {"model_type": "clip_vision_model", "hidden_size": seeing, "intermediate_size": 4 * seeing,
            "num_hidden_layers": towers, "num_attention_heads": 6, "image_size": side, "patch_size": 14},
        "text_config": {"model_type": "llama", "hidden_size": writing, "intermediate_size": 2 * writing,
            "num_hidden_layers": layers, "num_attention_heads": 12, "vocab_size": VOCABULARY,
            "max_position_embeddings": 4096},
    });
    let processor = json!({
        "image_processor_type": "LlavaNextImageProcessor", "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side}, "image_grid_pinpoints": config["image_grid_pinpoints"],
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("preprocessor_config.json"), processor.to_string()).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llava/tokenizer");
    for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        std::fs::copy(fixtures.join(file), folder.join(file)).unwrap();
    }
}

/// A bitmap that no other number has.
fn picture(number: u32) -> Vec<u8> {
    let side = 32_u16;
    let mut file = b"BM".to_vec();
    file.extend([0; 8]);
    file.extend(26_u32.to_le_bytes());
    file.extend(12_u32.to_le_bytes());
    for field in [side, side, 1, 24] {
        file.extend(field.to_le_bytes());
    }
    let mut state = u64::from(number) + 1;
    file.extend((0..usize::from(side) * usize::from(side) * 3).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    }));
    file
}

/// A stream that goes on for long.
async fn stream(pool: &LlavaVision, seed: u64) -> GenerationStream {
    let call =
        pool.complete(format!("{seed} ")).temperature(1.0).seed(seed).ignore_eos(true).max_tokens(3000);
    let mut stream = call.stream().await.unwrap();
    stream.next().await.unwrap().unwrap();
    stream
}

/// How long so many tokens take of each of four streams, with or without pictures to be computed all the while.
async fn write(pool: &LlavaVision, tokens: u64, pictures: Option<&mut u32>) -> Duration {
    let mut streams = Vec::new();
    for seed in 0..STREAMS {
        streams.push(stream(pool, seed).await);
    }
    let begun = Instant::now();
    let writing = async {
        let read = streams.iter_mut().map(async |stream| {
            for _ in 0..tokens {
                stream.next().await.unwrap().unwrap();
            }
        });
        futures::future::join_all(read).await;
        begun.elapsed()
    };
    let Some(number) = pictures else {
        return writing.await;
    };
    let seeing = async {
        loop {
            *number += 1;
            pool.describe(picture(*number), "What is it?").max_tokens(1).await.unwrap();
        }
    };
    tokio::select! {
        took = writing => took,
        () = seeing => Duration::ZERO,
    }
}

fn beside(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let pool = runtime.block_on(async { LlavaVision::load(folder.path()).name("bench").await.unwrap() });
    let mut group = criterion.benchmark_group("a token of each of four streams");
    group.sample_size(10).measurement_time(Duration::from_secs(20));
    // All that was measured: time, and tokens.
    let [mut alone, mut beside] = [(Duration::ZERO, 0); 2];
    let add = |all: &mut (Duration, u64), took: Duration, tokens: u64| {
        *all = (all.0 + took, all.1 + tokens);
        took
    };
    group.bench_function("alone", |bencher| {
        bencher.iter_custom(|tokens| add(&mut alone, runtime.block_on(write(&pool, tokens, None)), tokens));
    });
    let mut number = 0;
    group.bench_function("beside pictures in five tiles", |bencher| {
        bencher.iter_custom(|tokens| {
            add(&mut beside, runtime.block_on(write(&pool, tokens, Some(&mut number))), tokens)
        });
    });
    group.finish();
    // A filter may have left one of them out.
    let token = |(time, tokens): (Duration, u64)| (tokens > 0).then(|| time.as_secs_f64() / tokens as f64);
    if let (Some(alone), Some(beside)) = (token(alone), token(beside)) {
        eprintln!("beside pictures, a token takes {:.2} times as long as alone", beside / alone);
    }
}

criterion_group!(benches, beside);
criterion_main!(benches);
