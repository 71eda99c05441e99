//! Which blocks of the cache hold what: reference counts, and prefixes kept for sequences to come.
//!
//! Pure: it owns numbers, never memory. [`BlockPool`] hands out blocks to [`Table`]s, keeps the full ones of sequences
//! that have gone as cached prefixes, and takes them back, least recently used first, when blocks run out.

mod group;
mod key;
mod pool;
mod prefix;
mod table;

pub(crate) use key::BlockKey;
pub(crate) use pool::{BlockCopy, BlockPool};
pub(crate) use table::Table;
