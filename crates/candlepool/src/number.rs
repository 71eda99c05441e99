//! Numbers as requests and configuration give them, refused in words that are not a type's name.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// A whole number from `LEAST` to 2^32 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Whole<const LEAST: u32>(u32);

impl<const LEAST: u32> Whole<LEAST> {
    /// A number that is known to be in the range.
    pub(crate) const fn of(number: u32) -> Self {
        assert!(number >= LEAST, "not in the range");
        Self(number)
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    /// The number as one of entries; every machine this runs on can count so far.
    pub(crate) const fn count(self) -> usize {
        self.0 as usize
    }
}

impl<'de, const LEAST: u32> Deserialize<'de> for Whole<LEAST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

struct WholeVisitor<const LEAST: u32>;

impl<const LEAST: u32> Visitor<'_> for WholeVisitor<LEAST> {
    type Value = Whole<LEAST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {LEAST} to {}", u32::MAX)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole<LEAST>, E> {
        let in_range = u32::try_from(number).ok().filter(|number| *number >= LEAST);
        in_range.map(Whole).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole<LEAST>, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}

/// A number, with a fraction or without.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Real(pub(crate) f32);

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Double::deserialize(deserializer).map(|Double(number)| Self(number as f32))
    }
}

/// The same, as exact as it is sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Double(pub(crate) f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DoubleVisitor;

        impl Visitor<'_> for DoubleVisitor {
            type Value = Double;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Double, E> {
                Ok(Double(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Double, E> {
                Ok(Double(number as f64))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Double, E> {
                Ok(Double(number as f64))
            }
        }

        deserializer.deserialize_any(DoubleVisitor)
    }
}

/// A whole number of 64 bits, with a sign or without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Integer(i128);

impl Integer {
    /// Its low 64 bits: different for numbers that differ within either range.
    pub(crate) const fn bits(self) -> u64 {
        self.0 as u64
    }

    pub(crate) const fn get(self) -> i128 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;

        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of at most 64 bits")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Integer, E> {
                Ok(Integer(number.into()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Integer, E> {
                Ok(Integer(number.into()))
            }
        }

        deserializer.deserialize_any(IntegerVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_its_range_is_told_with_the_range() {
        let read = |text: &str| serde_json::from_str::<Whole<1>>(text).map_err(|error| error.to_string());
        assert_eq!(read("1").map(Whole::count), Ok(1));
        assert_eq!(read("4294967295").map(Whole::count), Ok(4_294_967_295));
        for wrong in
            ["0", "-1", "4294967296", "1.5", "true", "\"1\"", "null", "18446744073709551615", "1e400"]
        {
            let error = read(wrong).unwrap_err();
            assert!(
                error.contains("expected a whole number from 1 to 4294967295") || wrong == "1e400",
                "{wrong}: {error}"
            );
            assert!(!error.contains("u32"), "{error}");
        }
    }

    #[test]
    fn numbers_are_refused_without_the_name_of_a_type() {
        let real = |text: &str| serde_json::from_str::<Real>(text).map_err(|error| error.to_string());
        assert_eq!((real("1"), real("-0.5"), real("1e2")), (Ok(Real(1.0)), Ok(Real(-0.5)), Ok(Real(100.0))));
        assert!(real("\"hot\"").unwrap_err().contains("expected a number"));
        let integer = |text: &str| serde_json::from_str::<Integer>(text).map_err(|error| error.to_string());
        assert_eq!(integer("-1").map(Integer::bits), Ok(u64::MAX));
        assert_eq!(integer("18446744073709551615").map(Integer::get), Ok(u64::MAX.into()));
        for wrong in ["1.5", "\"1\"", "18446744073709551616"] {
            assert!(integer(wrong).unwrap_err().contains("expected a whole number"), "{wrong}");
        }
    }
}
