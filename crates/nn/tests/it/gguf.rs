//! The same checkpoints as GGUF files have them: llama.cpp's names, its permuted rows, the 1 in Gemma's norms, and
//! metadata instead of a configuration. What the converter does is written down here once more, from its source
//! (`convert_hf_to_gguf.py`).

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use nn::{Architecture, Decoder, DecoderConfig, GgufStore, Precision, RopeScaling};

use crate::fixture::{self, Fixture};
use crate::sequence::at_once;

/// What a GGUF file would hold.
struct File {
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, Tensor>,
}

fn converted(fixture: &Fixture) -> File {
    let config = fixture.decoder_config(&fixture.config);
    let mut tensors: HashMap<String, Tensor> = fixture
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (ggml_name(&name, &config), ggml_tensor(&name, tensor, &config)))
        .collect();
    tensors.extend(rope_tensors(&config));
    File { metadata: metadata(&config), tensors }
}

fn is_llama(config: &DecoderConfig) -> bool {
    matches!(config.architecture, Architecture::Llama | Architecture::Mistral)
}

fn ggml_name(name: &str, config: &DecoderConfig) -> String {
    let behind = if config.sandwich_norms { "post_attention_norm" } else { "ffn_norm" };
    [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers.", "blk."),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", behind),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        ("self_attn.qkv_proj", "attn_qkv"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.gate_up_proj", "ffn_up"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
}

fn ggml_tensor(name: &str, tensor: Tensor, config: &DecoderConfig) -> Tensor {
    if config.norm_plus_one && name.ends_with("norm.weight") {
        return (tensor + 1.0).unwrap();
    }
    match is_llama(config) {
        true if name.contains("q_proj") => permuted(&tensor, config.heads),
        true if name.contains("k_proj") => permuted(&tensor, config.kv_heads),
        _ => tensor,
    }
}

/// The rows of each head: one of the first half, one of the second, and so on.
fn permuted(tensor: &Tensor, heads: usize) -> Tensor {
    let shape = tensor.dims().to_vec();
    let half = shape[0] / heads / 2;
    let rest: usize = shape[1..].iter().product();
    tensor.reshape((heads, 2, half, rest)).unwrap().transpose(1, 2).unwrap().reshape(shape).unwrap()
}

/// The tensors that hold divisors of frequencies.
fn rope_tensors(config: &DecoderConfig) -> Vec<(String, Tensor)> {
    let rope = &config.ropes[0];
    let tensor = |numbers: &[f32]| Tensor::new(numbers, &Device::Cpu).unwrap();
    match &rope.scaling {
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            let original = *original_context as f32;
            let divisor = |pair: usize| {
                let wavelength =
                    2.0 * std::f32::consts::PI * rope.base.powf(2.0 * pair as f32 / rope.dims as f32);
                if wavelength < original / high_frequency_factor {
                    1.0
                } else if wavelength > original / low_frequency_factor {
                    *factor
                } else {
                    let smooth = (original / wavelength - low_frequency_factor)
                        / (high_frequency_factor - low_frequency_factor);
                    1.0 / ((1.0 - smooth) / factor + smooth)
                }
            };
            let divisors: Vec<f32> = (0..rope.dims / 2).map(divisor).collect();
            vec![("rope_freqs.weight".to_owned(), tensor(&divisors))]
        }
        RopeScaling::LongRope { short, long, .. } => vec![
            ("rope_factors_short.weight".to_owned(), tensor(short)),
            ("rope_factors_long.weight".to_owned(), tensor(long)),
        ],
        _ => Vec::new(),
    }
}

fn metadata(config: &DecoderConfig) -> HashMap<String, Value> {
    let architecture = if is_llama(config) { "llama".to_owned() } else { config.architecture.to_string() };
    let count = |count: usize| Value::U32(count as u32);
    let text = |text: &str| Value::String(text.to_owned());
    let rope = &config.ropes[0];
    let mut own = vec![
        ("vocab_size", count(config.vocab_size)),
        ("context_length", count(config.context)),
        ("embedding_length", count(config.hidden_size)),
        ("block_count", count(config.layers.len())),
        ("feed_forward_length", count(config.intermediate_size)),
        ("attention.head_count", count(config.heads)),
        ("attention.head_count_kv", count(config.kv_heads)),
        ("attention.key_length", count(config.head_dim)),
        ("attention.value_length", count(config.head_dim)),
        ("attention.layer_norm_rms_epsilon", Value::F32(config.norm_eps)),
        ("rope.freq_base", Value::F32(rope.base)),
        ("rope.dimension_count", count(rope.dims)),
    ];
    if let Some(window) = config.layers[0].window {
        own.push(("attention.sliding_window", count(window)));
    }
    if let (Some(attention), Some(logits)) = (config.attention_soft_cap, config.logit_soft_cap) {
        own.push(("attn_logit_softcapping", Value::F32(attention)));
        own.push(("final_logit_softcapping", Value::F32(logits)));
    }
    match &rope.scaling {
        RopeScaling::Linear { factor } => {
            own.push(("rope.scaling.type", text("linear")));
            own.push(("rope.scaling.factor", Value::F32(*factor)));
        }
        RopeScaling::Yarn { factor, original_context, .. } => {
            own.push(("rope.scaling.type", text("yarn")));
            own.push(("rope.scaling.factor", Value::F32(*factor)));
            own.push(("rope.scaling.original_context_length", count(*original_context)));
        }
        RopeScaling::LongRope { original_context, attention_factor, .. } => {
            own.push(("rope.scaling.original_context_length", count(*original_context)));
            own.push(("rope.scaling.attn_factor", Value::F32(*attention_factor)));
        }
        _ => {}
    }
    let own = own.into_iter().map(|(name, value)| (format!("{architecture}.{name}"), value));
    own.chain([("general.architecture".to_owned(), text(&architecture))]).collect()
}

impl File {
    fn config(&self, fixture: &Fixture) -> DecoderConfig {
        let mut config = DecoderConfig::from_gguf(&self.metadata).unwrap();
        // What the metadata cannot say: these scale by a number of their own, the files' models by the size of a head.
        config.attention_scale = fixture.decoder_config(&fixture.config).attention_scale;
        config
    }

    fn decoder(&self, config: DecoderConfig) -> Decoder {
        let load = |name: &str| QTensor::quantize(&self.tensors[name], GgmlDType::F32);
        let store = GgufStore::new(&config, self.tensors.keys(), load);
        Decoder::load(config, &store, Precision::default()).unwrap()
    }
}

#[test]
fn the_logits_of_a_file_are_those_of_the_checkpoint_it_was_made_from() {
    for fixture in fixture::all() {
        // No file can have a window from some layer on.
        if fixture.name == "qwen2-window" {
            continue;
        }
        let file = converted(&fixture);
        let decoder = file.decoder(file.config(&fixture));
        let worst = fixture.worst(&at_once(&decoder, &fixture.tokens));
        assert!(worst <= fixture.tolerance, "{}: {worst:.1e} apart", fixture.name);
    }
}

#[test]
fn a_tensor_of_another_shape_is_named_as_the_file_names_it() {
    let fixture = fixture::named("llama3");
    let mut file = converted(&fixture);
    let narrow = Tensor::zeros((30, 36), DType::F32, &Device::Cpu).unwrap();
    file.tensors.insert("blk.1.attn_q.weight".to_owned(), narrow);
    let config = file.config(&fixture);
    let load = |name: &str| QTensor::quantize(&file.tensors[name], GgmlDType::F32);
    let store = GgufStore::new(&config, file.tensors.keys(), load);
    let error = Decoder::load(config.clone(), &store, Precision::default()).unwrap_err().to_string();
    assert_eq!(
        error,
        "the tensor \"blk.1.attn_q.weight\" has the shape [30, 36], the configuration asks for [36, 36]"
    );
    let failing = GgufStore::new(&config, file.tensors.keys(), |name: &str| {
        Err(format!("{name} is type IQ2_XS\nat 1"))
    });
    let error = Decoder::load(config.clone(), &failing, Precision::default()).unwrap_err().to_string();
    assert_eq!(error, "token_embd.weight is type IQ2_XS");
}

#[test]
fn a_tensor_of_a_layer_that_is_not_computed_with_is_refused_by_name() {
    let one = Tensor::ones(1, DType::F32, &Device::Cpu).unwrap();
    let load_with = |name: &str| {
        let mut file = converted(&fixture::named("llama3"));
        file.tensors.insert(name.to_owned(), one.clone());
        let config = DecoderConfig::from_gguf(&file.metadata).unwrap();
        let load = |name: &str| QTensor::quantize(&file.tensors[name], GgmlDType::F32);
        let store = GgufStore::new(&config, file.tensors.keys(), load);
        Decoder::load(config.clone(), &store, Precision::default()).map_err(|error| error.to_string())
    };
    for name in ["blk.0.attn_q_norm.weight", "blk.2.attn_sub_norm.weight", "blk.1.attn_q.scale"] {
        let wanted = format!(
            "the tensor {name:?} is not supported: this architecture, configured like this, is computed without it"
        );
        assert_eq!(load_with(name).unwrap_err(), wanted);
    }
    // Behind the last layer, and of no layer.
    for name in ["blk.3.attn_q_norm.weight", "blk.0.attn_rot_embd", "v.blk.0.attn_q_norm.weight"] {
        assert!(load_with(name).is_ok(), "{name}");
    }
}

#[test]
fn stored_divisors_are_numbers_above_0() {
    for divisor in [0.0, -1.0, f32::NAN] {
        let mut file = converted(&fixture::named("llama3"));
        let divisors = Tensor::new(&[1.0, divisor, 1.0], &Device::Cpu).unwrap();
        file.tensors.insert("rope_freqs.weight".to_owned(), divisors);
        let config = DecoderConfig::from_gguf(&file.metadata).unwrap();
        let load = |name: &str| QTensor::quantize(&file.tensors[name], GgmlDType::F32);
        let store = GgufStore::new(&config, file.tensors.keys(), load);
        let error = Decoder::load(config.clone(), &store, Precision::default()).unwrap_err().to_string();
        let wanted = format!("\"rope_freqs.weight\" holds {divisor}, all of it must be numbers above 0");
        assert!(error.contains(&wanted), "{error}");
    }
}

#[test]
fn stored_divisors_beside_another_stretching_are_refused() {
    let fixture = fixture::named("llama-bias");
    let mut file = converted(&fixture);
    let divisors = Tensor::new(&[1.0_f32; 5], &Device::Cpu).unwrap();
    file.tensors.insert("rope_freqs.weight".to_owned(), divisors);
    let config = file.config(&fixture);
    let load = |name: &str| QTensor::quantize(&file.tensors[name], GgmlDType::F32);
    let store = GgufStore::new(&config, file.tensors.keys(), load);
    let error = Decoder::load(config.clone(), &store, Precision::default()).unwrap_err().to_string();
    assert!(error.starts_with("rope_freqs.weight beside Linear"), "{error}");
}
