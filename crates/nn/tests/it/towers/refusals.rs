//! Configurations and calls that are refused, each in one line that says what and why.

use nn::{Pixels, TextPooling, TextTowerConfig, TowerOutputs, VisionArchitecture, VisionConfig};
use serde_json::{Value, json};

use super::fixture;

/// A small configuration, with some fields changed.
fn with(model_type: &str, changes: &Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
    });
    if matches!(model_type, "clip" | "siglip") {
        config = json!({"model_type": model_type, "vision_config": {}, "text_config": {}});
    }
    for (name, value) in changes.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

fn refused(model_type: &str, changes: &Value) -> String {
    let config = with(model_type, changes);
    let error = match model_type.contains("text") {
        true => TextTowerConfig::from_huggingface(&config).map(|_| ()).unwrap_err(),
        false => VisionConfig::from_huggingface(&config).map(|_| ()).unwrap_err(),
    };
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    error.to_string()
}

#[test]
fn fields_that_change_the_mathematics_are_refused_by_name() {
    let cases = [
        ("vit", json!({}), "model_type \"vit\""),
        ("siglip2", json!({}), "model_type \"siglip2\""),
        ("clip_text_model_with_more", json!({}), "model_type \"clip_text_model_with_more\""),
        ("clip_vision_model", json!({"hidden_act": "relu"}), "hidden_act \"relu\""),
        ("clip", json!({"vision_config": {"hidden_act": "silu"}}), "vision_config.hidden_act \"silu\""),
        ("clip", json!({"vision_config": {"model_type": "siglip_vision_model"}}), "vision_config.model_type"),
        ("siglip_vision_model", json!({"image_size": [224, 112]}), "image_size [224, 112]"),
        ("dinov2", json!({"patch_size": [14, 7]}), "patch_size [14, 7]"),
        ("dinov2", json!({"head_dim": 10}), "head_dim 10"),
        (
            "dinov2",
            json!({"num_register_tokens": 4, "use_rotary_embedding": true}),
            "use_rotary_embedding true",
        ),
        ("clip_vision_model", json!({"qkv_bias": false, "attention_chunk": 3}), "attention_chunk 3"),
        ("clip_text_model", json!({"hidden_act": "gelu_10"}), "hidden_act \"gelu_10\""),
        ("siglip_text_model", json!({"is_causal": true}), "is_causal true"),
        ("clip", json!({"quantization_config": {"bits": 4}}), "quantization_config"),
    ];
    for (model_type, changes, wanted) in cases {
        let error = refused(model_type, &changes);
        assert!(error.starts_with(wanted) && error.contains(" is not supported: "), "{changes}: {error}");
    }
}

#[test]
fn contradictions_are_told_in_one_line() {
    let cases = [
        (
            "clip_vision_model",
            json!({"model_type": null}),
            "the configuration has no model_type, so the architecture is unknown",
        ),
        (
            "clip_vision_model",
            json!({"hidden_size": "24"}),
            "hidden_size is \"24\", it must be a whole number",
        ),
        ("clip_vision_model", json!({"hidden_size": 0}), "the hidden size is 0, it must be at least 1"),
        (
            "clip_vision_model",
            json!({"hidden_size": 25}),
            "hidden_size 25 is not a multiple of num_attention_heads 4",
        ),
        (
            "clip_vision_model",
            json!({"num_hidden_layers": 0}),
            "the number of layers is 0, it must be at least 1",
        ),
        (
            "clip_vision_model",
            json!({"num_attention_heads": 0}),
            "the number of attention heads is 0, it must be at least 1",
        ),
        ("clip_vision_model", json!({"patch_size": 0}), "the patch_size is 0, it must be at least 1"),
        ("clip_vision_model", json!({"image_size": 16}), "image_size 16 is smaller than patch_size 32"),
        (
            "clip_vision_model",
            json!({"image_size": 65536, "patch_size": 1}),
            "image_size 65536 has 4294967296 patches of 1, at most 1048576 are taken",
        ),
        (
            "siglip_vision_model",
            json!({"image_size": [1, 2, 3]}),
            "image_size is [1,2,3], it must be a whole number or two",
        ),
        (
            "clip_vision_model",
            json!({"layer_norm_eps": 0}),
            "the layer_norm_eps is 0, it must be a number above 0",
        ),
        ("clip", json!({"vision_config": 3}), "vision_config is 3, it must be an object"),
        ("clip", json!({"projection_dim": 0}), "the projection_dim is 0, it must be at least 1"),
        (
            "dinov2",
            json!({"mlp_ratio": -1}),
            "mlp_ratio makes -24 numbers of hidden_size 24, it must be a number above 0",
        ),
        ("dinov2", json!({"mlp_ratio": 0}), "the intermediate size is 0, it must be at least 1"),
        ("dinov2", json!({"use_swiglu_ffn": 1}), "use_swiglu_ffn is 1, it must be true or false"),
        (
            "clip_text_model",
            json!({"eos_token_id": [2, 3]}),
            "eos_token_id is [2,3], it must be a whole number",
        ),
        (
            "clip_text_model",
            json!({"max_position_embeddings": 0}),
            "the number of positions is 0, it must be at least 1",
        ),
    ];
    for (model_type, changes, wanted) in cases {
        assert_eq!(refused(model_type, &changes), wanted);
    }
    let error = VisionConfig::from_huggingface(&json!([1])).unwrap_err();
    assert_eq!(error.to_string(), "the configuration is no JSON object");
}

#[test]
fn what_is_absent_has_the_default_of_the_class() {
    let vision =
        |model_type: &str| VisionConfig::from_huggingface(&json!({"model_type": model_type})).unwrap();
    let clip = vision("clip");
    assert_eq!((clip.hidden_size, clip.intermediate_size, clip.layers, clip.heads), (768, 3072, 12, 12));
    assert_eq!((clip.image_size, clip.patch_size, clip.projection), (224, 32, Some(512)));
    assert_eq!(clip.tokens(224, 224).unwrap(), 50);
    assert_eq!(vision("clip_vision_model").projection, None);
    let siglip = vision("siglip");
    assert_eq!((siglip.patch_size, siglip.pooling_head, siglip.tokens(224, 224).unwrap()), (16, true, 196));
    let dinov2 = vision("dinov2");
    assert_eq!((dinov2.intermediate_size, dinov2.patch_size, dinov2.leading_tokens()), (3072, 14, 1));
    assert_eq!(dinov2.architecture, VisionArchitecture::Dinov2);
    let registers = vision("dinov2_with_registers");
    assert_eq!((registers.patch_size, registers.leading_tokens()), (16, 5));
    // The size of DINOv2-giant.
    let giant = json!({"model_type": "dinov2", "hidden_size": 1536, "num_attention_heads": 24, "use_swiglu_ffn": true});
    assert_eq!(VisionConfig::from_huggingface(&giant).unwrap().intermediate_size, 4096);

    let text =
        |model_type: &str| TextTowerConfig::from_huggingface(&json!({"model_type": model_type})).unwrap();
    let clip = text("clip");
    assert_eq!((clip.vocab_size, clip.hidden_size, clip.heads, clip.positions), (49_408, 512, 8, 77));
    assert_eq!((clip.pooling, clip.projection), (TextPooling::FirstOf(49_407), Some(512)));
    let siglip = text("siglip");
    assert_eq!((siglip.vocab_size, siglip.positions, siglip.projection), (32_000, 64, Some(768)));
    assert_eq!((siglip.pooling, text("clip_text_model").projection), (TextPooling::Last, None));
}

#[test]
fn a_part_that_older_configurations_have_twice_counts_as_the_reference_takes_it() {
    let config = json!({
        "model_type": "clip", "projection_dim": 1024,
        "vision_config": {"hidden_size": 24, "num_attention_heads": 4},
        "vision_config_dict": {"hidden_size": 1280, "num_attention_heads": 16, "patch_size": 14},
        "text_config": {"eos_token_id": 2}, "text_config_dict": null,
    });
    let vision = VisionConfig::from_huggingface(&config).unwrap();
    assert_eq!((vision.hidden_size, vision.heads, vision.projection), (1280, 16, Some(1024)));
    let text = TextTowerConfig::from_huggingface(&config).unwrap();
    assert_eq!((text.pooling, text.projection), (TextPooling::LargestToken, Some(1024)));
}

#[test]
fn fields_about_other_things_are_let_pass() {
    let config = json!({
        "model_type": "clip", "architectures": ["CLIPModel"], "torch_dtype": "float32", "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592, "transformers_version": null, "_commit_hash": null,
        "text_config": {"model_type": "clip_text_model", "tie_word_embeddings": true, "add_cross_attention": false},
        "vision_config": {
            "model_type": "clip_vision_model", "dropout": 0.0, "cross_attention_hidden_size": null,
            "attention_dropout": 0.0, "pruned_heads": {}, "tie_word_embeddings": true, "vocab_size": 32000,
            "chunk_size_feed_forward": 0, "tf_legacy_loss": false,
        },
    });
    let plain = json!({"model_type": "clip"});
    assert_eq!(
        VisionConfig::from_huggingface(&config).unwrap(),
        VisionConfig::from_huggingface(&plain).unwrap()
    );
    assert_eq!(
        TextTowerConfig::from_huggingface(&config).unwrap(),
        TextTowerConfig::from_huggingface(&plain).unwrap()
    );
}

#[test]
fn pictures_that_do_not_fit_are_refused() {
    let values = vec![0.0; 3 * 100 * 100];
    let cases = [
        (
            "clip",
            32,
            32,
            3 * 32 * 32,
            "a picture of 32x32 pixels does not fit the tower, which sees 24x24: resize it first",
        ),
        (
            "siglip",
            24,
            32,
            3 * 24 * 32,
            "a picture of 32x24 pixels does not fit the tower, which sees 24x24: resize it first",
        ),
        ("clip", 24, 24, 100, "100 values for a picture of 24x24 pixels in 3 channels"),
        (
            "dinov2",
            40,
            7,
            3 * 40 * 7,
            "a picture of 7x40 pixels is smaller than a patch of 8x8: make it larger",
        ),
        ("dinov2", 0, 0, 0, "a picture of 0x0 pixels is smaller than a patch of 8x8: make it larger"),
        (
            "dinov2",
            1 << 20,
            1 << 20,
            9,
            "a picture of 1048576x1048576 pixels has 17179869184 patches, at most 1048576 are taken: make it smaller",
        ),
    ];
    for (name, height, width, count, wanted) in cases {
        let tower = fixture::named(name).vision(TowerOutputs::embedding());
        let pixels = Pixels { values: &values[..count], height, width };
        assert_eq!(tower.begin(&[pixels]).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn texts_that_do_not_fit_are_refused() {
    let tower = fixture::named("clip-gelu").text(TowerOutputs::embedding());
    let long = [41; 18];
    let cases: [(&[u32], &str); 4] = [
        (&[], "a text has 0 tokens, it must have 1 to 17"),
        (&long, "a text has 18 tokens, it must have 1 to 17"),
        (&[40, 50, 41], "the token 50 has no embedding: there are 50"),
        (&[40, 3], "the text does not have the token 41, whose row stands for it"),
    ];
    for (text, wanted) in cases {
        assert_eq!(tower.begin(&[&[40, 41], text]).unwrap_err().to_string(), wanted);
    }
    // Without the need for a row that stands for it, it has hidden states.
    let tower = fixture::named("clip-gelu").text(TowerOutputs::hidden([1]));
    assert!(tower.begin(&[&[40, 3]]).is_ok());
}

#[test]
fn hidden_states_are_counted_from_both_ends() {
    let config = fixture::named("clip").vision_config();
    let layers = [0, 3, -1, -2, -4].map(|place| config.hidden_layer(place).unwrap());
    assert_eq!(layers, [0, 3, 3, 2, 0]);
    for place in [4, -5, i64::MIN, i64::MAX] {
        let error = config.hidden_layer(place).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("there is no hidden state {place}: a tower of 3 layers has those from -4 to 3")
        );
    }
}
