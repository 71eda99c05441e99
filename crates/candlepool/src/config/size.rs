//! Sizes as configuration and flags spell them: `6GiB`, `512MB`.

use std::fmt;
use std::str::FromStr;

use pool_core::Bytes;
use serde::de::{self, Deserialize, Deserializer};

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl Size {
    pub(crate) const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    pub(crate) const fn bytes(self) -> Bytes {
        Bytes(self.0)
    }

    /// The size as an index into memory; saturates on machines with narrower pointers.
    pub(crate) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1000_u64.pow(2)),
    ("GB", 1000_u64.pow(3)),
    ("TB", 1000_u64.pow(4)),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A text that is no size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InvalidSize(String);

impl fmt::Display for InvalidSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no size: write a number and one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, such as \"6GiB\"",
            self.0
        )
    }
}

impl std::error::Error for InvalidSize {}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let invalid = || InvalidSize(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let (number, unit) = text.split_at(digits);
        let unit = unit.strip_prefix(' ').unwrap_or(unit);
        let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let bytes = match number.split_once('.') {
            None => number.parse::<u64>().ok().and_then(|whole| whole.checked_mul(scale)),
            Some((whole, part)) => fraction(whole, part, scale),
        };
        bytes.map(Self).ok_or_else(invalid)
    }
}

/// `whole.part` times `scale`, in integers; so many decimals that it would overflow are refused.
fn fraction(whole: &str, part: &str, scale: u64) -> Option<u64> {
    let whole: u128 = whole.parse().ok()?;
    let decimals = u32::try_from(part.len()).ok().filter(|decimals| (1..=9).contains(decimals))?;
    let part: u128 = part.parse().ok()?;
    let scale = u128::from(scale);
    let bytes = whole.checked_mul(scale)? + part * scale / 10_u128.pow(decimals);
    u64::try_from(bytes).ok()
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = ["B", "KiB", "MiB", "GiB", "TiB"];
        let step = (0..unit.len()).rev().find(|step| self.0 >= 1 << (10 * step)).unwrap_or(0);
        if step == 0 {
            return write!(f, "{} B", self.0);
        }
        write!(f, "{:.1} {}", self.0 as f64 / (1_u64 << (10 * step)) as f64, unit[step])
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"6GiB\", or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(|_| E::custom(InvalidSize(bytes.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        let size = |text: &str| text.parse::<Size>().map(|size| size.0).ok();
        assert_eq!(size("6GiB"), Some(6 << 30));
        assert_eq!(size("512MB"), Some(512_000_000));
        assert_eq!(size("1.5 GiB"), Some(3 << 29));
        assert_eq!(size("0.1kB"), Some(100));
        assert_eq!(size("0B"), Some(0));
        for wrong in [
            "",
            "6",
            "GiB",
            "6 gigs",
            "6gib",
            "-1GiB",
            "1e3MB",
            "1.MB",
            ".5MB",
            "1.2.3MB",
            " 6GiB",
            "6GiB ",
            "6  GiB",
            "99999999999TiB",
            "18446744073709551616B",
            "1,5GiB",
            "0.0000000001GiB",
            "٣MB",
            "NaNGB",
            "6GiBB",
        ] {
            assert_eq!(size(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(Size(0).to_string(), "0 B");
        assert_eq!(Size(1023).to_string(), "1023 B");
        assert_eq!(Size(9_437_184).to_string(), "9.0 MiB");
        assert_eq!(Size(u64::MAX).to_string(), "16777216.0 TiB");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,12}", number in 0_u64.., unit in 0..UNITS.len()) {
            let _ = text.parse::<Size>();
            let (name, scale) = UNITS[unit];
            let parsed = format!("{number}{name}").parse::<Size>().ok().map(|size| size.0);
            proptest::prop_assert_eq!(parsed, number.checked_mul(scale));
        }
    }
}
