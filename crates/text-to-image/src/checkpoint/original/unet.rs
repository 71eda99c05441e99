//! The UNet's blocks, which the original counts through from the first convolution on.

/// What is not in a block.
const ENDS: [(&str, &str); 7] = [
    ("time_embed.0.", "time_embedding.linear_1."),
    ("time_embed.2.", "time_embedding.linear_2."),
    ("label_emb.0.0.", "add_embedding.linear_1."),
    ("label_emb.0.2.", "add_embedding.linear_2."),
    ("input_blocks.0.0.", "conv_in."),
    ("out.0.", "conv_norm_out."),
    ("out.2.", "conv_out."),
];

/// The layers of a residual block.
const RESNET: [(&str, &str); 6] = [
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
];

/// Diffusers' name, of a UNet with so many residual blocks on each level. `None`: there is none.
pub(super) fn name(original: &str, blocks: usize) -> Option<String> {
    if let Some(name) = renamed(original, &ENDS) {
        return Some(name);
    }
    let (part, rest) = original.split_once('.')?;
    let (number, rest) = rest.split_once('.')?;
    let number: usize = number.parse().ok()?;
    // On the way down a block that halves the sides stands behind the others of a level, on the way up there is one more.
    let level = blocks + 1;
    match part {
        "input_blocks" => {
            let (block, layer) = (number.checked_sub(1)? / level, number.checked_sub(1)? % level);
            let (place, rest) = rest.split_once('.')?;
            match (place, rest.strip_prefix("op.")) {
                ("0", Some(end)) => Some(format!("down_blocks.{block}.downsamplers.0.conv.{end}")),
                ("0", None) => {
                    Some(format!("down_blocks.{block}.resnets.{layer}.{}", renamed(rest, &RESNET)?))
                }
                ("1", _) => Some(format!("down_blocks.{block}.attentions.{layer}.{rest}")),
                _ => None,
            }
        }
        "middle_block" => match number {
            0 | 2 => Some(format!("mid_block.resnets.{}.{}", number / 2, renamed(rest, &RESNET)?)),
            1 => Some(format!("mid_block.attentions.0.{rest}")),
            _ => None,
        },
        "output_blocks" => {
            let (block, layer) = (number / level, number % level);
            let (place, rest) = rest.split_once('.')?;
            match (place, rest.strip_prefix("conv.")) {
                ("0", _) => Some(format!("up_blocks.{block}.resnets.{layer}.{}", renamed(rest, &RESNET)?)),
                // Behind the transformer, or in its place where there is none.
                ("1" | "2", Some(end)) => Some(format!("up_blocks.{block}.upsamplers.0.conv.{end}")),
                ("1", None) => Some(format!("up_blocks.{block}.attentions.{layer}.{rest}")),
                _ => None,
            }
        }
        _ => None,
    }
}

fn renamed(name: &str, names: &[(&str, &str)]) -> Option<String> {
    names.iter().find_map(|(from, to)| Some(format!("{to}{}", name.strip_prefix(from)?)))
}
