//! What checkpoints call the tensors of the tower, the projector and the newline.

/// How a checkpoint in Hugging Face layout begins the names of what is not the language model's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Places {
    /// Before the tower's: `embeddings.patch_embedding.weight`, `encoder.layers.0.…`
    pub(crate) tower: &'static str,
    /// Before `multi_modal_projector.…` and `image_newline`.
    pub(crate) others: &'static str,
}

/// A tensor that every tower has.
const PROBE: &str = "embeddings.patch_embedding.weight";

/// Transformers 5 without and with the prefix of its classes, and 4.
const PLACES: [Places; 4] = [
    Places { tower: "vision_tower.vision_model.", others: "" },
    Places { tower: "vision_tower.", others: "" },
    Places { tower: "model.vision_tower.vision_model.", others: "model." },
    Places { tower: "model.vision_tower.", others: "model." },
];

impl Places {
    /// The places of a checkpoint, by what tensors it has.
    pub(crate) fn find(contains: impl Fn(&str) -> bool) -> Option<Self> {
        PLACES.into_iter().find(|places| contains(&format!("{}{PROBE}", places.tower)))
    }

    /// The checkpoint's name for a tensor: of the tower without any beginning, of the others with that of transformers 4.
    pub(crate) fn stored_name(&self, name: &str) -> String {
        let is_other = name == "image_newline" || name.starts_with("multi_modal_projector.");
        format!("{}{name}", if is_other { self.others } else { self.tower })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generation_of_names_is_known() {
        for (tower, newline) in [
            ("vision_tower.vision_model.", "image_newline"),
            ("vision_tower.", "image_newline"),
            ("model.vision_tower.vision_model.", "model.image_newline"),
            ("model.vision_tower.", "model.image_newline"),
        ] {
            let found = Places::find(|name| name == format!("{tower}{PROBE}")).unwrap();
            assert_eq!(found.stored_name("pre_layrnorm.bias"), format!("{tower}pre_layrnorm.bias"));
            assert_eq!(found.stored_name("image_newline"), newline);
            let projector = newline.replace("image_newline", "multi_modal_projector.linear_1.weight");
            assert_eq!(found.stored_name("multi_modal_projector.linear_1.weight"), projector);
        }
        assert_eq!(Places::find(|name| name.starts_with("visual.")), None);
    }
}
