//! Attention between all positions of a map, of one head.

use super::plan::ATTENTION;
use crate::diffusion::group_norm::GroupNorm;
use crate::diffusion::maps::MapSize;
use crate::diffusion::resnet::NormShape;
use crate::encoder::{Memory, PackedLinear};
use crate::error::NnError;
use crate::store::TensorStore;
use crate::vector::add;

/// Adds to each position what it sees of all others.
#[derive(Debug)]
pub(super) struct MapAttention {
    channels: usize,
    norm: GroupNorm,
    query: PackedLinear,
    key: PackedLinear,
    value: PackedLinear,
    output: PackedLinear,
}

/// A map on its way through it.
#[derive(Debug)]
pub(super) struct AttentionRun {
    numbers: Vec<f32>,
    size: MapSize,
    normed: Vec<f32>,
    keys: Vec<f32>,
    memory: Option<Memory>,
    /// Positions.
    done: usize,
}

/// Multiplications and additions that are a piece of work.
const PIECE: usize = 4_000_000_000;

impl MapAttention {
    /// `group_norm`, `to_q`, `to_k`, `to_v` and `to_out.0` behind the name, or as older checkpoints call them.
    pub(super) fn load(
        store: &dyn TensorStore,
        name: &str,
        channels: usize,
        NormShape { groups, eps }: NormShape,
    ) -> Result<Self, NnError> {
        let norm = GroupNorm::load(store, &format!("{name}.group_norm"), channels, groups, eps)?;
        let [query, key, value, output] = ATTENTION.map(|(newer, older)| {
            let (newer, older) = (format!("{name}.{newer}"), format!("{name}.{older}"));
            let is_older = |kind| {
                !store.contains(&format!("{newer}.{kind}")) && store.contains(&format!("{older}.{kind}"))
            };
            let stored = if is_older("weight") { older } else { newer };
            PackedLinear::load(store, &stored, (channels, channels), true)
        });
        Ok(Self { channels, norm, query: query?, key: key?, value: value?, output: output? })
    }

    /// Of one map.
    pub(super) fn begin(numbers: Vec<f32>, size: MapSize) -> AttentionRun {
        AttentionRun { numbers, size, normed: Vec::new(), keys: Vec::new(), memory: None, done: 0 }
    }

    /// One piece of work; true when all is done.
    pub(super) fn advance(&self, run: &mut AttentionRun) -> bool {
        let AttentionRun { numbers, size, normed, keys, memory, done } = run;
        let Some(memory) = memory else {
            if keys.is_empty() {
                *normed = self.norm.apply(numbers, *size);
                *keys = self.key.apply(normed);
            } else {
                let values = self.value.apply(normed);
                *memory = Some(Memory::of((1, self.channels), &std::mem::take(keys), &values));
            }
            return false;
        };
        let positions = size.positions();
        let each = 2 * self.channels * (positions + self.channels);
        let piece = *done..(*done + (PIECE / each).max(1)).min(positions);
        let place = piece.start * self.channels..piece.end * self.channels;
        let seen = memory.look(&self.query.apply(&normed[place.clone()]));
        add(&mut numbers[place], &self.output.apply(&seen));
        *done = piece.end;
        *done == positions
    }
}

impl AttentionRun {
    /// The output, once all is done.
    pub(super) fn into_output(self) -> Vec<f32> {
        self.numbers
    }
}
