//! Single files in the naming of the original programs: which of their tensors diffusers calls how.
//!
//! Such a file holds a whole pipeline's weights, each component's behind a prefix. Its UNet counts blocks through, its VAE
//! counts the decoder's levels from the bottom, and of OpenCLIP's text encoders query, key and value are one matrix.
//! The rules are those of diffusers' own reader of single files:
//! <https://github.com/huggingface/diffusers/blob/main/src/diffusers/loaders/single_file_utils.py>.

#[cfg(test)]
mod tests;
mod text;
mod unet;
mod vae;

use std::collections::BTreeMap;

use model_source::{Piece, Weights, WeightsView};

/// A component's tensors by diffusers' names.
pub(super) type Pieces = BTreeMap<String, Piece>;

const UNET: &str = "model.diffusion_model.";
const VAE: [&str; 2] = ["first_stage_model.", "vae."];

/// Where a text encoder is, the first one and the second.
const TEXTS: [&[&str]; 2] = [
    &[
        "cond_stage_model.transformer.",
        "cond_stage_model.model.",
        "conditioner.embedders.0.transformer.",
        "conditioner.embedders.0.model.",
    ],
    &["conditioner.embedders.1.model.", "conditioner.embedders.1.transformer."],
];

/// A component of a file, under diffusers' names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Component {
    /// The UNet, which has so many residual blocks on each level.
    Unet { blocks: usize },
    /// The VAE, of so many levels.
    Vae { levels: usize },
    /// A text encoder: 0, or 1 for the second.
    Text(usize),
}

/// A component's tensors; the error says what the file lacks.
pub(super) fn component(weights: &Weights, component: Component) -> Result<WeightsView, String> {
    let (what, prefixes): (_, &[&str]) = match component {
        Component::Unet { .. } => ("UNet", &[UNET]),
        Component::Vae { .. } => ("VAE", &VAE),
        Component::Text(0) => ("text encoder", TEXTS[0]),
        Component::Text(_) => ("second text encoder", TEXTS[1]),
    };
    let has = |prefix: &&&str| weights.names().any(|name| name.starts_with(**prefix));
    let Some(prefix) = prefixes.iter().find(has) else {
        return Err(format!(
            "has no {what}: none of its tensors begins with {}; only whole pipelines in the original naming are read from one file",
            prefixes.join(" or ")
        ));
    };
    let mut pieces = Pieces::new();
    for stored in weights.names() {
        let Some(name) = stored.strip_prefix(prefix) else { continue };
        let piece = || Piece::Whole(stored.to_owned());
        match component {
            Component::Unet { blocks } => {
                pieces.insert(unet::name(name, blocks).unwrap_or_else(|| name.to_owned()), piece());
            }
            Component::Vae { .. } if vae::is_leftover(name) => {}
            Component::Vae { levels } => {
                pieces.insert(vae::name(name, levels).unwrap_or_else(|| name.to_owned()), piece());
            }
            Component::Text(_) if prefix.ends_with(".model.") => text::open_clip(&mut pieces, name, stored),
            Component::Text(_) => {
                pieces.insert(name.to_owned(), piece());
            }
        }
    }
    Ok(weights.view(pieces))
}
