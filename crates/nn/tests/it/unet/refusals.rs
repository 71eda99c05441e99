//! Configurations and calls that are refused, each in one line that says what and why.

use nn::{AddedConditions, Unet, UnetConfig, UnetInput, UnetMiddle};
use serde_json::{Value, json};

use super::fixture;

/// A configuration with some fields changed.
fn read(fixture: &str, changes: &Value) -> Result<UnetConfig, String> {
    let mut config = fixture::named(fixture).config;
    for (name, value) in changes.as_object().unwrap() {
        config[name] = value.clone();
    }
    UnetConfig::from_diffusers(&config).map_err(|error| {
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
        error.to_string()
    })
}

#[test]
fn what_is_another_mathematics_is_refused_by_name() {
    let cases = [
        (json!({"_class_name": "UNet3DConditionModel"}), "_class_name \"UNet3DConditionModel\""),
        (
            json!({"down_block_types": ["AttnDownBlock2D", "DownBlock2D", "DownBlock2D"]}),
            "down_block_types \"AttnDownBlock2D\"",
        ),
        (
            json!({"up_block_types": ["UpBlock2D", "UpBlock2D", "SimpleCrossAttnUpBlock2D"]}),
            "up_block_types \"SimpleCrossAttnUpBlock2D\"",
        ),
        (
            json!({"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}),
            "mid_block_type \"UNetMidBlock2DSimpleCrossAttn\"",
        ),
        (json!({"only_cross_attention": true}), "only_cross_attention true"),
        (json!({"only_cross_attention": [true, true, false]}), "only_cross_attention [true,true,false]"),
        (json!({"mid_block_only_cross_attention": true}), "mid_block_only_cross_attention true"),
        (json!({"downsample_padding": 0}), "downsample_padding 0"),
        (json!({"mid_block_scale_factor": 2}), "mid_block_scale_factor 2"),
        (json!({"act_fn": "mish"}), "act_fn \"mish\""),
        (json!({"norm_num_groups": null}), "norm_num_groups null"),
        (json!({"cross_attention_dim": [12, 16, 12]}), "cross_attention_dim of both 12 and 16"),
        (json!({"encoder_hid_dim": 12}), "encoder_hid_dim 12"),
        (json!({"encoder_hid_dim_type": "text_proj"}), "encoder_hid_dim_type \"text_proj\""),
        (json!({"num_attention_heads": 2}), "num_attention_heads 2"),
        (json!({"dual_cross_attention": true}), "dual_cross_attention true"),
        (json!({"class_embed_type": "timestep"}), "class_embed_type \"timestep\""),
        (json!({"num_class_embeds": 1000}), "num_class_embeds 1000"),
        (json!({"class_embeddings_concat": true}), "class_embeddings_concat true"),
        (json!({"addition_embed_type": "image"}), "addition_embed_type \"image\""),
        (json!({"resnet_time_scale_shift": "scale_shift"}), "resnet_time_scale_shift \"scale_shift\""),
        (json!({"resnet_skip_time_act": true}), "resnet_skip_time_act true"),
        (json!({"resnet_out_scale_factor": 1.5}), "resnet_out_scale_factor 1.5"),
        (json!({"time_embedding_type": "fourier"}), "time_embedding_type \"fourier\""),
        (json!({"time_embedding_act_fn": "silu"}), "time_embedding_act_fn \"silu\""),
        (json!({"timestep_post_act": "silu"}), "timestep_post_act \"silu\""),
        (json!({"conv_in_kernel": 1}), "conv_in_kernel 1"),
        (json!({"conv_out_kernel": 5}), "conv_out_kernel 5"),
        (json!({"attention_type": "gated"}), "attention_type \"gated\""),
        (json!({"cross_attention_norm": "layer_norm"}), "cross_attention_norm \"layer_norm\""),
        (json!({"quantization_config": {"bits": 4}}), "quantization_config {\"bits\":4}"),
        (json!({"motion_max_seq_length": 32}), "motion_max_seq_length 32"),
    ];
    for (changes, wanted) in cases {
        let error = read("sd1", &changes).unwrap_err();
        assert!(error.starts_with(wanted) && error.contains(" is not supported: "), "{changes}: {error}");
    }
}

#[test]
fn contradictions_are_told() {
    let cases = [
        (
            json!({"block_out_channels": [8, 16]}),
            "block_out_channels is [8, 16], it must be a whole number or a list of 3",
        ),
        (
            json!({"block_out_channels": [8, 18, 24]}),
            "block_out_channels 18 is not a multiple of norm_num_groups 4",
        ),
        (
            json!({"attention_head_dim": 3}),
            "block_out_channels 8 is not a multiple of attention_head_dim 3, which counts the heads",
        ),
        (
            json!({"attention_head_dim": [2, 2]}),
            "attention_head_dim is [2, 2], it must be a whole number or a list of 3",
        ),
        (
            json!({"attention_head_dim": 0}),
            "the attention_head_dim, the number of heads, is 0, it must be at least 1",
        ),
        (json!({"layers_per_block": 0}), "the layers_per_block is 0, it must be at least 1"),
        (json!({"layers_per_block": 1_000_000}), "layers_per_block is 1000000, it must be at most 64"),
        (
            json!({"transformer_layers_per_block": 1_000_000}),
            "transformer_layers_per_block is 1000000, it must be at most 256",
        ),
        (
            json!({"transformer_layers_per_block": [1, 2]}),
            "transformer_layers_per_block is [1,2], it must be a whole number or a list of 3",
        ),
        (
            json!({"transformer_layers_per_block": [[1], 1, 1]}),
            "transformer_layers_per_block is [1], it must be a whole number or a list of 2",
        ),
        (json!({"up_block_types": ["UpBlock2D"]}), "up_block_types names 1 blocks and down_block_types 3"),
        (json!({"down_block_types": []}), "down_block_types names 0 blocks, it must name 1 to 16"),
        (json!({"in_channels": "4"}), "in_channels is \"4\", it must be a whole number"),
        (json!({"out_channels": 0}), "the out_channels is 0, it must be at least 1"),
        (json!({"norm_eps": 0.0}), "the norm_eps is 0, it must be a number above 0"),
        (json!({"freq_shift": 4}), "freq_shift 4 leaves no step between the 4 waves of block_out_channels 8"),
        (
            json!({"addition_embed_type": "text_time", "addition_time_embed_dim": 8}),
            "addition_embed_type \"text_time\" needs addition_time_embed_dim and projection_class_embeddings_input_dim",
        ),
        (json!({"time_cond_proj_dim": 0}), "the time_cond_proj_dim is 0, it must be at least 1"),
        (
            json!({"time_cond_proj_dim": 3}),
            "time_cond_proj_dim is 3, it must be at least 4: waves are between two of them",
        ),
    ];
    for (changes, wanted) in cases {
        assert_eq!(read("sd1", &changes).unwrap_err(), wanted, "{changes}");
    }
    assert_eq!(
        UnetConfig::from_diffusers(&json!([])).unwrap_err().to_string(),
        "the configuration is no JSON object"
    );
}

#[test]
fn a_configuration_that_nobody_read_is_checked_too() {
    let plain = fixture::named("sd1").config();
    let store = fixture::store(fixture::named("sd1").tensors());
    let refused = |change: &dyn Fn(&mut UnetConfig)| {
        let mut config = plain.clone();
        change(&mut config);
        assert_eq!(config.pass_bytes(1, 8, 8), u64::MAX);
        Unet::load(config, &store).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&|config| config.levels.clear()),
        "the number of blocks of a UNet is 0, it must be at least 1"
    );
    assert_eq!(
        refused(&|config| config.levels[1].up_layers.truncate(1)),
        "1 transformers and 2 residual blocks of a level on the way up"
    );
    assert_eq!(
        refused(&|config| config.middle = UnetMiddle::Transformer { layers: 1 << 40 }),
        "transformer_layers_per_block is 1099511627776, it must be at most 256"
    );
    let nothing = UnetConfig { levels: Vec::new(), ..plain };
    assert_eq!((nothing.parameters(), nothing.halvings()), (0, 0));
}

#[test]
fn fields_that_change_nothing_are_no_reason_to_refuse() {
    let plain = fixture::named("sd1").config();
    for changes in [
        json!({"dropout": 0.1, "upcast_attention": true, "addition_embed_type_num_heads": 32}),
        // What trainers leave behind.
        json!({"decay": 0.9999, "optimization_step": 470_000, "use_ema_warmup": true, "_name_or_path": "somewhere"}),
        json!({"only_cross_attention": [false, false, false], "num_class_embeds": null, "new_flag": false}),
        json!({"cross_attention_dim": [12, 12, 12], "attention_head_dim": [2, 2, 2], "layers_per_block": [1, 1, 1]}),
        json!({"transformer_layers_per_block": [1, 1, 1]}),
        json!({"down_block_types": ["UNetResCrossAttnDownBlock2D", "CrossAttnDownBlock2D", "UNetResDownBlock2D"]}),
    ] {
        assert_eq!(read("sd1", &changes).unwrap(), plain, "{changes}");
    }
    let sized = read("sd1", &json!({"sample_size": [8, 12]})).unwrap();
    assert_eq!((plain.sample_size, sized.sample_size), (Some((8, 8)), Some((8, 12))));
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let refused = |name: &str, change: &dyn Fn(&mut UnetInput<'_>)| {
        let fixture = fixture::named(name);
        let mut input = fixture.samples[0].input();
        change(&mut input);
        let error = fixture.unet().begin(&[input]).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    assert_eq!(refused("sd1", &|input| input.width = 7), "256 numbers for a sample of 7x8 in 4 channels");
    assert_eq!(refused("sd1", &|input| input.sample = &[]), "0 numbers for a sample of 8x8 in 4 channels");
    assert_eq!(
        refused("sd1", &|input| (input.sample, input.height) = (&[], 0)),
        "0 numbers for a sample of 8x0 in 4 channels"
    );
    assert_eq!(
        refused("sd1", &|input| input.height = usize::MAX),
        format!("256 numbers for a sample of 8x{} in 4 channels", usize::MAX)
    );
    assert_eq!(
        refused("sd1", &|input| input.timestep = f32::NAN),
        "the timestep is NaN, it must be a number"
    );
    assert_eq!(
        refused("sd1", &|input| input.context = &input.context[..25]),
        "a context of 25 numbers, it must have 12 for each of its tokens"
    );
    assert_eq!(
        refused("sd1", &|input| input.context = &[]),
        "a context of 0 numbers, it must have 12 for each of its tokens"
    );
    assert_eq!(
        refused("sd1", &|input| input.guidance = Some(&[1.0])),
        "an embedded guidance scale for a UNet that takes none: it has no time_cond_proj_dim"
    );
    assert_eq!(
        refused("lcm", &|input| input.guidance = Some(&[1.0])),
        "an embedded guidance scale of 1 numbers, this UNet takes 10"
    );
    let added = AddedConditions { pooled: &[1.0; 10], time_ids: &[8.0; 5] };
    assert_eq!(
        refused("sd1", &|input| input.added = Some(added)),
        "added conditions for a UNet that takes none: it has no addition_embed_type"
    );
    assert_eq!(
        refused("sdxl", &|input| input.added = Some(added)),
        "added conditions of 10 numbers and 5 time ids of 6 waves each, this UNet takes 46 together"
    );
    assert_eq!(
        refused("sdxl", &|input| input.added = None),
        "this UNet takes added conditions (addition_embed_type \"text_time\") and has got none"
    );
    let fixture = fixture::named("sd1");
    let error = fixture.unet().begin(&[fixture.samples[0].input(), fixture.samples[2].input()]).unwrap_err();
    assert_eq!(error.to_string(), "samples of 8x8 and 7x9 in one pass: they must have one size");
}
