//! The number type a model computes in.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::SourceError;

/// The number type asked for by `--dtype` and `dtype = "..."`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// What suits the device: f32 on a CPU, the stored type elsewhere.
    #[default]
    Auto,
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point, IEEE.
    F16,
    /// 16-bit floating point, brain.
    Bf16,
    /// 8-bit integers with scales, where the model supports it.
    Int8,
}

impl Dtype {
    /// Every spelling that [`FromStr`] accepts.
    pub const NAMES: [&'static str; 5] = ["auto", "f32", "f16", "bf16", "int8"];

    /// The tensor library's type to load weights of type `stored` as.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] for [`Dtype::Int8`], which a model must ask about before it comes here.
    pub fn on(self, device: &Device, stored: DType) -> Result<DType, SourceError> {
        match self {
            Self::F32 => Ok(DType::F32),
            Self::F16 => Ok(DType::F16),
            Self::Bf16 => Ok(DType::BF16),
            Self::Auto if !device.is_cpu() && matches!(stored, DType::F16 | DType::BF16) => Ok(stored),
            Self::Auto => Ok(DType::F32),
            Self::Int8 => Err(SourceError::Unsupported {
                what: "dtype int8".to_owned(),
                reason: "this model computes in floating point; use auto or f32".to_owned(),
            }),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES[*self as usize])
    }
}

impl FromStr for Dtype {
    type Err = SourceError;

    fn from_str(given: &str) -> Result<Self, SourceError> {
        match given {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            _ => Err(SourceError::InvalidOption {
                name: "dtype".to_owned(),
                value: given.to_owned(),
                reason: format!("a dtype is one of {}", Self::NAMES.join(", ")),
            }),
        }
    }
}

impl Serialize for Dtype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dtype {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_what_prints_it() {
        for name in Dtype::NAMES {
            assert_eq!(name.parse::<Dtype>().unwrap().to_string(), name);
        }
        let error = "fp8".parse::<Dtype>().unwrap_err().to_string();
        assert_eq!(error, "dtype is \"fp8\": a dtype is one of auto, f32, f16, bf16, int8");
    }

    #[test]
    fn a_cpu_computes_in_f32_unless_told_otherwise() {
        assert_eq!(Dtype::Auto.on(&Device::Cpu, DType::BF16).unwrap(), DType::F32);
        assert_eq!(Dtype::Bf16.on(&Device::Cpu, DType::F32).unwrap(), DType::BF16);
        assert!(Dtype::Int8.on(&Device::Cpu, DType::F32).is_err());
    }
}
