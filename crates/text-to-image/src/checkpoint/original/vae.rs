//! The VAE's levels, whose decoder the original counts from the bottom.

/// The maps of the attention in the middle.
const ATTENTION: [(&str, &str); 5] =
    [("norm.", "group_norm."), ("q.", "to_q."), ("k.", "to_k."), ("v.", "to_v."), ("proj_out.", "to_out.0.")];

/// Whether it was only trained with.
pub(super) fn is_leftover(original: &str) -> bool {
    ["loss.", "model_ema."].iter().any(|prefix| original.starts_with(prefix))
}

/// Diffusers' name, of a VAE of so many levels. `None`: there is none.
pub(super) fn name(original: &str, levels: usize) -> Option<String> {
    let (side, rest) = original.split_once('.')?;
    if !matches!(side, "encoder" | "decoder") {
        return None;
    }
    if let Some(end) = rest.strip_prefix("norm_out.") {
        return Some(format!("{side}.conv_norm_out.{end}"));
    }
    let (part, rest) = rest.split_once('.')?;
    let (number, rest) = rest.split_once('.')?;
    match (side, part) {
        (_, "mid") => match number {
            "block_1" => Some(format!("{side}.mid_block.resnets.0.{}", resnet(rest))),
            "block_2" => Some(format!("{side}.mid_block.resnets.1.{}", resnet(rest))),
            "attn_1" => {
                let found = ATTENTION.iter().find_map(|(from, to)| Some((to, rest.strip_prefix(from)?)));
                found.map(|(to, end)| format!("{side}.mid_block.attentions.0.{to}{end}"))
            }
            _ => None,
        },
        ("encoder", "down") => level(rest, &format!("encoder.down_blocks.{number}"), "downsample"),
        ("decoder", "up") => {
            let number = levels.checked_sub(1)?.checked_sub(number.parse().ok()?)?;
            level(rest, &format!("decoder.up_blocks.{number}"), "upsample")
        }
        _ => None,
    }
}

fn level(rest: &str, place: &str, sampling: &str) -> Option<String> {
    if let Some(block) = rest.strip_prefix("block.") {
        return Some(format!("{place}.resnets.{}", resnet(block)));
    }
    let end = rest.strip_prefix(sampling)?.strip_prefix('.')?;
    Some(format!("{place}.{sampling}rs.0.{end}"))
}

fn resnet(rest: &str) -> String {
    rest.replace("nin_shortcut.", "conv_shortcut.")
}
