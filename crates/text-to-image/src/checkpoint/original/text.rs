//! OpenCLIP's text encoders, by the names of transformers.

use model_source::Piece;

use super::Pieces;

const ENDS: [(&str, &str); 4] = [
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("token_embedding.weight", "embeddings.token_embedding.weight"),
    ("ln_final.weight", "final_layer_norm.weight"),
    ("ln_final.bias", "final_layer_norm.bias"),
];

const LAYER: [(&str, &str); 5] = [
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("attn.out_proj.", "self_attn.out_proj."),
];

/// Puts a tensor in under its name, or its names. What else there is (a temperature, a mask) is left out.
pub(super) fn open_clip(pieces: &mut Pieces, name: &str, stored: &str) {
    let whole = || Piece::Whole(stored.to_owned());
    if name == "text_projection" {
        // What rows are multiplied with from the right.
        pieces.insert("text_projection.weight".to_owned(), Piece::Transposed(stored.to_owned()));
    } else if name == "text_projection.weight" {
        pieces.insert(name.to_owned(), whole());
    } else if let Some((_, end)) = ENDS.iter().find(|(original, _)| *original == name) {
        pieces.insert(format!("text_model.{end}"), whole());
    } else if let Some((layer, rest)) =
        name.strip_prefix("transformer.resblocks.").and_then(|name| name.split_once('.'))
    {
        let place = format!("text_model.encoder.layers.{layer}");
        if let Some(kind) = rest.strip_prefix("attn.in_proj_") {
            for (number, part) in ["q", "k", "v"].into_iter().enumerate() {
                let piece = Piece::Part { name: stored.to_owned(), number, of: 3 };
                pieces.insert(format!("{place}.self_attn.{part}_proj.{kind}"), piece);
            }
        } else {
            let end = LAYER.iter().find_map(|(from, to)| Some(format!("{to}{}", rest.strip_prefix(from)?)));
            // An unknown one keeps its name, so that the encoder refuses it.
            pieces.insert(format!("{place}.{}", end.unwrap_or_else(|| rest.to_owned())), whole());
        }
    }
}
