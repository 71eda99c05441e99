use std::sync::Arc;

/// Draws names that a session's clients meet nowhere else. They are no secret: whoever has one can do nothing with it
/// elsewhere.
#[derive(Clone, Debug)]
pub(in crate::session) struct Ids {
    state: u64,
}

impl Ids {
    pub(in crate::session) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A name such as `item_0b9s3k...`: 21 letters and digits.
    pub(super) fn draw(&mut self, prefix: &str) -> Arc<str> {
        const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let mut bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        let mut name = format!("{prefix}_");
        for _ in 0..21 {
            name.push(char::from(LETTERS[(bits & 31) as usize]));
            bits >>= 5;
        }
        name.into()
    }

    /// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
