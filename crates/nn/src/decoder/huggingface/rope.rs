//! `rope_parameters` of transformers 5; `rope_theta` and `rope_scaling` of transformers 4.

use crate::decoder::config::{Architecture, RopeConfig, RopePairs, RopeScaling};
use crate::error::NnError;
use crate::fields::Fields;

/// Reads rotary embeddings.
pub(super) struct RopeReader<'a> {
    pub(super) architecture: Architecture,
    /// The fields of the whole configuration.
    pub(super) fields: &'a Fields<'a>,
    pub(super) head_dim: usize,
    pub(super) context: usize,
}

/// The base of all classes but Gemma 3, whose layers without a window have another.
const BASE: f32 = 10_000.0;
const GEMMA3_GLOBAL_BASE: f32 = 1_000_000.0;

const SUPPORTED: &str = "default, linear, llama3, yarn and longrope are";

impl<'a> RopeReader<'a> {
    /// The embedding of a model that has one.
    pub(super) fn only(&self) -> Result<RopeConfig, NnError> {
        let base = self.fields.number("rope_theta", BASE)?;
        // Where both are given the older counts, as in the reference.
        let (older, newer) = (self.fields.object("rope_scaling")?, self.fields.object("rope_parameters")?);
        self.rope(older.or(newer).as_ref(), base)
    }

    /// Those of Gemma 3: of layers that see everything, and of layers with a window. `rope_scaling` is for the former.
    pub(super) fn global_and_local(&self) -> Result<Vec<RopeConfig>, NnError> {
        let global = self.fields.number("rope_theta", GEMMA3_GLOBAL_BASE)?;
        let local = self.fields.number("rope_local_base_freq", BASE)?;
        let scaling = self.fields.object("rope_scaling")?;
        let Some(newer) = self.fields.object("rope_parameters")? else {
            return Ok(vec![self.rope(scaling.as_ref(), global)?, self.rope(None, local)?]);
        };
        if scaling.is_some() {
            return Err(NnError::unsupported("rope_scaling beside rope_parameters", "one of them is"));
        }
        let parts = [("full_attention", global), ("sliding_attention", local)];
        let ropes = parts.map(|(name, base)| self.rope(newer.object(name)?.as_ref(), base));
        newer.refuse_all_unread()?;
        ropes.into_iter().collect()
    }

    fn rope(&self, given: Option<&Fields<'a>>, base: f32) -> Result<RopeConfig, NnError> {
        let dims = self.dims(given)?;
        let Some(given) = given else {
            return Ok(RopeConfig { base, dims, pairs: RopePairs::Halves, scaling: RopeScaling::None });
        };
        let base = given.number("rope_theta", base)?;
        let scaling = self.scaling(given)?;
        given.refuse_all_unread()?;
        Ok(RopeConfig { base, dims, pairs: RopePairs::Halves, scaling })
    }

    /// How many of a head's numbers are rotated: all, but for Phi.
    fn dims(&self, given: Option<&Fields<'a>>) -> Result<usize, NnError> {
        const NAME: &str = "partial_rotary_factor";
        let top = self.fields.given_number(NAME)?;
        let part = match given {
            Some(given) => given.given_number(NAME)?.or(top),
            None => top,
        };
        match part {
            None => Ok(self.head_dim),
            Some(1.0) => Ok(self.head_dim),
            Some(part) if self.architecture == Architecture::Phi3 => {
                Ok((self.head_dim as f32 * part) as usize)
            }
            Some(part) => Err(NnError::unsupported(
                format!("{NAME} {part} for {}", self.architecture),
                "1 is, others are for phi3",
            )),
        }
    }

    fn scaling(&self, given: &Fields<'a>) -> Result<RopeScaling, NnError> {
        let name = match (given.text("rope_type")?, given.text("type")?) {
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => "default",
        };
        // Says that the model was trained further after stretching.
        given.skip("finetuned");
        match (name, self.architecture) {
            ("default", _) => Ok(RopeScaling::None),
            ("linear", _) => Ok(RopeScaling::Linear { factor: required(given, "factor")? }),
            ("llama3", _) => Ok(RopeScaling::Llama3 {
                factor: required(given, "factor")?,
                low_frequency_factor: required(given, "low_freq_factor")?,
                high_frequency_factor: required(given, "high_freq_factor")?,
                original_context: self.original_context(given)?,
            }),
            // Older names in configurations of Phi-3.
            ("longrope", _) | ("su" | "yarn", Architecture::Phi3) => self.long_rope(given),
            ("yarn", _) => self.yarn(given),
            (other, _) => Err(NnError::unsupported(format!("the rope_type {other:?}"), SUPPORTED)),
        }
    }

    fn yarn(&self, given: &Fields<'a>) -> Result<RopeScaling, NnError> {
        let original_context = self.original_context(given)?;
        let ratio = self.context as f32 / original_context as f32;
        let factor = given.number("factor", ratio)?;
        let magnitude = |weight: f32| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
        let (weight, all) = (given.number("mscale", 0.0)?, given.number("mscale_all_dim", 0.0)?);
        let inferred = match weight != 0.0 && all != 0.0 {
            true => magnitude(weight) / magnitude(all),
            false => magnitude(1.0),
        };
        // In the reference, a bound of 0 is one that is not given.
        let bound = |name: &str, default: f32| {
            given.number(name, default).map(|turns| if turns == 0.0 { default } else { turns })
        };
        Ok(RopeScaling::Yarn {
            factor,
            original_context,
            beta_fast: bound("beta_fast", 32.0)?,
            beta_slow: bound("beta_slow", 1.0)?,
            truncate: given.flag("truncate", true)?,
            attention_factor: given.number("attention_factor", inferred)?,
        })
    }

    fn long_rope(&self, given: &Fields<'a>) -> Result<RopeScaling, NnError> {
        let factors = |name: &str| {
            given.numbers(name)?.ok_or_else(|| {
                NnError::InvalidConfig(format!("{} is missing, longrope needs it", given.label(name)))
            })
        };
        let original_context = self.original_context(given)?;
        let original = original_context as f32;
        let factor = given.number("factor", self.context as f32 / original)?;
        let inferred = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
        Ok(RopeScaling::LongRope {
            short: factors("short_factor")?,
            long: factors("long_factor")?,
            original_context,
            attention_factor: given.number("attention_factor", inferred)?,
        })
    }

    /// Phi-3 has the field at the top, with a default; others have it beside the type, or mean the context.
    fn original_context(&self, given: &Fields<'a>) -> Result<usize, NnError> {
        const NAME: &str = "original_max_position_embeddings";
        let inner = given.size(NAME, self.context)?;
        let context = match self.architecture {
            Architecture::Phi3 => self.fields.size(NAME, 4096)?,
            _ => self.fields.size(NAME, inner)?,
        };
        match context {
            0 => Err(NnError::InvalidConfig(format!("{NAME} is 0, it must be at least 1"))),
            context => Ok(context),
        }
    }
}

fn required(given: &Fields<'_>, name: &str) -> Result<f32, NnError> {
    match given.given_number(name)? {
        Some(number) if number > 0.0 => Ok(number),
        Some(number) => {
            Err(NnError::InvalidConfig(format!("{} is {number}, it must be above 0", given.label(name))))
        }
        None => Err(NnError::InvalidConfig(format!("{} is missing", given.label(name)))),
    }
}
