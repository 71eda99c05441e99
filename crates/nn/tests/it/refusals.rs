//! Configurations that are refused, each in one line that names the field.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value as Metadata;
use nn::{Architecture, Bias, DecoderConfig, OutputHead, RopeScaling};
use serde_json::{Value, json};

/// A small configuration of an architecture, with some fields changed.
fn with(model_type: &str, changes: Value) -> Result<DecoderConfig, String> {
    let mut config = json!({
        "model_type": model_type, "vocab_size": 60, "hidden_size": 24, "intermediate_size": 30,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    });
    for (name, value) in changes.as_object().unwrap() {
        config[name] = value.clone();
    }
    DecoderConfig::from_huggingface(&config).map_err(|error| error.to_string())
}

#[test]
fn fields_that_change_the_mathematics_are_refused_by_name() {
    let cases = [
        ("bloom", json!({}), "model_type \"bloom\""),
        ("qwen2_moe", json!({}), "model_type \"qwen2_moe\""),
        ("llama", json!({"hidden_act": "relu"}), "hidden_act \"relu\""),
        ("gemma2", json!({"hidden_activation": "gelu"}), "hidden_activation \"gelu\""),
        ("mistral", json!({"attention_bias": true}), "attention_bias true"),
        ("qwen2", json!({"attention_bias": true}), "attention_bias true"),
        ("phi3", json!({"attention_bias": true}), "attention_bias true"),
        ("mistral", json!({"mlp_bias": true}), "mlp_bias true"),
        ("llama", json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor 0.5 for llama"),
        ("llama", json!({"rope_interleaved": true}), "rope_interleaved true"),
        ("llama", json!({"sliding_window": 128}), "sliding_window 128"),
        ("llama", json!({"num_local_experts": 8}), "num_local_experts 8"),
        ("llama", json!({"attn_logit_softcapping": 50.0}), "attn_logit_softcapping 50.0"),
        ("llama", json!({"embedding_multiplier": 12.0}), "embedding_multiplier 12.0"),
        ("llama", json!({"residual_multiplier": 0.2}), "residual_multiplier 0.2"),
        ("llama", json!({"logits_scaling": 8.0}), "logits_scaling 8.0"),
        ("llama", json!({"qk_layernorm": true}), "qk_layernorm true"),
        ("llama", json!({"no_rope_layers": [1, 0]}), "no_rope_layers [1,0]"),
        ("llama", json!({"attention_chunk_size": 8192}), "attention_chunk_size 8192"),
        ("mistral", json!({"layer_types": (["full_attention"; 3])}), "layer_types [\"full_attention\""),
        ("qwen3", json!({"layer_types": (["chunked_attention"; 3])}), "\"chunked_attention\" in layer_types"),
        ("gemma3_text", json!({"use_bidirectional_attention": true}), "use_bidirectional_attention true"),
        ("llama", json!({"quantization_config": {"quant_method": "awq"}}), "quantization_config"),
        ("llama", json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}}), "the rope_type \"dynamic\""),
        (
            "llama",
            json!({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}),
            "the rope_type \"dynamic\"",
        ),
        (
            "qwen2",
            json!({"rope_scaling": {"type": "mrope", "mrope_section": [1]}}),
            "the rope_type \"mrope\"",
        ),
        (
            "qwen2",
            json!({"rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24]}}),
            "rope_parameters.mrope_section [16,24,24]",
        ),
        ("phi3", json!({"rope_scaling": {"type": "linear", "factor": 2.0, "new": 1}}), "rope_scaling.new 1"),
    ];
    for (model_type, changes, wanted) in cases {
        let error = with(model_type, changes.clone()).expect_err(&changes.to_string());
        assert!(error.starts_with(wanted) && error.contains("is not supported: "), "{changes}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn contradictions_are_told_in_one_line() {
    let cases = [
        (
            "llama",
            json!({"model_type": null}),
            "the configuration has no model_type, so the architecture is unknown",
        ),
        ("llama", json!({"vocab_size": "60"}), "vocab_size is \"60\", it must be a whole number"),
        ("llama", json!({"hidden_size": -1}), "hidden_size is -1, it must be a whole number"),
        ("llama", json!({"num_hidden_layers": 0}), "the number of layers is 0, it must be at least 1"),
        (
            "llama",
            json!({"vocab_size": 1u64 << 40}),
            "the vocabulary size is 1099511627776, it must be at most 16777216",
        ),
        (
            "llama",
            json!({"num_key_value_heads": 3}),
            "4 attention heads cannot share 3 key and value heads evenly",
        ),
        (
            "llama",
            json!({"head_dim": null, "hidden_size": 25}),
            "hidden_size 25 is not a multiple of num_attention_heads 4, and there is no head_dim",
        ),
        ("llama", json!({"head_dim": 7}), "7 rotated numbers of a head of 7 are not an even number of them"),
        ("llama", json!({"rms_norm_eps": "small"}), "rms_norm_eps is \"small\", it must be a number"),
        ("llama", json!({"rope_theta": 0}), "the rotary base is 0, it must be a number above 0"),
        ("llama", json!({"attention_bias": 1}), "attention_bias is 1, it must be true or false"),
        ("llama", json!({"rope_scaling": 2}), "rope_scaling is 2, it must be an object"),
        ("llama", json!({"rope_scaling": {"type": "linear"}}), "rope_scaling.factor is missing"),
        (
            "llama",
            json!({"rope_scaling": {"type": "linear", "factor": 0.0}}),
            "rope_scaling.factor is 0, it must be above 0",
        ),
        (
            "phi3",
            json!({"rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.0]}}),
            "rope_scaling.long_factor is missing, longrope needs it",
        ),
        (
            "phi3",
            json!({"rope_scaling": {"type": "su", "short_factor": [1.0], "long_factor": [1.0, 1.0, 1.0, 1.0]}}),
            "1 short rotary factors for 4 pairs of numbers",
        ),
        ("mistral", json!({"sliding_window": 0}), "a sliding window of 0 positions sees nothing"),
        (
            "qwen3",
            json!({"layer_types": ["full_attention"]}),
            "layer_types names 1 layers, num_hidden_layers is 3",
        ),
        (
            "qwen3",
            json!({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
            "layer_types has sliding_attention, but the configuration has no sliding_window in use",
        ),
        (
            "gemma3_text",
            json!({"sliding_window_pattern": 0}),
            "sliding_window_pattern is 0, it must be at least 1",
        ),
        ("gemma3", json!({}), "the configuration has no text_config"),
    ];
    for (model_type, changes, wanted) in cases {
        assert_eq!(with(model_type, changes.clone()).expect_err(&changes.to_string()), wanted);
    }
    let error = DecoderConfig::from_huggingface(&json!([1])).unwrap_err();
    assert_eq!(error.to_string(), "the configuration is no JSON object");
}

#[test]
fn fields_about_other_things_are_let_pass() {
    let config = with(
        "llama",
        json!({
            "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16", "transformers_version": "4.44.0",
            "initializer_range": 0.02, "use_cache": true, "attention_dropout": 0.1, "pretraining_tp": 1,
            "bos_token_id": 1, "eos_token_id": [2, 3], "_attn_implementation_autoset": true, "rope_interleaved": false,
            "attention_bias": false, "rope_scaling": null, "num_local_experts": null, "sliding_window": null,
            "transformers.js_config": {"dtype": "q4"}, "unsloth_version": "2026.1", "is_llama_config": true,
        }),
    );
    assert_eq!(config, with("llama", json!({})));
    assert!(config.is_ok());
}

#[test]
fn what_is_absent_has_the_default_of_the_class() {
    let read =
        |model_type: &str| DecoderConfig::from_huggingface(&json!({"model_type": model_type})).unwrap();
    let windows = |config: &DecoderConfig| -> Vec<Option<usize>> {
        config.layers.iter().map(|layer| layer.window).collect()
    };
    let llama = read("llama");
    assert_eq!(
        (llama.vocab_size, llama.hidden_size, llama.layers.len(), llama.heads),
        (32_000, 4096, 32, 32)
    );
    assert_eq!((llama.kv_heads, llama.head_dim, llama.context), (32, 128, 2048));
    assert_eq!(llama.output, OutputHead::Separate);
    let mistral = read("mistral");
    assert_eq!((mistral.kv_heads, windows(&mistral)[0]), (8, Some(4096)));
    assert_eq!(windows(&with("mistral", json!({"sliding_window": null})).unwrap()), [None; 3]);
    let qwen2 = read("qwen2");
    assert_eq!((qwen2.kv_heads, windows(&qwen2)[31]), (32, None));
    assert_eq!((qwen2.query_key_value_bias, qwen2.attention_output_bias), (Bias::Present, Bias::Absent));
    assert_eq!((read("qwen3").head_dim, read("qwen3").query_key_norm), (128, true));
    let gemma2 = read("gemma2");
    assert_eq!((gemma2.attention_soft_cap, gemma2.logit_soft_cap), (Some(50.0), Some(30.0)));
    assert_eq!(windows(&gemma2)[..4], [Some(4096), None, Some(4096), None]);
    assert_eq!((gemma2.attention_scale, gemma2.output), (1.0 / 16.0, OutputHead::Tied));
    let gemma3 = read("gemma3_text");
    assert_eq!((gemma3.attention_soft_cap, gemma3.logit_soft_cap, gemma3.vocab_size), (None, None, 262_208));
    let global: Vec<usize> = (0..26).filter(|layer| windows(&gemma3)[*layer].is_none()).collect();
    assert_eq!(global, [5, 11, 17, 23]);
    assert_eq!([gemma3.ropes[0].base, gemma3.ropes[1].base], [1_000_000.0, 10_000.0]);
    assert!(gemma3.layers.iter().all(|layer| layer.rope == usize::from(layer.window.is_some())));
    let phi3 = read("phi3");
    assert_eq!((phi3.norm_eps, phi3.context, windows(&phi3)[0]), (1e-5, 4096, None));
    assert!(phi3.fused_projections);
    // A soft cap that is null is none.
    let uncapped = with("gemma2", json!({"attn_logit_softcapping": null})).unwrap();
    assert_eq!((uncapped.attention_soft_cap, uncapped.logit_soft_cap), (None, Some(30.0)));
    let pattern = with("gemma3_text", json!({"sliding_window_pattern": 2})).unwrap();
    assert_eq!(windows(&pattern), [Some(4096), None, Some(4096)]);
}

#[test]
fn older_names_of_phi_3s_stretching_are_known() {
    for name in ["longrope", "su", "yarn"] {
        let factors = json!([1.0, 1.0, 1.0, 1.0]);
        let scaling = json!({"type": name, "short_factor": factors, "long_factor": factors});
        let config =
            with("phi3", json!({"max_position_embeddings": 131_072, "rope_scaling": scaling})).unwrap();
        let RopeScaling::LongRope { original_context, attention_factor, .. } = config.ropes[0].scaling else {
            unreachable!("{:?}", config.ropes)
        };
        // sqrt(1 + ln(32) / ln(4096))
        assert_eq!(original_context, 4096);
        assert!((attention_factor - 1.190_238).abs() < 1e-5, "{attention_factor}");
    }
}

#[test]
fn sizes_that_no_model_has_are_refused_before_anything_is_allocated() {
    let cases = [
        ("num_hidden_layers", 1_000_000_000_000_000_u64, "num_hidden_layers is 1000000000000000", 4096),
        ("num_hidden_layers", 4097, "num_hidden_layers is 4097", 4096),
        ("vocab_size", 1 << 30, "the vocabulary size is 1073741824", 1 << 24),
        ("hidden_size", 1 << 30, "the hidden size is 1073741824", 1 << 24),
        ("intermediate_size", 1 << 30, "the intermediate size is 1073741824", 1 << 24),
        ("num_attention_heads", 1 << 17, "the number of attention heads is 131072", 1 << 16),
        ("num_key_value_heads", 1 << 17, "the number of key and value heads is 131072", 1 << 16),
        ("head_dim", 1 << 30, "the head dimension is 1073741824", 1 << 16),
        ("max_position_embeddings", 1 << 31, "the context length is 2147483648", 1 << 30),
    ];
    for (field, value, wanted, most) in cases {
        for model_type in ["llama", "mistral", "qwen3"] {
            let error = with(model_type, json!({field: value})).expect_err(field);
            assert_eq!(error, format!("{wanted}, it must be at most {most}"));
        }
    }
    let wide = with("llama", json!({"num_attention_heads": 1 << 16, "head_dim": 1 << 16})).unwrap_err();
    assert_eq!(wide, "the width of all attention heads is 4294967296, it must be at most 16777216");
    let window = with("mistral", json!({"sliding_window": u64::MAX})).unwrap_err();
    assert_eq!(window, "the sliding window is 18446744073709551615, it must be at most 1073741824");
    let layers = gguf("llama", &[("llama.block_count", Metadata::U32(u32::MAX))]).unwrap_err();
    assert_eq!(layers, "the metadata's llama.block_count is 4294967295, it must be at most 4096");
    assert_eq!(with("llama", json!({"num_hidden_layers": 4096})).unwrap().layers.len(), 4096);
}

/// A large model's sizes are counted, not wrapped around.
#[test]
fn the_largest_sizes_that_are_accepted_can_be_counted() {
    let largest = json!({
        "vocab_size": 1 << 24, "hidden_size": 1 << 24, "intermediate_size": 1 << 24, "num_hidden_layers": 4096,
        "num_attention_heads": 1 << 8, "num_key_value_heads": 1 << 8, "head_dim": 1 << 16,
    });
    let config = with("llama", largest).unwrap();
    let (size, layers) = (1_u64 << 24, 4096_u64);
    let layer = 7 * size * size + 4 * size + 2 * (1 << 16);
    assert_eq!(config.parameters(), layers * layer + 2 * size * size + size);
    let layout = config.cache_layout(16);
    assert_eq!(layout.block_bytes(&layout.groups[0]), layers * 2 * 16 * size * 4);
}

#[test]
fn numbers_that_nothing_can_be_stretched_or_capped_by_are_refused_by_name() {
    let ones = json!([1.0, 1.0, 1.0, 1.0]);
    let above = |name: &str, value: &str| format!("the {name} is {value}, it must be a number above 0");
    for (model_type, changes, wanted) in [
        ("llama", json!({"type": "yarn", "factor": 0.0}), above("rotary factor of yarn", "0")),
        ("llama", json!({"type": "yarn", "factor": -4.0}), above("rotary factor of yarn", "-4")),
        (
            "llama",
            json!({"type": "yarn", "factor": 2.0, "beta_fast": -32.0}),
            above("beta_fast of yarn", "-32"),
        ),
        ("llama", json!({"type": "yarn", "factor": 2.0, "beta_slow": -1}), above("beta_slow of yarn", "-1")),
        (
            "llama",
            json!({"type": "yarn", "factor": 2.0, "attention_factor": 0}),
            above("attention factor of yarn", "0"),
        ),
        (
            "phi3",
            json!({"type": "longrope", "short_factor": [1.0, 0.0, 1.0, 1.0], "long_factor": ones}),
            above("short rotary factor", "0"),
        ),
        (
            "phi3",
            json!({"type": "longrope", "short_factor": ones, "long_factor": [1.0, 1.0, 1.0, -1.5]}),
            above("long rotary factor", "-1.5"),
        ),
        (
            "phi3",
            json!({"type": "longrope", "short_factor": ones, "long_factor": [1.0, 1e300, 1.0, 1.0]}),
            above("long rotary factor", "inf"),
        ),
        (
            "phi3",
            json!({"type": "longrope", "short_factor": ones, "long_factor": ones, "attention_factor": -1}),
            above("attention factor of longrope", "-1"),
        ),
    ] {
        let error =
            with(model_type, json!({"rope_scaling": changes.clone()})).expect_err(&changes.to_string());
        assert_eq!(error, wanted);
    }
    for (field, value, name) in [
        ("attn_logit_softcapping", json!(0), "attention soft cap"),
        ("final_logit_softcapping", json!(-30), "logit soft cap"),
    ] {
        let error = with("gemma2", json!({field: value.clone()})).expect_err(field);
        assert_eq!(error, above(name, &value.to_string()));
    }
    let scale = with("gemma2", json!({"query_pre_attn_scalar": -1})).unwrap_err();
    assert_eq!(scale, above("attention scale", "NaN"));
    for (key, name) in [
        ("gemma2.rope.scaling.factor", "rotary factor"),
        ("gemma2.attn_logit_softcapping", "attention soft cap"),
        ("gemma2.final_logit_softcapping", "logit soft cap"),
        ("gemma2.attention.scale", "attention scale"),
    ] {
        assert_eq!(gguf("gemma2", &[(key, Metadata::F32(-2.0))]).expect_err(key), above(name, "-2"));
    }
}

#[test]
fn zeros_that_say_nothing_is_there_are_read_so() {
    let scaling = |turns: Value| {
        let scaling = json!({"type": "yarn", "factor": 2.0, "beta_fast": turns, "beta_slow": turns});
        with("llama", json!({"rope_scaling": scaling})).unwrap()
    };
    assert_eq!(scaling(json!(0)), scaling(json!(null)));
    let zero = Metadata::F32(0.0);
    let off = [("gemma2.attn_logit_softcapping", zero.clone()), ("gemma2.rope.scaling.factor", zero)];
    let config = gguf("gemma2", &off).unwrap();
    assert_eq!((config.attention_soft_cap, config.logit_soft_cap), (None, Some(30.0)));
    for architecture in ["gemma2", "gemma3"] {
        let key = format!("{architecture}.attention.sliding_window");
        let unlimited = gguf(architecture, &[(&key, Metadata::U32(0))]).unwrap();
        assert!(unlimited.layers.iter().all(|layer| layer.window.is_none() && layer.rope == 0));
        assert_eq!(gguf(architecture, &[]).unwrap().layers[0].window, Some(4096));
    }
}

fn gguf(architecture: &str, changes: &[(&str, Metadata)]) -> Result<DecoderConfig, String> {
    let count = |number: u32| Metadata::U32(number);
    let mut metadata: HashMap<String, Metadata> = [
        ("context_length", count(64)),
        ("embedding_length", count(24)),
        ("block_count", count(12)),
        ("feed_forward_length", count(30)),
        ("attention.head_count", count(4)),
        ("attention.head_count_kv", count(2)),
        ("vocab_size", count(60)),
    ]
    .into_iter()
    .map(|(name, value)| (format!("{architecture}.{name}"), value))
    .collect();
    metadata.insert("general.architecture".to_owned(), Metadata::String(architecture.to_owned()));
    metadata.insert("general.file_type".to_owned(), count(15));
    for (name, value) in changes {
        metadata.insert((*name).to_owned(), value.clone());
    }
    DecoderConfig::from_gguf(&metadata).map_err(|error| error.to_string())
}

#[test]
fn metadata_that_changes_the_mathematics_is_refused_by_name() {
    let text = |text: &str| Metadata::String(text.to_owned());
    let cases: [(&str, &str, Metadata, &str); 12] = [
        ("mamba", "mamba.x", Metadata::U32(1), "the GGUF architecture \"mamba\" is not supported"),
        ("llama", "llama.expert_count", Metadata::U32(8), "llama.expert_count is not supported"),
        ("llama", "llama.logit_scale", Metadata::F32(0.5), "llama.logit_scale is not supported"),
        (
            "llama",
            "llama.attention.causal",
            Metadata::Bool(false),
            "llama.attention.causal false is not supported",
        ),
        (
            "llama",
            "llama.rope.scaling.type",
            text("dynamic"),
            "llama.rope.scaling.type \"dynamic\" is not supported",
        ),
        (
            "qwen2",
            "qwen2.final_logit_softcapping",
            Metadata::F32(30.0),
            "qwen2.final_logit_softcapping is not supported",
        ),
        (
            "llama",
            "llama.feed_forward_length",
            Metadata::Array(vec![Metadata::U32(30), Metadata::U32(40)]),
            "llama.feed_forward_length that differs from layer to layer is not supported",
        ),
        ("llama", "llama.attention.value_length", Metadata::U32(5), ""),
        ("llama", "llama.block_count", text("12"), "the metadata's llama.block_count must be a whole number"),
        (
            "llama",
            "llama.rope.freq_base",
            text("1e4"),
            "the metadata's llama.rope.freq_base must be a number",
        ),
        (
            "llama",
            "llama.rope.freq_base",
            Metadata::F32(f32::NAN),
            "the metadata's llama.rope.freq_base must be a number",
        ),
        ("llama", "llama.block_count", Metadata::U32(0), "the number of layers is 0, it must be at least 1"),
    ];
    for (architecture, name, value, wanted) in cases {
        let error = gguf(architecture, &[(name, value)]).expect_err(name);
        assert!(error.starts_with(wanted), "{name}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let both = [
        ("llama.attention.key_length", Metadata::U32(6)),
        ("llama.attention.value_length", Metadata::U32(4)),
    ];
    assert!(gguf("llama", &both).unwrap_err().starts_with("llama.attention.value_length 4 is not supported"));
    // Said, but not so.
    assert!(gguf("llama", &[("llama.expert_count", Metadata::U32(0))]).is_ok());
    let missing = DecoderConfig::from_gguf(&HashMap::new()).unwrap_err().to_string();
    assert_eq!(missing, "the metadata has no general.architecture, so the architecture is unknown");
}

#[test]
fn silent_metadata_means_the_architectures_defaults() {
    let gemma3 = gguf("gemma3", &[]).unwrap();
    assert_eq!(gemma3.architecture, Architecture::Gemma3);
    let global: Vec<usize> = (0..12).filter(|layer| gemma3.layers[*layer].window.is_none()).collect();
    assert_eq!(global, [5, 11]);
    assert_eq!([gemma3.ropes[0].base, gemma3.ropes[1].base], [1_000_000.0, 10_000.0]);
    assert!(!gemma3.norm_plus_one, "the file's norms have the 1 already");
    let gemma2 = gguf("gemma2", &[]).unwrap();
    assert_eq!((gemma2.attention_soft_cap, gemma2.logit_soft_cap), (Some(50.0), Some(30.0)));
    assert_eq!((gemma2.layers[0].window, gemma2.layers[1].window), (Some(4096), None));
    let llama = gguf("llama", &[]).unwrap();
    assert_eq!((llama.ropes[0].base, llama.ropes[0].dims, llama.head_dim), (10_000.0, 6, 6));
    assert_eq!(llama.output, OutputHead::AsStored);
    let tokens = Metadata::Array(vec![Metadata::String("a".to_owned()); 77]);
    let counted = gguf("llama", &[("llama.vocab_size", Metadata::U32(0)), ("tokenizer.ggml.tokens", tokens)]);
    assert_eq!(counted.unwrap_err(), "the vocabulary size is 0, it must be at least 1");
    // The 27 B model of Gemma 2 alone scales by another size than that of a head.
    let large =
        [("gemma2.block_count", Metadata::U32(46)), ("gemma2.attention.key_length", Metadata::U32(16))];
    assert_eq!(gguf("gemma2", &large).unwrap().attention_scale, 6.0_f32.powf(-0.5));
    assert_eq!(gguf("gemma2", &large[1..]).unwrap().attention_scale, 0.25);
}
