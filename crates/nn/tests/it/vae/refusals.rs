//! Configurations and calls that cannot be computed.

use nn::{NnError, Vae, VaeConfig, VaeParts};
use serde_json::{Value, json};

use super::fixture::{self, store};

fn with(changes: Value) -> Result<VaeConfig, NnError> {
    let mut config = fixture::named("three-blocks").config;
    let fields = config.as_object_mut().unwrap();
    changes
        .as_object()
        .unwrap()
        .iter()
        .for_each(|(name, value)| _ = fields.insert(name.clone(), value.clone()));
    VaeConfig::from_diffusers(&config)
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    for (changes, message) in [
        (
            json!({"_class_name": "AutoencoderTiny"}),
            "_class_name \"AutoencoderTiny\" is not supported: AutoencoderKL is",
        ),
        (
            json!({"down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D", "DownEncoderBlock2D"]}),
            "down_block_types with \"AttnDownEncoderBlock2D\" is not supported: DownEncoderBlock2D is",
        ),
        (
            json!({"up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "AttnUpDecoderBlock2D"]}),
            "up_block_types with \"AttnUpDecoderBlock2D\" is not supported: UpDecoderBlock2D is",
        ),
        (json!({"act_fn": "mish"}), "act_fn \"mish\" is not supported: silu is"),
        (
            json!({"latents_mean": [0.5]}),
            "latents_mean is not supported: scaling_factor and shift_factor are",
        ),
        (json!({"latents_std": [0.5]}), "latents_std is not supported: scaling_factor and shift_factor are"),
        (
            json!({"sample_size": [16, 32]}),
            "sample_size [16, 32] is not supported: one number is, or two that are equal",
        ),
        (
            json!({"spatial_norm": true}),
            "spatial_norm true is not supported: this architecture is computed without it",
        ),
        (json!({"quantization_config": {"bits": 4}}), "quantization_config is not supported"),
    ] {
        let error = with(changes).unwrap_err();
        assert!(matches!(error, NnError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
    assert!(with(json!({"sample_size": [16, 16], "latents_mean": null, "spatial_norm": false})).is_ok());
}

#[test]
fn what_is_no_configuration_is_said_to_be_none() {
    let most = u64::MAX;
    for (changes, message) in [
        (json!({"block_out_channels": []}), "down_block_types has 3 entries, block_out_channels has 0"),
        (json!({"block_out_channels": [8, 16]}), "down_block_types has 3 entries, block_out_channels has 2"),
        (
            json!({"block_out_channels": [8, 12, 18]}),
            "18 channels (block_out_channels) are not a multiple of norm_num_groups 4",
        ),
        (json!({"block_out_channels": [8, 0, 16]}), "the number of channels in block_out_channels is 0"),
        (
            json!({"block_out_channels": [8, -8, 16]}),
            "block_out_channels is [8,-8,16], it must be a list of whole numbers",
        ),
        (json!({"latent_channels": most}), "the latent_channels is 18446744073709551615, it must be at most"),
        (json!({"in_channels": 0}), "the in_channels is 0, it must be at least 1"),
        (json!({"layers_per_block": 0}), "the layers_per_block is 0, it must be at least 1"),
        (json!({"norm_num_groups": 0}), "the norm_num_groups is 0, it must be at least 1"),
        (json!({"sample_size": 0}), "the sample_size is 0, it must be at least 1"),
        (
            json!({"scaling_factor": 0.0}),
            "the scaling_factor 0 and the shift_factor 0 must be numbers, the first not 0",
        ),
        (json!({"scaling_factor": "much"}), "scaling_factor is \"much\", it must be a number"),
        (json!({"use_quant_conv": 1}), "use_quant_conv is 1, it must be true or false"),
    ] {
        let error = with(changes).unwrap_err();
        assert!(matches!(error, NnError::InvalidConfig(_)), "{error:?}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
    let config = VaeConfig { block_out_channels: Vec::new(), ..fixture::named("three-blocks").config() };
    let error = Vae::load(config, &store(std::collections::HashMap::new()), VaeParts::Both).unwrap_err();
    assert_eq!(error.to_string(), "the number of blocks (block_out_channels) is 0, it must be at least 1");
    let error = VaeConfig::from_diffusers(&json!([1])).unwrap_err();
    assert_eq!(error.to_string(), "the configuration is no JSON object");
}

#[test]
fn calls_that_do_not_fit_are_refused() {
    let vae = fixture::named("three-blocks").vae();
    let numbers = vec![0.0; 3 * 20 * 20];
    for (result, message) in [
        (vae.begin_decode(&numbers[..4 * 6], 2, 3).map(|_| ()), ""),
        (
            vae.begin_decode(&numbers[..4 * 6], 2, 4).map(|_| ()),
            "the decoder is given 24 numbers, 4 channels of 4 x 2 positions are 32",
        ),
        (
            vae.begin_decode(&[], 0, 4).map(|_| ()),
            "the decoder is given 4 x 0 positions, there must be 1 to 262144 along an edge",
        ),
        (
            vae.begin_decode_tiled(&[], 4, usize::MAX).map(|_| ()),
            "the decoder is given 18446744073709551615 x 4 positions, there must be 1 to 262144 along an edge",
        ),
        (vae.begin_encode(&numbers, 20, 20).map(|_| ()), ""),
        (
            vae.begin_encode(&numbers[..3 * 9], 3, 3).map(|_| ()),
            "the encoder is given 3 x 3 positions, there must be 4 to 1048576 along an edge",
        ),
        (
            vae.begin_encode_tiled(&numbers[..3 * 380], 19, 20).map(|_| ()),
            "a picture of 20 x 19 pixels cannot be taken in tiles: its edges must be multiples of 4",
        ),
    ] {
        match result {
            Ok(()) => assert_eq!(message, ""),
            Err(error) => {
                assert!(matches!(error, NnError::InvalidCall(_)), "{error:?}");
                assert_eq!(error.to_string(), message);
            }
        }
    }
}

#[test]
fn tiles_that_cannot_overlap_by_a_quarter_are_refused() {
    let fixture = fixture::named("three-blocks");
    let config = VaeConfig { sample_size: 40, ..fixture.config() };
    let vae = Vae::load(config, &store(fixture.tensors()), VaeParts::Both).unwrap();
    let message =
        "tiles of 40 pixels (sample_size) cannot overlap by a quarter: their edge must be a multiple of 16";
    assert_eq!(vae.begin_decode_tiled(&[0.0; 4], 1, 1).unwrap_err().to_string(), message);
    assert_eq!(vae.begin_encode_tiled(&[0.0; 3 * 16], 4, 4).unwrap_err().to_string(), message);
    assert!(vae.begin_decode(&[0.0; 4], 1, 1).is_ok());
    assert_eq!(vae.config().decode_tiled_bytes(1, 1), u64::MAX);
}
