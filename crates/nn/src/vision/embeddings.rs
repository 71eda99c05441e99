//! What the first layer sees: patches, a class token, registers, positions.

use rayon::prelude::*;

use super::config::VisionArchitecture::{Clip, Dinov2WithRegisters, Siglip};
use super::config::VisionConfig;
use super::pass::Pixels;
use super::positions::Positions;
use crate::encoder::{LayerNorm, Loading, PackedLinear, table};
use crate::error::NnError;
use crate::store::TensorStore;
use crate::vector::add;

#[derive(Debug)]
pub(super) struct Embeddings {
    patches: PackedLinear,
    patch_size: usize,
    channels: usize,
    /// The class token at its position, and the registers, which have none.
    leading: Vec<f32>,
    positions: Positions,
    /// Before the first layer.
    norm: Option<LayerNorm>,
}

impl Embeddings {
    pub(super) fn load(config: &VisionConfig, store: &dyn TensorStore, tower: &str) -> Result<Self, NnError> {
        let width = config.hidden_size;
        let (clip, siglip) = (config.architecture == Clip, config.architecture == Siglip);
        let name = |name: &str| format!("{tower}embeddings.{name}");
        let projection = if clip || siglip { "patch_embedding" } else { "patch_embeddings.projection" };
        let patches = PackedLinear::load(store, &name(projection), (width, config.patch_inputs()), !clip)?;
        let table_name = if clip || siglip { "position_embedding.weight" } else { "position_embeddings" };
        let with_class = config.architecture.has_class_token();
        let rows = config.trained_patches() + usize::from(with_class);
        let mut positions = table(store, &name(table_name), (rows, width))?;
        let mut leading = Vec::new();
        if with_class {
            let class = if clip { "class_embedding" } else { "cls_token" };
            leading = store.vector(&name(class), width)?;
            let patches = positions.split_off(width);
            add(&mut leading, &positions);
            positions = patches;
        }
        if config.registers > 0 {
            leading.extend(table(store, &name("register_tokens"), (config.registers, width))?);
        }
        let encoder = config.encoder();
        let loading = Loading { config: &encoder, store, prefix: tower.to_owned() };
        Ok(Self {
            patches,
            patch_size: config.patch_size,
            channels: config.channels,
            leading,
            positions: Positions {
                side: config.image_size / config.patch_size,
                width,
                table: positions,
                antialias: config.architecture == Dinov2WithRegisters,
            },
            // The reference's spelling.
            norm: if clip { Some(loading.norm("pre_layrnorm")?) } else { None },
        })
    }

    /// A row for each patch: all numbers of a channel, then those of the next.
    pub(super) fn cut(&self, picture: Pixels<'_>) -> Vec<f32> {
        let (edge, width) = (self.patch_size, picture.width);
        let (rows, columns) = (picture.height / edge, width / edge);
        let row_of_patches = columns * self.channels * edge * edge;
        let mut patches = vec![0.0; rows * row_of_patches];
        patches.par_chunks_mut(row_of_patches).enumerate().for_each(|(row, patches)| {
            for (column, patch) in patches.chunks_exact_mut(self.channels * edge * edge).enumerate() {
                for (line, numbers) in patch.chunks_exact_mut(edge).enumerate() {
                    let (channel, line) = (line / edge, line % edge);
                    let from = (channel * picture.height + row * edge + line) * width + column * edge;
                    numbers.copy_from_slice(&picture.values[from..from + edge]);
                }
            }
        });
        patches
    }

    /// The rows of one picture, from its patches; `square`: it is, in pixels.
    pub(super) fn rows(&self, patches: &[f32], rows: usize, columns: usize, square: bool) -> Vec<f32> {
        let mut embedded = self.patches.apply(patches);
        add(&mut embedded, &self.positions.of(rows, columns, square));
        let mut all = self.leading.clone();
        all.extend(embedded);
        if let Some(norm) = &self.norm {
            norm.apply_in_place(&mut all);
        }
        all
    }
}
