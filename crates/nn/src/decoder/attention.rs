//! Grouped-query attention: projections, rotation, the cache, and the look back.

mod look_back;

use self::look_back::LookBack;
use super::batch::Batch;
use super::config::DecoderConfig;
use super::layer::Loading;
use super::norm::RmsNorm;
use super::rope::Rotations;
use crate::cache::LayerBlocks;
use crate::error::NnError;
use crate::linear::Linear;

#[derive(Debug)]
pub(super) struct Attention {
    layer: usize,
    projections: Projections,
    query_norm: Option<RmsNorm>,
    key_norm: Option<RmsNorm>,
    look_back: LookBack,
    output: Linear,
}

#[derive(Debug)]
enum Projections {
    Three {
        query: Linear,
        key: Linear,
        value: Linear,
    },
    /// Query first, then key, then value.
    Fused {
        all: Linear,
        query: usize,
        key: usize,
    },
}

/// Queries, keys and values of all rows, each a matrix of its own.
struct Projected {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Attention {
    pub(super) fn load(config: &DecoderConfig, loading: &Loading<'_>) -> Result<Self, NnError> {
        let head_norm = |name: &str| match config.query_key_norm {
            true => loading.norm(&format!("self_attn.{name}"), config.head_dim).map(Some),
            false => Ok(None),
        };
        let shape = (config.hidden_size, config.heads * config.head_dim);
        Ok(Self {
            layer: loading.layer,
            projections: Projections::load(config, loading)?,
            query_norm: head_norm("q_norm")?,
            key_norm: head_norm("k_norm")?,
            look_back: LookBack::new(config),
            output: loading.linear("self_attn.o_proj", shape, config.attention_output_bias)?,
        })
    }

    /// What the rows see of their sequences, themselves included; their keys and values are kept.
    pub(super) fn apply(
        &self,
        inputs: &[f32],
        batch: &Batch<'_>,
        rotations: &Rotations,
        blocks: &mut LayerBlocks,
    ) -> Result<Vec<f32>, NnError> {
        let mut projected = self.projections.apply(inputs)?;
        if let Some(norm) = &self.query_norm {
            norm.apply_in_place(&mut projected.queries);
        }
        if let Some(norm) = &self.key_norm {
            norm.apply_in_place(&mut projected.keys);
        }
        rotations.apply(&mut projected.queries);
        rotations.apply(&mut projected.keys);
        self.keep(&projected, batch, blocks);
        let seen = self.look_back.rows(&projected.queries, batch, self.layer, blocks);
        self.output.apply(&seen)
    }

    /// Puts keys and values into the blocks of their sequences.
    fn keep(&self, projected: &Projected, batch: &Batch<'_>, blocks: &mut LayerBlocks) {
        let rows = batch.positions().len();
        let width = projected.keys.len() / rows.max(1);
        for (row, position) in batch.positions().iter().enumerate() {
            let block = batch.table(row, self.layer)[position / batch.block_tokens()];
            let keys = &projected.keys[row * width..][..width];
            let values = &projected.values[row * width..][..width];
            blocks.write(block, position % batch.block_tokens(), keys, values);
        }
    }
}

impl Projections {
    fn load(config: &DecoderConfig, loading: &Loading<'_>) -> Result<Self, NnError> {
        let (query, key) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let linear = |name: &str, outputs| {
            let shape = (outputs, config.hidden_size);
            loading.linear(&format!("self_attn.{name}"), shape, config.query_key_value_bias)
        };
        Ok(match config.fused_projections {
            true => Self::Fused { all: linear("qkv_proj", query + 2 * key)?, query, key },
            false => Self::Three {
                query: linear("q_proj", query)?,
                key: linear("k_proj", key)?,
                value: linear("v_proj", key)?,
            },
        })
    }

    fn apply(&self, inputs: &[f32]) -> Result<Projected, NnError> {
        match self {
            Self::Three { query, key, value } => Ok(Projected {
                queries: query.apply(inputs)?,
                keys: key.apply(inputs)?,
                values: value.apply(inputs)?,
            }),
            Self::Fused { all, query, key } => {
                let rows = all.apply(inputs)?;
                let part = |from: usize, width: usize| -> Vec<f32> {
                    rows.chunks_exact(all.outputs())
                        .flat_map(|row| &row[from..from + width])
                        .copied()
                        .collect()
                };
                Ok(Projected {
                    queries: part(0, *query),
                    keys: part(*query, *key),
                    values: part(query + key, *key),
                })
            }
        }
    }
}
