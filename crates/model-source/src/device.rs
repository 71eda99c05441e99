//! The device a model runs on.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use candle_core::utils::{cuda_is_available, metal_is_available};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::SourceError;

/// The device asked for by `--device` and `device = "..."`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// The first accelerator this build supports and the machine has, or else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of that index.
    Cuda(usize),
    /// The Metal device of that index.
    Metal(usize),
}

impl DeviceChoice {
    /// Opens the device. Blocks: an accelerator takes a while.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] if this build has no support for it or the machine no such device.
    pub fn open(self) -> Result<Device, SourceError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if cuda_is_available() => Ok(Device::new_cuda(0).unwrap_or(Device::Cpu)),
            Self::Auto if metal_is_available() => Ok(Device::new_metal(0).unwrap_or(Device::Cpu)),
            Self::Auto => Ok(Device::Cpu),
            Self::Cuda(_) if !cuda_is_available() => Err(self.unsupported("this build has no CUDA; use cpu")),
            Self::Metal(_) if !metal_is_available() => {
                Err(self.unsupported("this build has no Metal; use cpu"))
            }
            Self::Cuda(index) => Device::new_cuda(index).map_err(|error| self.unsupported(error)),
            Self::Metal(index) => Device::new_metal(index).map_err(|error| self.unsupported(error)),
        }
    }

    fn unsupported(self, reason: impl fmt::Display) -> SourceError {
        // What the driver says may go on for lines; the first says what is wrong.
        let reason = reason.to_string();
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        SourceError::Unsupported { what: format!("device {self}"), reason }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal(index) => write!(f, "metal:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = SourceError;

    fn from_str(given: &str) -> Result<Self, SourceError> {
        let (kind, index) = match given.split_once(':') {
            Some((kind, index)) => (kind, index.parse().ok()),
            None => (given, Some(0)),
        };
        match (kind, index) {
            ("auto", _) if given == "auto" => Ok(Self::Auto),
            ("cpu", _) if given == "cpu" => Ok(Self::Cpu),
            ("cuda", Some(index)) => Ok(Self::Cuda(index)),
            ("metal", Some(index)) => Ok(Self::Metal(index)),
            _ => Err(SourceError::InvalidOption {
                name: "device".to_owned(),
                value: given.to_owned(),
                reason: "a device is auto, cpu, cuda, cuda:N, metal or metal:N".to_owned(),
            }),
        }
    }
}

impl Serialize for DeviceChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_others_are_refused() {
        for name in ["auto", "cpu", "cuda:3", "metal:0"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for name in ["", "gpu", "cpu:0", "auto:1", "cuda:x", "cuda:-1", "cuda:"] {
            let error = name.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains("a device is auto, cpu"), "{error}");
        }
    }

    #[test]
    fn what_the_build_lacks_is_refused_by_name() {
        assert!(DeviceChoice::Cpu.open().unwrap().is_cpu());
        assert!(DeviceChoice::Auto.open().is_ok());
        if !cuda_is_available() {
            let error = DeviceChoice::Cuda(0).open().unwrap_err().to_string();
            assert_eq!(error, "device cuda:0 is not available: this build has no CUDA; use cpu");
        }
    }
}
