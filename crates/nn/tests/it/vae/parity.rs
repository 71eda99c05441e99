//! Against diffusers.

use std::collections::HashMap;

use candle_core::Tensor;
use nn::{Vae, VaeConfig, VaeParts};
use serde_json::Value;

use super::fixture::{self, Fixture, NAMES, computed, store, worst};

fn check(fixture: &Fixture, vae: &Vae) {
    assert!(fixture.noise <= fixture.tolerance / 10.0);
    for (way, sample) in fixture.samples() {
        let difference = worst(&computed(vae, way, sample), sample);
        let name = &fixture.name;
        assert!(difference <= fixture.tolerance, "{name}, {way}: {difference:.1e} from the reference");
    }
}

#[test]
fn pictures_and_latents_agree_with_the_reference() {
    for name in NAMES {
        let fixture = fixture::named(name);
        check(&fixture, &fixture.vae());
    }
    // Otherwise nothing has been compared.
    let ways: Vec<String> = fixture::named("three-blocks").ways.into_keys().collect();
    assert_eq!(ways, ["decode", "decode_tiled", "encode", "encode_tiled"]);
}

#[test]
fn names_and_shapes_of_older_checkpoints_are_understood() {
    let older = |name: &str| {
        [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")]
            .into_iter()
            .fold(name.to_owned(), |name, (newer, older)| name.replace(newer, older))
    };
    let fixture = fixture::named("three-blocks");
    for of_convolutions in [false, true] {
        let renamed: HashMap<String, Tensor> = fixture
            .tensors()
            .into_iter()
            .map(|(name, tensor)| match older(&name) {
                other if other != name && of_convolutions && tensor.rank() == 2 => {
                    let (outputs, inputs) = tensor.dims2().unwrap();
                    (other, tensor.reshape((outputs, inputs, 1, 1)).unwrap())
                }
                other => (other, tensor),
            })
            .collect();
        assert!(renamed.contains_key("decoder.mid_block.attentions.0.proj_attn.bias"));
        let vae = Vae::load(fixture.config(), &store(renamed), VaeParts::Both).unwrap();
        check(&fixture, &vae);
    }
}

#[test]
fn names_of_ones_own_are_understood() {
    let fixture = fixture::named("without");
    let tensors: HashMap<String, Tensor> = fixture
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (format!("first_stage_model.{name}"), tensor))
        .collect();
    let store = store(tensors).renamed(|name| format!("first_stage_model.{name}"));
    check(&fixture, &Vae::load(fixture.config(), &store, VaeParts::Both).unwrap());
}

#[test]
fn what_is_absent_has_the_default_of_the_class() {
    for name in NAMES {
        let fixture = fixture::named(name);
        let defaults = serde_json::json!({
            "in_channels": 3, "out_channels": 3, "layers_per_block": 1, "act_fn": "silu", "latent_channels": 4,
            "norm_num_groups": 32, "sample_size": 32, "scaling_factor": 0.18215, "shift_factor": null,
            "latents_mean": null, "latents_std": null, "force_upcast": true, "use_quant_conv": true,
            "use_post_quant_conv": true, "mid_block_add_attention": true, "_class_name": "AutoencoderKL",
            "down_block_types": ["DownEncoderBlock2D"], "up_block_types": ["UpDecoderBlock2D"],
        });
        let mut fields = fixture.config.as_object().unwrap().clone();
        let all = fields.len();
        fields.retain(|name, value| defaults.get(name) != Some(value));
        assert!(fields.len() <= all - 4);
        assert_eq!(VaeConfig::from_diffusers(&Value::Object(fields)).unwrap(), fixture.config());
    }
}

#[test]
fn a_picture_of_one_tile_is_taken_whole() {
    let fixture = fixture::named("three-blocks");
    let vae = fixture.vae();
    let fits = fixture.ways["decode"].iter().find(|sample| (sample.height, sample.width) == (4, 4)).unwrap();
    let pass = computed(&vae, "decode_tiled", fits);
    assert_eq!(pass.output(), computed(&vae, "decode", fits).output());
    let larger = &fixture.ways["decode_tiled"][0];
    assert_ne!(computed(&vae, "decode", larger).output(), computed(&vae, "decode_tiled", larger).output());
}

#[test]
fn latents_are_scaled_as_the_pipelines_scale_them() {
    let config = fixture::named("without").config();
    assert_eq!((config.scaling_factor, config.shift_factor), (0.3611, 0.1159));
    let mut latents = [1.0, -0.5, 0.1159];
    config.scale(&mut latents);
    assert_eq!(latents, [(1.0 - 0.1159) * 0.3611, (-0.5 - 0.1159) * 0.3611, 0.0]);
    config.unscale(&mut latents);
    latents.iter().zip([1.0, -0.5, 0.1159]).for_each(|(got, wanted)| assert!((got - wanted).abs() < 1e-6));
    let factors = NAMES.map(|name| fixture::named(name).config().factor());
    assert_eq!(factors, [4, 8, 2, 1]);
}
