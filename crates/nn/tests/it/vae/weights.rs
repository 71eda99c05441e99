//! Weights that do not fit their configuration, and halves that are loaded alone.

use candle_core::{DType, Device, Tensor};
use nn::{NnError, Vae, VaeConfig, VaeParts};

use super::fixture::{self, NAMES, bits, computed, store};

#[test]
fn a_missing_tensor_is_named() {
    let fixture = fixture::named("three-blocks");
    for name in [
        "encoder.conv_in.weight",
        "encoder.down_blocks.1.resnets.0.conv_shortcut.bias",
        "encoder.down_blocks.0.downsamplers.0.conv.weight",
        "quant_conv.weight",
        "post_quant_conv.bias",
        "decoder.mid_block.attentions.0.to_q.weight",
        "decoder.mid_block.attentions.0.to_out.0.bias",
        "decoder.up_blocks.0.upsamplers.0.conv.bias",
        "decoder.conv_norm_out.weight",
    ] {
        let mut tensors = fixture.tensors();
        assert!(tensors.remove(name).is_some(), "{name}");
        let error = Vae::load(fixture.config(), &store(tensors), VaeParts::Both).unwrap_err();
        assert!(matches!(error, NnError::Weights(_)));
        let wanted = format!("the weights have no tensor {name:?}, which the configuration asks for");
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    let fixture = fixture::named("three-blocks");
    for (name, shape) in [
        ("encoder.conv_in.weight", vec![8, 4, 3, 3]),
        ("decoder.conv_in.weight", vec![16, 4, 1, 1]),
        ("decoder.mid_block.attentions.0.to_k.weight", vec![16, 8]),
        ("decoder.conv_norm_out.weight", vec![16]),
    ] {
        let mut tensors = fixture.tensors();
        let other = Tensor::zeros(shape.clone(), DType::F32, &Device::Cpu).unwrap();
        assert!(tensors.insert(name.to_owned(), other).is_some(), "{name}");
        let error = Vae::load(fixture.config(), &store(tensors), VaeParts::Both).unwrap_err();
        assert!(matches!(error, NnError::Weights(_)), "{error:?}");
        assert!(
            error.to_string().starts_with(&format!("the tensor {name:?} has the shape {shape:?}")),
            "{error}"
        );
    }
}

#[test]
fn a_tensor_that_is_not_computed_with_is_named() {
    let fixture = fixture::named("three-blocks");
    for parts in [VaeParts::Both, VaeParts::Decoder, VaeParts::Encoder] {
        for name in ["decoder.up_blocks.0.resnets.0.time_emb_proj.weight", "encoder.up_blocks.3.conv.bias"] {
            let mut tensors = fixture.tensors();
            tensors.insert(name.to_owned(), Tensor::ones(1, DType::F32, &Device::Cpu).unwrap());
            let error = Vae::load(fixture.config(), &store(tensors), parts).unwrap_err();
            assert!(matches!(error, NnError::Unsupported { .. }), "{error:?}");
            assert!(
                error.to_string().starts_with(&format!("the tensor {name:?} is not supported: ")),
                "{error}"
            );
        }
    }
    // A configuration that leaves a convolution out that the checkpoint has.
    let config = VaeConfig { use_quant_conv: false, ..fixture.config() };
    let error = Vae::load(config, &store(fixture.tensors()), VaeParts::Decoder).unwrap_err();
    assert!(error.to_string().contains("\"quant_conv.bias\""), "{error}");
}

#[test]
fn a_half_is_loaded_alone() {
    let fixture = fixture::named("three-blocks");
    let whole = fixture.vae();
    for (parts, prefixes, way, other) in [
        (VaeParts::Decoder, ["decoder.", "post_quant_conv."], "decode", "encode"),
        (VaeParts::Encoder, ["encoder.", "quant_conv."], "encode", "decode"),
    ] {
        // Whether the other half's tensors are there or not.
        for there in [true, false] {
            let mut tensors = fixture.tensors();
            tensors.retain(|name, _| there || prefixes.iter().any(|prefix| name.starts_with(prefix)));
            let vae = Vae::load(fixture.config(), &store(tensors), parts).unwrap();
            let sample = &fixture.ways[way][0];
            let wanted = bits(computed(&whole, way, sample).output());
            assert_eq!(bits(computed(&vae, way, sample).output()), wanted);
            let error = fixture::begin(&vae, other, &fixture.ways[other][0]).unwrap_err();
            assert_eq!(error.to_string(), format!("the autoencoder was loaded without its {other}r"));
        }
    }
}

#[test]
fn sizes_are_known_from_the_configuration() {
    for name in NAMES {
        let fixture = fixture::named(name);
        let stored: usize = fixture.tensors().values().map(Tensor::elem_count).sum();
        let config = fixture.config();
        assert_eq!(config.parameters(VaeParts::Both), stored as u64, "{name}");
        let halves = [VaeParts::Decoder, VaeParts::Encoder].map(|part| config.parameters(part));
        assert_eq!(halves.iter().sum::<u64>(), stored as u64);
    }
    let config = fixture::named("three-blocks").config();
    for bytes in [
        VaeConfig::decode_bytes,
        VaeConfig::encode_bytes,
        VaeConfig::decode_tiled_bytes,
        VaeConfig::encode_tiled_bytes,
    ] {
        assert!(bytes(&config, 64, 64) < bytes(&config, 64, 128));
        assert_eq!(bytes(&config, usize::MAX, 1), u64::MAX);
    }
    assert!(config.decode_tiled_bytes(64, 64) < config.decode_bytes(64, 64) / 4);
}
