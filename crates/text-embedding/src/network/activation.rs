use candle_core::{Result, Tensor};
use candle_nn::ops::sigmoid;

/// A function applied to each component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Identity,
    /// With the error function.
    Gelu,
    /// The approximation by a hyperbolic tangent.
    GeluTanh,
    Relu,
    Silu,
    Tanh,
    Sigmoid,
}

impl Activation {
    /// By the name transformers gives it in `hidden_act`.
    pub(crate) fn of_transformers(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast" | "gelu_accurate" => {
                Self::GeluTanh
            }
            "relu" => Self::Relu,
            "silu" | "swish" => Self::Silu,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            "linear" => Self::Identity,
            _ => return None,
        })
    }

    /// By the name of torch's class.
    pub(crate) fn of_torch(path: &str) -> Option<Self> {
        let class =
            path.strip_prefix("torch.nn.modules.activation.").or_else(|| path.strip_prefix("torch.nn."));
        Some(match class {
            Some("Tanh") => Self::Tanh,
            Some("ReLU") => Self::Relu,
            Some("Sigmoid") => Self::Sigmoid,
            Some("GELU") => Self::Gelu,
            Some("SiLU") => Self::Silu,
            Some("Identity" | "modules.linear.Identity") => Self::Identity,
            _ => return None,
        })
    }

    pub(super) fn apply(self, xs: Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(xs),
            Self::Gelu => xs.gelu_erf(),
            Self::GeluTanh => xs.gelu(),
            Self::Relu => xs.relu(),
            Self::Silu => xs.silu(),
            Self::Tanh => xs.tanh(),
            Self::Sigmoid => sigmoid(&xs),
        }
    }

    /// Of one number.
    pub(crate) fn of(self, x: f32) -> f32 {
        match self {
            Self::Sigmoid => (1.0 / (1.0 + (-f64::from(x)).exp())) as f32,
            Self::Tanh => f64::from(x).tanh() as f32,
            Self::Relu => x.max(0.0),
            Self::Silu => x * Self::Sigmoid.of(x),
            // No score is passed through the others: see `checkpoint`.
            Self::Identity | Self::Gelu | Self::GeluTanh => x,
        }
    }
}
