//! `config.json` of diffusers' UNet2DConditionModel. What is absent has the default of the class.

use serde_json::Value;

use super::config::{
    AddedConfig, MOST_BLOCKS, MOST_LEVELS, UnetConfig, UnetLevel, UnetMiddle, Waves, at_most,
};
use crate::error::NnError;
use crate::fields::Fields;

/// Fields that change nothing here: dropout in training; how wide attention is computed (as wide as everything else); the
/// heads of a condition that is refused; and what trainers that average weights leave behind.
const HARMLESS: [&str; 10] = [
    "dropout",
    "upcast_attention",
    "addition_embed_type_num_heads",
    "decay",
    "inv_gamma",
    "min_decay",
    "optimization_step",
    "power",
    "update_after_step",
    "use_ema_warmup",
];

/// Numbers that the mathematics is built around, and fields that must be off.
const FIXED: [(&str, f32); 5] = [
    ("downsample_padding", 1.0),
    ("mid_block_scale_factor", 1.0),
    ("resnet_out_scale_factor", 1.0),
    ("conv_in_kernel", 3.0),
    ("conv_out_kernel", 3.0),
];
const TEXTS: [(&str, &str); 3] = [
    ("resnet_time_scale_shift", "default"),
    ("time_embedding_type", "positional"),
    ("attention_type", "default"),
];
const WITHOUT: [&str; 12] = [
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "dual_cross_attention",
    "class_embed_type",
    "num_class_embeds",
    "class_embeddings_concat",
    "resnet_skip_time_act",
    "time_embedding_act_fn",
    "timestep_post_act",
    "mid_block_only_cross_attention",
    "cross_attention_norm",
    "quantization_config",
];

impl UnetConfig {
    /// Reads the content of a UNet's `config.json`.
    ///
    /// `attention_head_dim` counts heads, as diffusers has it: a number or one for each block.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] for another class and for any field that asks for something that is not computed here,
    /// [`NnError::InvalidConfig`] for fields that are no configuration.
    pub fn from_diffusers(config: &Value) -> Result<Self, NnError> {
        let fields = Fields::new(config)?;
        only_text(&fields, "_class_name", "UNet2DConditionModel")?;
        HARMLESS.into_iter().for_each(|name| fields.skip(name));
        config.as_object().into_iter().flat_map(|object| object.keys()).for_each(|name| {
            // diffusers' version, where the model came from.
            if name.starts_with('_') {
                fields.skip(name);
            }
        });
        refuse(&fields)?;
        let levels = levels(&fields)?;
        let middle = middle(&fields)?;
        let read = Self {
            in_channels: fields.size("in_channels", 4)?,
            out_channels: fields.size("out_channels", 4)?,
            sample_size: fields.pair("sample_size")?,
            context_size: context_size(&fields, &levels, middle)?,
            middle,
            norm_groups: fields.optional_size("norm_num_groups", Some(32))?.ok_or_else(|| {
                NnError::unsupported("norm_num_groups null", "a number of groups is: maps are normed")
            })?,
            norm_eps: fields.number("norm_eps", 1e-5)?,
            linear_projection: fields.flag("use_linear_projection", false)?,
            center_input: fields.flag("center_input_sample", false)?,
            waves: Waves {
                cosines_first: fields.flag("flip_sin_to_cos", true)?,
                shift: fields.number("freq_shift", 0.0)?,
            },
            time_size: match fields.optional_size("time_embedding_dim", None)? {
                None | Some(0) => levels[0].channels.saturating_mul(4),
                Some(size) => size,
            },
            guidance_size: fields.optional_size("time_cond_proj_dim", None)?,
            added: added(&fields)?,
            levels,
        };
        fields.refuse_all_unread()?;
        read.check()?;
        Ok(read)
    }
}

/// Refuses what is another mathematics by a field's value alone.
fn refuse(fields: &Fields<'_>) -> Result<(), NnError> {
    for (name, only) in TEXTS {
        only_text(fields, name, only)?;
    }
    for (name, only) in FIXED {
        let number = fields.number(name, only)?;
        if number != only {
            return Err(NnError::unsupported(format!("{name} {number}"), format!("{only} is")));
        }
    }
    match fields.text("act_fn")? {
        None | Some("silu" | "swish") => {}
        Some(other) => return Err(NnError::unsupported(format!("act_fn {other:?}"), "\"silu\" is")),
    }
    for name in WITHOUT {
        off(fields, name, "a UNet without it is")?;
    }
    off(fields, "num_attention_heads", "attention_head_dim is, which counts the heads")?;
    let only_cross = fields.value("only_cross_attention");
    let all_off = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(is_off));
    match only_cross {
        Some(value) if !is_off(value) && !all_off(value) => Err(NnError::unsupported(
            format!("only_cross_attention {value}"),
            "transformers whose pixels see each other are",
        )),
        _ => Ok(()),
    }
}

fn off(fields: &Fields<'_>, name: &str, supported: &str) -> Result<(), NnError> {
    match fields.value(name) {
        Some(value) if !is_off(value) => Err(NnError::unsupported(format!("{name} {value}"), supported)),
        _ => Ok(()),
    }
}

fn is_off(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false))
}

fn only_text(fields: &Fields<'_>, name: &str, only: &str) -> Result<(), NnError> {
    match fields.text(name)? {
        Some(text) if text != only => {
            Err(NnError::unsupported(format!("{name} {text:?}"), format!("{only:?} is")))
        }
        _ => Ok(()),
    }
}

fn levels(fields: &Fields<'_>) -> Result<Vec<UnetLevel>, NnError> {
    const CHANNELS: [usize; 4] = [320, 640, 1280, 1280];
    let default = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"];
    let down = fields.texts("down_block_types")?.unwrap_or_else(|| default.to_vec());
    let default = ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"];
    let up = fields.texts("up_block_types")?.unwrap_or_else(|| default.to_vec());
    let count = down.len();
    if count == 0 || count > MOST_LEVELS {
        return Err(NnError::InvalidConfig(format!(
            "down_block_types names {count} blocks, it must name 1 to {MOST_LEVELS}"
        )));
    }
    if up.len() != count {
        return Err(NnError::InvalidConfig(format!(
            "up_block_types names {} blocks and down_block_types {count}",
            up.len()
        )));
    }
    let channels = match fields.value("block_out_channels") {
        None => PerLevel::each(CHANNELS),
        Some(value) => PerLevel::read(fields, "block_out_channels", value)?,
    };
    let channels = channels.of("block_out_channels", count)?;
    let sizes = |name: &str, default: usize| match fields.value(name) {
        None => Ok(vec![default; count]),
        Some(value) => PerLevel::read(fields, name, value)?.of(name, count),
    };
    let blocks = sizes("layers_per_block", 2)?;
    let heads = sizes("attention_head_dim", 8)?;
    let depths = Depths::read(fields, count)?;
    let level = |number: usize| {
        // Before lists are made of them.
        at_most("layers_per_block", blocks[number], MOST_BLOCKS)?;
        let blocks = blocks[number];
        let down_layers = match has_transformers("down_block_types", down[number], "Down")? {
            true => depths.down[number].of(TRANSFORMER_LAYERS, blocks)?,
            false => Vec::new(),
        };
        let up_layers = match has_transformers("up_block_types", up[count - 1 - number], "Up")? {
            true => depths.up[count - 1 - number].of(depths.up_name, blocks + 1)?,
            false => Vec::new(),
        };
        Ok(UnetLevel { channels: channels[number], blocks, heads: heads[number], down_layers, up_layers })
    };
    (0..count).map(level).collect()
}

const TRANSFORMER_LAYERS: &str = "transformer_layers_per_block";
const UP_TRANSFORMER_LAYERS: &str = "reverse_transformer_layers_per_block";

/// Whether a block of that type has transformers.
fn has_transformers(field: &str, name: &str, direction: &str) -> Result<bool, NnError> {
    // As older configurations begin them.
    match name.strip_prefix("UNetRes").unwrap_or(name) {
        plain if plain == format!("{direction}Block2D") => Ok(false),
        attending if attending == format!("CrossAttn{direction}Block2D") => Ok(true),
        _ => Err(NnError::unsupported(
            format!("{field} {name:?}"),
            format!("{direction}Block2D and CrossAttn{direction}Block2D are"),
        )),
    }
}

fn middle(fields: &Fields<'_>) -> Result<UnetMiddle, NnError> {
    let name = fields.text("mid_block_type")?;
    match name {
        None if fields.is_null("mid_block_type") => Ok(UnetMiddle::Absent),
        None | Some("UNetMidBlock2DCrossAttn") => {
            let last = match fields.value(TRANSFORMER_LAYERS) {
                Some(Value::Array(levels)) => levels.last(),
                other => other,
            };
            let layers =
                match last.map(|last| PerLevel::read(fields, TRANSFORMER_LAYERS, last)).transpose()? {
                    Some(PerLevel::All(layers)) => layers,
                    Some(PerLevel::Each(layers)) => layers.first().copied().unwrap_or(1),
                    None => 1,
                };
            Ok(UnetMiddle::Transformer { layers })
        }
        Some("UNetMidBlock2D") => Ok(UnetMiddle::Block),
        Some(other) => Err(NnError::unsupported(
            format!("mid_block_type {other:?}"),
            "UNetMidBlock2DCrossAttn, UNetMidBlock2D and null are",
        )),
    }
}

fn added(fields: &Fields<'_>) -> Result<Option<AddedConfig>, NnError> {
    let wave_size = fields.optional_size("addition_time_embed_dim", None)?;
    let size = fields.optional_size("projection_class_embeddings_input_dim", None)?;
    match fields.text("addition_embed_type")? {
        None => Ok(None),
        Some("text_time") => match (wave_size, size) {
            (Some(wave_size), Some(size)) => Ok(Some(AddedConfig { wave_size, size })),
            _ => Err(NnError::InvalidConfig(
                "addition_embed_type \"text_time\" needs addition_time_embed_dim and \
                 projection_class_embeddings_input_dim"
                    .to_owned(),
            )),
        },
        Some(other) => {
            Err(NnError::unsupported(format!("addition_embed_type {other:?}"), "\"text_time\" and null are"))
        }
    }
}

/// One width for all blocks that look at the context: they look at the same one.
fn context_size(fields: &Fields<'_>, levels: &[UnetLevel], middle: UnetMiddle) -> Result<usize, NnError> {
    const NAME: &str = "cross_attention_dim";
    let sizes = match fields.value(NAME) {
        None => vec![1280; levels.len()],
        Some(value) => PerLevel::read(fields, NAME, value)?.of(NAME, levels.len())?,
    };
    let looks = |(number, level): (usize, &UnetLevel)| {
        let middle = number + 1 == levels.len() && matches!(middle, UnetMiddle::Transformer { .. });
        (middle || !level.down_layers.is_empty() || !level.up_layers.is_empty()).then_some(sizes[number])
    };
    let mut looking = levels.iter().enumerate().filter_map(looks);
    let first = looking.next().unwrap_or(sizes[0]);
    match looking.find(|size| *size != first) {
        None => Ok(first),
        Some(other) => Err(NnError::unsupported(
            format!("{NAME} of both {first} and {other}"),
            "one width for all blocks is, they look at the same context",
        )),
    }
}

/// A count for each of some places, or one that stands for all.
#[derive(Clone, Debug)]
enum PerLevel {
    All(usize),
    Each(Vec<usize>),
}

impl PerLevel {
    fn each(counts: impl Into<Vec<usize>>) -> Self {
        Self::Each(counts.into())
    }

    fn read(fields: &Fields<'_>, name: &str, value: &Value) -> Result<Self, NnError> {
        match value {
            Value::Array(items) => {
                items.iter().map(|item| fields.count(name, item)).collect::<Result<_, _>>().map(Self::Each)
            }
            value => fields.count(name, value).map(Self::All),
        }
    }

    fn of(&self, name: &str, places: usize) -> Result<Vec<usize>, NnError> {
        match self {
            Self::All(count) => Ok(vec![*count; places]),
            Self::Each(counts) if counts.len() == places => Ok(counts.clone()),
            Self::Each(counts) => Err(NnError::InvalidConfig(format!(
                "{name} is {counts:?}, it must be a whole number or a list of {places}"
            ))),
        }
    }
}

/// Layers of the transformers of each level: on the way down from the highest, on the way up from the lowest.
struct Depths {
    down: Vec<PerLevel>,
    up: Vec<PerLevel>,
    /// The field that says those on the way up.
    up_name: &'static str,
}

impl Depths {
    fn read(fields: &Fields<'_>, levels: usize) -> Result<Self, NnError> {
        let list = |name: &str, value: &Value| match value {
            Value::Array(items) if items.len() == levels => {
                items.iter().map(|item| PerLevel::read(fields, name, item)).collect()
            }
            Value::Array(_) => {
                Err(fields.wrong(name, value, &format!("a whole number or a list of {levels}")))
            }
            value => Ok(vec![PerLevel::read(fields, name, value)?; levels]),
        };
        let down = match fields.value(TRANSFORMER_LAYERS) {
            None => vec![PerLevel::All(1); levels],
            Some(value) => list(TRANSFORMER_LAYERS, value)?,
        };
        let (up, up_name) = match fields.value(UP_TRANSFORMER_LAYERS) {
            Some(value) => (list(UP_TRANSFORMER_LAYERS, value)?, UP_TRANSFORMER_LAYERS),
            None => (down.iter().rev().cloned().collect(), TRANSFORMER_LAYERS),
        };
        Ok(Self { down, up, up_name })
    }
}
