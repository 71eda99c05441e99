//! Weights that do not fit their configuration.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use nn::{NnError, Unet};

use super::fixture::{self, store};

fn load(name: &str, tensors: HashMap<String, Tensor>) -> Result<Unet, NnError> {
    Unet::load(fixture::named(name).config(), &store(tensors))
}

#[test]
fn a_missing_tensor_is_named() {
    for (fixture, name) in [
        ("sd1", "conv_in.bias"),
        ("sd1", "time_embedding.linear_2.weight"),
        ("sd1", "down_blocks.0.downsamplers.0.conv.weight"),
        ("sd1", "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
        ("sd1", "mid_block.attentions.0.proj_out.bias"),
        ("sd1", "up_blocks.1.resnets.1.conv_shortcut.weight"),
        ("sd2", "up_blocks.2.attentions.0.transformer_blocks.0.ff.net.0.proj.bias"),
        ("sdxl", "add_embedding.linear_1.weight"),
        ("lcm", "time_embedding.cond_proj.weight"),
        ("headless", "conv_norm_out.weight"),
    ] {
        let mut tensors = fixture::named(fixture).tensors();
        assert!(tensors.remove(name).is_some(), "{name}");
        let error = load(fixture, tensors).unwrap_err();
        assert!(matches!(error, NnError::Weights(_)));
        let wanted = format!("the weights have no tensor {name:?}, which the configuration asks for");
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    for (fixture, name, shape) in [
        ("inpainting", "conv_in.weight", vec![8, 4, 3, 3]),
        ("sd1", "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v.weight", vec![8, 13]),
        ("sd1", "down_blocks.0.resnets.0.time_emb_proj.weight", vec![32, 8]),
        ("sd1", "mid_block.resnets.0.conv1.weight", vec![24, 24, 1, 1]),
        ("sd1", "conv_norm_out.bias", vec![9]),
    ] {
        let mut tensors = fixture::named(fixture).tensors();
        let other = Tensor::zeros(shape.clone(), DType::F32, &Device::Cpu).unwrap();
        assert!(tensors.insert(name.to_owned(), other).is_some(), "{name}");
        let error = load(fixture, tensors).unwrap_err();
        assert!(matches!(error, NnError::Weights(_)), "{error:?}");
        assert!(
            error.to_string().starts_with(&format!("the tensor {name:?} has the shape {shape:?}")),
            "{error}"
        );
    }
}

#[test]
fn a_tensor_that_is_not_computed_with_is_named() {
    for (fixture, name) in [
        ("sd1", "encoder_hid_proj.weight"),
        ("sd1", "time_embedding.cond_proj.weight"),
        ("sd1", "down_blocks.2.attentions.0.norm.weight"),
        ("sd1", "mid_block.resnets.2.conv1.weight"),
        ("headless", "mid_block.resnets.0.conv1.weight"),
        ("sd1", "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k_ip.weight"),
    ] {
        let mut tensors = fixture::named(fixture).tensors();
        tensors.insert(name.to_owned(), Tensor::zeros(8, DType::F32, &Device::Cpu).unwrap());
        let error = load(fixture, tensors).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the tensor {name:?} is not supported: ")), "{error}");
    }
}
