//! What a decoder computes, whatever its architecture is called.

use std::fmt;

use crate::cache::{CacheGroup, CacheLayout};
use crate::error::NnError;

/// Everything that the mathematics of a decoder depends on, besides its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Whose conventions it was read by.
    pub architecture: Architecture,
    /// Tokens there are embeddings and logits for.
    pub vocab_size: usize,
    /// Numbers in a hidden state.
    pub hidden_size: usize,
    /// Numbers between the two halves of a feed-forward layer.
    pub intermediate_size: usize,
    /// Heads that ask.
    pub heads: usize,
    /// Heads that have keys and values; each serves `heads / kv_heads` of those that ask.
    pub kv_heads: usize,
    /// Numbers in a head's query, key and value.
    pub head_dim: usize,
    /// Positions a sequence may have. Lowering it is allowed; with [`RopeScaling::LongRope`] it decides which factors hold.
    pub context: usize,
    /// What differs between layers.
    pub layers: Vec<LayerConfig>,
    /// Rotary position embeddings; layers name theirs by its place here.
    pub ropes: Vec<RopeConfig>,
    /// What is added to the mean square in a norm.
    pub norm_eps: f32,
    /// Whether norms multiply by 1 + weight instead of by the weight.
    pub norm_plus_one: bool,
    /// Whether the results of attention and feed-forward are normed, too, before they are added to the hidden state.
    pub sandwich_norms: bool,
    /// Whether queries and keys are normed, head by head, before they are rotated.
    pub query_key_norm: bool,
    /// What the product of query and key is multiplied with.
    pub attention_scale: f32,
    /// The bound that the scaled product is brought below by a tanh.
    pub attention_soft_cap: Option<f32>,
    /// The bound that logits are brought below by a tanh.
    pub logit_soft_cap: Option<f32>,
    /// What gates the feed-forward layers.
    pub activation: Activation,
    /// What token embeddings are multiplied with; embeddings that are handed in are not.
    pub embedding_scale: f32,
    /// Whether query, key and value are one stored matrix, and gate and up another.
    pub fused_projections: bool,
    /// Biases of the query, key and value projections.
    pub query_key_value_bias: Bias,
    /// Bias of the projection behind attention.
    pub attention_output_bias: Bias,
    /// Biases of the feed-forward projections.
    pub feed_forward_bias: Bias,
    /// Where the matrix of the logits is.
    pub output: OutputHead,
}

/// The architectures whose configurations are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM2, and all that say they are one.
    Llama,
    /// Mistral 7B and Nemo.
    Mistral,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3, dense.
    Qwen3,
    /// Gemma 2.
    Gemma2,
    /// Gemma 3, the text part.
    Gemma3,
    /// Phi-3 and those that say they are one.
    Phi3,
}

/// What may differ from layer to layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerConfig {
    /// How many positions attention looks back, its own included; `None` if all.
    pub window: Option<usize>,
    /// Which of the rotary embeddings it has.
    pub rope: usize,
}

/// A rotary position embedding (RoFormer, <https://arxiv.org/abs/2104.09864>).
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// The base of the wavelengths.
    pub base: f32,
    /// How many of a head's numbers are rotated, from the first on.
    pub dims: usize,
    /// Which numbers form a pair.
    pub pairs: RopePairs,
    /// How it is stretched beyond the context that the model was first trained with.
    pub scaling: RopeScaling,
}

/// Which two numbers of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopePairs {
    /// One of the first half with one of the second: Hugging Face checkpoints.
    Halves,
    /// Neighbours: GGUF files of the llama architecture, whose query and key rows are permuted for it.
    Neighbours,
}

/// How a rotary embedding is stretched, as `modeling_rope_utils.py` of transformers defines it.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies are divided by the factor.
    Linear {
        /// What they are divided by.
        factor: f32,
    },
    /// Long wavelengths are divided by the factor, short ones are not, those between are in between (Llama 3.1).
    Llama3 {
        /// What long wavelengths are divided by.
        factor: f32,
        /// Waves are long from `original_context / low_frequency_factor` on.
        low_frequency_factor: f32,
        /// Waves are short up to `original_context / high_frequency_factor`.
        high_frequency_factor: f32,
        /// Positions the model was first trained with.
        original_context: usize,
    },
    /// YaRN (<https://arxiv.org/abs/2309.00071>).
    Yarn {
        /// What slow rotations are divided by.
        factor: f32,
        /// Positions the model was first trained with.
        original_context: usize,
        /// Turns within the original context above which a rotation is fast.
        beta_fast: f32,
        /// Turns within the original context below which a rotation is slow.
        beta_slow: f32,
        /// Whether the bounds between fast and slow are rounded to whole dimensions.
        truncate: bool,
        /// What rotated queries and keys are multiplied with.
        attention_factor: f32,
    },
    /// LongRoPE (<https://arxiv.org/abs/2402.13753>): a divisor for each frequency.
    ///
    /// The short factors hold for a decoder whose context is within the original one, the long ones for any other, for all
    /// its sequences: as llama.cpp and vLLM do it. (transformers chooses anew at each call by the sequence's length, and
    /// computes the whole sequence again when it grows beyond.)
    LongRope {
        /// Divisors within the original context.
        short: Vec<f32>,
        /// Divisors beyond it.
        long: Vec<f32>,
        /// Positions the model was first trained with.
        original_context: usize,
        /// What rotated queries and keys are multiplied with.
        attention_factor: f32,
    },
    /// Divisors that are tensors of the weights, where there are any: `rope_freqs.weight` (as `Llama3` gives them), or
    /// `rope_factors_short.weight` and `rope_factors_long.weight` (as in `LongRope`).
    Stored {
        /// Positions the model was first trained with.
        original_context: usize,
        /// What rotated queries and keys are multiplied with.
        attention_factor: f32,
    },
}

/// What gates a feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// The approximation of GELU by a tanh.
    GeluTanh,
}

/// Whether linear maps have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// They have none.
    Absent,
    /// They have one.
    Present,
    /// They have one if the weights have one: GGUF metadata does not say.
    AsStored,
}

/// Where the matrix that turns hidden states into logits is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputHead {
    /// It is that of the embedding.
    Tied,
    /// It is `lm_head.weight`.
    Separate,
    /// It is `lm_head.weight` if the weights have one, and that of the embedding otherwise: GGUF metadata does not say.
    AsStored,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
            Self::Phi3 => "phi3",
        })
    }
}

impl Architecture {
    /// What other architectures are told.
    pub(crate) const SUPPORTED: &str =
        "llama (Llama, SmolLM2), mistral, qwen2, qwen3, gemma2, gemma3, gemma3_text and phi3 are";

    pub(crate) fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }
}

/// Layers a decoder may have. A configuration is refused as soon as it says more, before anything is allocated for them.
pub(super) const MOST_LAYERS: usize = 4096;

/// Heads, and numbers of a head.
const MOST_HEADS: usize = 1 << 16;
/// Numbers in a row: a hidden state, all heads of it, what is between the halves of a feed-forward layer. Tokens, too.
const MOST_NUMBERS: usize = 1 << 24;
/// Positions.
const MOST_POSITIONS: usize = 1 << 30;

/// A product that stays at the largest number there is, where it would be larger.
fn product(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1, |product, size| product.saturating_mul(*size as u64))
}

/// A sum likewise.
fn sum(terms: &[u64]) -> u64 {
    terms.iter().copied().fold(0, u64::saturating_add)
}

impl DecoderConfig {
    /// How keys and values are laid out in blocks of so many positions: a group for each window that layers have.
    #[must_use]
    pub fn cache_layout(&self, block_tokens: usize) -> CacheLayout {
        let mut groups: Vec<CacheGroup> = Vec::new();
        for (layer, LayerConfig { window, .. }) in self.layers.iter().enumerate() {
            match groups.iter_mut().find(|group| group.window == *window) {
                Some(group) => group.layers.push(layer),
                None => groups.push(CacheGroup { layers: vec![layer], window: *window }),
            }
        }
        CacheLayout { block_tokens, groups, kv_heads: self.kv_heads, head_dim: self.head_dim }
    }

    /// How many numbers the weights are, a tied head counted once. In f32 they take four bytes each.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let layer = sum(&[
            product(&[2, self.hidden_size, self.heads, self.head_dim]),
            product(&[2, self.hidden_size, self.kv_heads, self.head_dim]),
            product(&[3, self.hidden_size, self.intermediate_size]),
            product(&[4, self.hidden_size]),
            product(&[2, self.head_dim]),
        ]);
        let embeddings = if self.output == OutputHead::Separate { 2 } else { 1 };
        let vocabulary = product(&[embeddings, self.vocab_size, self.hidden_size]);
        let layers = layer.saturating_mul(self.layers.len() as u64);
        sum(&[layers, vocabulary, self.hidden_size as u64])
    }

    /// Bytes that a step takes besides weights and cache: `rows` inputs, of which `logit_rows` give logits.
    ///
    /// A row of logits counts four times: the last product is of each row and of what rounding took from it, and its
    /// result is there once as the product leaves it and once more as it is handed out.
    #[must_use]
    pub fn activation_bytes(&self, rows: usize, logit_rows: usize) -> u64 {
        sum(&[
            product(&[4, rows, 4, self.hidden_size]),
            product(&[4, rows, 2, self.heads, self.head_dim]),
            product(&[4, rows, 2, self.kv_heads, self.head_dim]),
            product(&[4, rows, 3, self.intermediate_size]),
            product(&[4, logit_rows, 4, self.vocab_size]),
        ])
    }

    /// Checks that sizes are there and agree.
    pub(crate) fn check(&self) -> Result<(), NnError> {
        // Far beyond any model; the products of these stay below what an address can count.
        let sizes = [
            ("vocabulary size", self.vocab_size, MOST_NUMBERS),
            ("hidden size", self.hidden_size, MOST_NUMBERS),
            ("intermediate size", self.intermediate_size, MOST_NUMBERS),
            ("number of layers", self.layers.len(), MOST_LAYERS),
            ("number of attention heads", self.heads, MOST_HEADS),
            ("number of key and value heads", self.kv_heads, MOST_HEADS),
            ("head dimension", self.head_dim, MOST_HEADS),
            ("width of all attention heads", self.heads.saturating_mul(self.head_dim), MOST_NUMBERS),
            ("context length", self.context, MOST_POSITIONS),
        ];
        for (name, size, most) in sizes {
            if size == 0 {
                return Err(NnError::InvalidConfig(format!("the {name} is 0, it must be at least 1")));
            }
            if size > most {
                return Err(NnError::InvalidConfig(format!(
                    "the {name} is {size}, it must be at most {most}"
                )));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(NnError::InvalidConfig(format!(
                "{} attention heads cannot share {} key and value heads evenly",
                self.heads, self.kv_heads
            )));
        }
        let numbers = [
            ("attention scale", Some(self.attention_scale)),
            ("attention soft cap", self.attention_soft_cap),
            ("logit soft cap", self.logit_soft_cap),
        ];
        numbers.into_iter().try_for_each(|(name, number)| above_zero(name, number.unwrap_or(1.0)))?;
        self.layers.iter().try_for_each(|layer| self.check_layer(layer))?;
        self.ropes.iter().try_for_each(|rope| self.check_rope(rope))
    }

    fn check_layer(&self, layer: &LayerConfig) -> Result<(), NnError> {
        if layer.window == Some(0) {
            return Err(NnError::InvalidConfig("a sliding window of 0 positions sees nothing".to_owned()));
        }
        if let Some(window) = layer.window.filter(|window| *window > MOST_POSITIONS) {
            return Err(NnError::InvalidConfig(format!(
                "the sliding window is {window}, it must be at most {MOST_POSITIONS}"
            )));
        }
        match self.ropes.get(layer.rope) {
            Some(_) => Ok(()),
            None => Err(NnError::InvalidConfig(format!("there is no rotary embedding {}", layer.rope))),
        }
    }

    fn check_rope(&self, rope: &RopeConfig) -> Result<(), NnError> {
        if rope.dims == 0 || rope.dims > self.head_dim || !rope.dims.is_multiple_of(2) {
            return Err(NnError::InvalidConfig(format!(
                "{} rotated numbers of a head of {} are not an even number of them",
                rope.dims, self.head_dim
            )));
        }
        above_zero("rotary base", rope.base)?;
        rope.scaling.check(rope.dims / 2)
    }
}

impl RopeScaling {
    /// That all its numbers are such, and that there are as many factors as pairs.
    fn check(&self, pairs: usize) -> Result<(), NnError> {
        match self {
            Self::None => Ok(()),
            Self::Linear { factor } => above_zero("rotary factor", *factor),
            Self::Llama3 { factor, low_frequency_factor, high_frequency_factor, .. } => {
                above_zero("rotary factor", *factor)?;
                above_zero("low frequency factor", *low_frequency_factor)?;
                above_zero("high frequency factor", *high_frequency_factor)
            }
            Self::Yarn { factor, beta_fast, beta_slow, attention_factor, .. } => {
                above_zero("rotary factor of yarn", *factor)?;
                above_zero("beta_fast of yarn", *beta_fast)?;
                above_zero("beta_slow of yarn", *beta_slow)?;
                above_zero("attention factor of yarn", *attention_factor)
            }
            Self::LongRope { short, long, attention_factor, .. } => {
                for (name, factors) in [("short", short), ("long", long)] {
                    if factors.len() != pairs {
                        return Err(NnError::InvalidConfig(format!(
                            "{} {name} rotary factors for {pairs} pairs of numbers",
                            factors.len()
                        )));
                    }
                    factors
                        .iter()
                        .try_for_each(|factor| above_zero(&format!("{name} rotary factor"), *factor))?;
                }
                above_zero("attention factor of longrope", *attention_factor)
            }
            Self::Stored { attention_factor, .. } => above_zero("rotary attention factor", *attention_factor),
        }
    }
}

/// Refuses what nothing can be divided or stretched by.
fn above_zero(name: &str, number: f32) -> Result<(), NnError> {
    match number.is_finite() && number > 0.0 {
        true => Ok(()),
        false => Err(NnError::InvalidConfig(format!("the {name} is {number}, it must be a number above 0"))),
    }
}
