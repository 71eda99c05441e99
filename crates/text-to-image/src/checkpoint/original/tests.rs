//! The names against those that a reader of such files, diffusers' own, was checked to make the same pipelines of.

use super::*;
use crate::fixture;

#[test]
fn every_tensor_of_the_original_programs_has_diffusers_name() {
    // Residual blocks of a level, and levels of the VAE.
    for (pipeline, blocks, levels) in [("sd1", 1, 3), ("sd2", 2, 3), ("sdxl", 1, 3), ("inpaint", 1, 4)] {
        let rows = std::fs::read(fixture::folder(pipeline).join("original.json")).unwrap();
        let rows: Vec<(String, String, String, Vec<String>)> = serde_json::from_slice(&rows).unwrap();
        let mut seen = 0;
        for (original, _, component, names) in rows {
            let found = match component.as_str() {
                "unet" => unet::name(original.strip_prefix(UNET).unwrap(), blocks),
                "vae" => {
                    let name = original.strip_prefix(VAE[0]).unwrap();
                    Some(vae::name(name, levels).unwrap_or_else(|| name.to_owned()))
                }
                _ => continue,
            };
            assert_eq!(found.as_deref(), Some(&*names[0]), "{pipeline}: {original}");
            seen += 1;
        }
        assert!(seen > 200, "{pipeline}: {seen}");
    }
}

#[test]
fn what_is_no_block_has_no_name() {
    for name in [
        "input_blocks.0.1.weight",
        "input_blocks.x.0.op.bias",
        "middle_block.3.norm.weight",
        "out.1.weight",
        "out",
    ] {
        assert_eq!(unet::name(name, 2), None, "{name}");
    }
    for name in [
        "decoder.up.4.block.0.norm1.weight",
        "encoder.mid.attn_2.q.weight",
        "decoder.conv_in.weight",
        "quant_conv.bias",
    ] {
        assert_eq!(vae::name(name, 4), None, "{name}");
    }
}
