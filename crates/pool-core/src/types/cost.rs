use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0);
            /// More of it than there can be: no limit.
            pub const MAX: Self = Self(u64::MAX);

            /// The bare number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The difference, or zero where `other` is larger.
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            /// Saturates: a sum past the largest number is the largest number.
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;
            /// Saturates at zero.
            fn sub(self, other: Self) -> Self {
                self.saturating_sub(other)
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", $unit), self.0)
            }
        }
    };
}

quantity! {
    /// A number of tokens (or of what a modality counts in their place: patches, latent pixels times steps).
    Tokens, "tokens"
}

quantity! {
    /// A number of bytes.
    Bytes, "bytes"
}

/// What a job asks of a model: how much it must compute and how much of the input must be kept.
///
/// Tokens order, share and batch jobs; bytes bound the memory that waiting inputs take.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Cost {
    /// Tokens to be computed.
    pub tokens: Tokens,
    /// Bytes of input held until the job ends.
    pub bytes: Bytes,
}

impl Cost {
    /// Nothing at all.
    pub const ZERO: Self = Self { tokens: Tokens::ZERO, bytes: Bytes::ZERO };

    /// A cost of so many tokens and bytes.
    pub const fn new(tokens: u64, bytes: u64) -> Self {
        Self { tokens: Tokens(tokens), bytes: Bytes(bytes) }
    }

    /// Whether both parts are at most those of `limit`.
    pub fn fits(&self, limit: &Self) -> bool {
        self.tokens <= limit.tokens && self.bytes <= limit.bytes
    }
}

impl Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { tokens: self.tokens + other.tokens, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Cost {
    type Output = Self;
    /// Saturates at zero in each part.
    fn sub(self, other: Self) -> Self {
        Self { tokens: self.tokens - other.tokens, bytes: self.bytes - other.bytes }
    }
}

impl SubAssign for Cost {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.tokens, self.bytes)
    }
}
