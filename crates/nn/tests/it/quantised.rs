//! Quantised matrices: every kind the tensor library reads, mixed in one model.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use nn::{
    Activations, Decoder, DecoderConfig, NnError, OutputHead, Precision, Rows, StoredMatrix, TensorStore,
};
use serde_json::json;

use crate::deterministic::assert_same_bits;
use crate::fixture::relative;
use crate::sequence::{Shelf, at_once};

const KINDS: [GgmlDType; 10] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

/// Random weights, each matrix of the next kind.
struct Mixed {
    tensors: HashMap<String, Arc<QTensor>>,
}

fn config() -> DecoderConfig {
    let mut config = DecoderConfig::from_huggingface(&json!({
        "model_type": "llama", "vocab_size": 256, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    }))
    .unwrap();
    config.output = OutputHead::AsStored;
    config
}

/// Numbers that look random and are the same everywhere.
fn noise(seed: usize, count: usize, size: f32) -> Vec<f32> {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| (next() + next() + next()) * size).collect()
}

impl Mixed {
    fn new(kinds: &[GgmlDType]) -> Self {
        let mut tensors = HashMap::new();
        for (name, (rows, columns)) in matrices() {
            let kind = kinds[tensors.len() % kinds.len()];
            let numbers = noise(tensors.len(), rows * columns, 3.4 / (columns as f32).sqrt());
            let dense = Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).unwrap();
            tensors.insert(name, Arc::new(QTensor::quantize(&dense, kind).unwrap()));
        }
        Self { tensors }
    }
}

fn matrices() -> Vec<(String, (usize, usize))> {
    let mut matrices = vec![("model.embed_tokens.weight".to_owned(), (256, 256))];
    for layer in 0..2 {
        for (name, shape) in [
            ("self_attn.q_proj", (256, 256)),
            ("self_attn.k_proj", (128, 256)),
            ("self_attn.v_proj", (128, 256)),
            ("self_attn.o_proj", (256, 256)),
            ("mlp.gate_proj", (512, 256)),
            ("mlp.up_proj", (512, 256)),
            ("mlp.down_proj", (256, 512)),
        ] {
            matrices.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    matrices
}

impl TensorStore for Mixed {
    fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn vector(&self, _: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(vec![1.0; length])
    }

    fn matrix(&self, name: &str, _: (usize, usize)) -> Result<StoredMatrix, NnError> {
        Ok(StoredMatrix::Quantised(self.tensors[name].clone()))
    }
}

fn load(store: &Mixed, activations: Activations, deterministic: bool) -> Decoder {
    Decoder::load(config(), store, Precision { activations, deterministic }).unwrap()
}

fn tokens() -> Vec<u32> {
    (0..23).map(|n| (n * 37 + 11) % 256).collect()
}

/// What f32 weights of the same values give.
fn dense(store: &Mixed) -> Vec<f32> {
    let tensors =
        store.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dequantize(&Device::Cpu).unwrap()));
    let mut tensors: HashMap<String, Tensor> = tensors.collect();
    for name in ["input_layernorm", "post_attention_layernorm"] {
        for layer in 0..2 {
            let ones = Tensor::ones(256, DType::F32, &Device::Cpu).unwrap();
            tensors.insert(format!("model.layers.{layer}.{name}.weight"), ones);
        }
    }
    tensors.insert("model.norm.weight".to_owned(), Tensor::ones(256, DType::F32, &Device::Cpu).unwrap());
    let builder = candle_nn::VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let store = nn::SafetensorsStore::new(builder).unwrap();
    at_once(&Decoder::load(config(), &store, Precision::default()).unwrap(), &tokens())
}

#[test]
fn with_f32_activations_a_quantised_matrix_is_what_its_blocks_say() {
    let store = Mixed::new(&KINDS);
    let wanted = dense(&store);
    for deterministic in [false, true] {
        let apart = relative(&at_once(&load(&store, Activations::F32, deterministic), &tokens()), &wanted);
        assert!(apart < 1e-5, "{apart:.1e} apart");
    }
}

#[test]
fn quantised_activations_stay_near() {
    for kind in KINDS {
        let store = Mixed::new(&[kind]);
        let wanted = dense(&store);
        for deterministic in [false, true] {
            let decoder = load(&store, Activations::Quantised, deterministic);
            let apart = relative(&at_once(&decoder, &tokens()), &wanted);
            // Rounding activations to eight bits is an error of half a percent a product, over fifteen products. Kinds
            // that are widened on the way round nothing.
            let exact = [GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1].contains(&kind);
            let expected = if exact { 0.0..1e-5 } else { 1e-6..0.05 };
            assert!(expected.contains(&apart), "{kind:?}: {apart:.1e} apart");
        }
    }
}

#[test]
fn when_deterministic_all_kinds_have_the_same_bits_for_one_row_and_for_many() {
    for kind in KINDS {
        let store = Mixed::new(&[kind]);
        assert_same_bits(&format!("{kind:?}"), &load(&store, Activations::Quantised, true), &tokens());
    }
    let store = Mixed::new(&KINDS);
    assert_same_bits("mixed", &load(&store, Activations::Quantised, true), &tokens());
    assert_same_bits("mixed, f32", &load(&store, Activations::F32, true), &tokens());
}

#[test]
fn prefill_and_decode_agree_by_default_too_but_for_rounding() {
    let store = Mixed::new(&KINDS);
    let decoder = load(&store, Activations::Quantised, false);
    let wanted = at_once(&decoder, &tokens());
    let mut shelf = Shelf::new(&decoder, 4, 16);
    let mut sequence = shelf.sequence(tokens().len());
    let single: Vec<f32> =
        tokens().iter().flat_map(|token| shelf.feed(&mut sequence, &[*token], Rows::Last)).collect();
    let apart = relative(&single, &wanted);
    assert!(apart < 0.02, "{apart:.1e} apart");
}
