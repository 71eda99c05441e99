use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many seeds this process has drawn.
static DRAWN: AtomicU64 = AtomicU64::new(0);

/// A seed that nobody can foresee, for a call that gives none: of 32 bits, as the generator takes no more. The system's
/// randomness is behind the hasher's keys.
pub(super) fn draw() -> u64 {
    RandomState::new().hash_one(DRAWN.fetch_add(1, Ordering::Relaxed)) >> 32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::draw;

    #[test]
    fn seeds_differ_and_have_32_bits() {
        let seeds: HashSet<u64> = (0..100).map(|_| draw()).collect();
        assert!(seeds.len() > 98, "{}", seeds.len());
        assert!(seeds.iter().all(|seed| *seed <= u64::from(u32::MAX)));
    }
}
