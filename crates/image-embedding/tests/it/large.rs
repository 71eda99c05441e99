//! A model whose pass over a picture takes many steps: what happens in the middle of one.

use std::collections::HashMap;
use std::fs;
use std::future::IntoFuture;
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use image_embedding::{ImageEmbedding, Priority};
use pool_core::Error as PoolError;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::fixture::picture;

/// DINOv2-small with twice the layers and weights of zero, for pictures of 518 pixels.
fn folder() -> tempfile::TempDir {
    let (width, layers, patch, edge) = (384, 24, 14, 518);
    let mut tensors = HashMap::new();
    let mut add = |name: &str, shape: &[usize]| {
        let zeros = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        tensors.insert(name.to_owned(), zeros);
    };
    let patches = (edge / patch) * (edge / patch);
    add("embeddings.cls_token", &[1, 1, width]);
    add("embeddings.position_embeddings", &[1, patches + 1, width]);
    add("embeddings.patch_embeddings.projection.weight", &[width, 3, patch, patch]);
    add("embeddings.patch_embeddings.projection.bias", &[width]);
    for norm in ["layernorm.weight", "layernorm.bias"] {
        add(norm, &[width]);
    }
    for layer in 0..layers {
        let mut add = |name: &str, shape: &[usize]| add(&format!("encoder.layer.{layer}.{name}"), shape);
        for name in [
            "attention.attention.query",
            "attention.attention.key",
            "attention.attention.value",
            "attention.output.dense",
        ] {
            add(&format!("{name}.weight"), &[width, width]);
            add(&format!("{name}.bias"), &[width]);
        }
        add("mlp.fc1.weight", &[4 * width, width]);
        add("mlp.fc1.bias", &[4 * width]);
        add("mlp.fc2.weight", &[width, 4 * width]);
        for name in [
            "mlp.fc2.bias",
            "norm1.weight",
            "norm1.bias",
            "norm2.weight",
            "norm2.bias",
            "layer_scale1.lambda1",
            "layer_scale2.lambda1",
        ] {
            add(name, &[width]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    candle_core::safetensors::save(&tensors, folder.path().join("model.safetensors")).unwrap();
    let config = json!({
        "model_type": "dinov2", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 6,
        "image_size": edge, "patch_size": patch,
    });
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let processor = json!({
        "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": edge},
        "crop_size": {"height": edge, "width": edge},
    });
    fs::write(folder.path().join("preprocessor_config.json"), processor.to_string()).unwrap();
    folder
}

/// Jobs that workers have at hand.
fn active(pool: &ImageEmbedding) -> usize {
    pool.group().stats().queue.leased
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = timeout(Duration::from_secs(60), async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} did not happen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_in_the_middle_of_a_pass() {
    let folder = folder();
    let pool = ImageEmbedding::load(folder.path()).await.unwrap();
    let started = Instant::now();
    assert_eq!(pool.embed_image(picture("landscape.png")).normalize(false).await.unwrap().len(), 384);
    let whole = started.elapsed();

    // Cancelled in the middle, it is left at once, not at its end.
    let call = tokio::spawn(pool.embed_image(picture("portrait.png")).into_future());
    until("the start", || active(&pool) == 1).await;
    sleep(whole / 10).await;
    let started = Instant::now();
    call.abort();
    until("the end", || active(&pool) == 0).await;
    let left = started.elapsed();
    assert!(left < whole / 2, "{left:?} to leave a pass of {whole:?}");
    assert_eq!(pool.group().stats().queue.counts.cancelled, 1);

    // A deadline is kept in the middle, too.
    let started = Instant::now();
    let error = pool.embed_image(picture("square.png")).deadline(whole / 5).await.unwrap_err();
    assert!(matches!(error.pool(), Some(PoolError::DeadlineExceeded { .. })), "{error:?}");
    assert!(started.elapsed() < whole / 2);
    until("the end", || active(&pool) == 0).await;

    // What is more urgent overtakes.
    let slow = tokio::spawn(pool.embed_image(picture("wide.png")).normalize(false).into_future());
    until("the start", || active(&pool) == 1).await;
    sleep(whole / 10).await;
    let urgent = pool.embed_image(picture("grey.png")).normalize(false).priority(Priority::Critical);
    assert!(urgent.await.is_ok());
    assert!(!slow.is_finished(), "the urgent one has waited for the other");
    assert!(slow.await.unwrap().is_ok());
}
