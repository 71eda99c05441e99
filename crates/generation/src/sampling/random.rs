/// A number from 0 up to 1 that is a function of the seed, the position and the choice alone.
pub(super) fn uniform(seed: u64, position: u64, choice: u32) -> f64 {
    let counter = [position as u32, (position >> 32) as u32, choice, 0];
    let words = philox([seed as u32, (seed >> 32) as u32], counter);
    let bits = u64::from(words[0]) << 32 | u64::from(words[1]);
    // As many bits as a double's fraction has.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Philox4x32 with ten rounds.
///
/// Salmon, Moraes, Dror and Shaw, *Parallel Random Numbers: As Easy as 1, 2, 3*, section 3.
fn philox(mut key: [u32; 2], mut counter: [u32; 4]) -> [u32; 4] {
    for _ in 0..10 {
        let first = u64::from(counter[0]) * 0xD251_1F53;
        let second = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the paper's own library.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([!0; 2], [!0; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let digits_of_pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let answer = philox([0xa409_3822, 0x299f_31d0], digits_of_pi);
        assert_eq!(answer, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn each_of_seed_position_and_choice_matters() {
        let numbers = [uniform(1, 2, 3), uniform(9, 2, 3), uniform(1, 9, 3), uniform(1, 2, 9)];
        for (index, one) in numbers.iter().enumerate() {
            assert!((0.0..1.0).contains(one));
            assert!(numbers[index + 1..].iter().all(|other| other != one));
        }
    }
}
