/// Turns the bytes of tokens into text as they come, and never splits a character.
///
/// Bytes that are no UTF-8 become U+FFFD, as [`String::from_utf8_lossy`] has it.
#[derive(Clone, Default, Debug)]
pub(crate) struct Detokenizer {
    /// The beginning of a character: at most three bytes.
    held: Vec<u8>,
}

impl Detokenizer {
    /// Adds a token's bytes, and gives the characters that are complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.held.len());
        let mut rest = self.held.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    // Without a length, more bytes may complete it.
                    let Some(invalid) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[invalid..];
                }
            }
        }
        self.held = rest.to_vec();
        text
    }

    /// Whether the beginning of a character is held back.
    pub(crate) fn is_within_character(&self) -> bool {
        !self.held.is_empty()
    }

    /// What was held back, now that nothing follows.
    pub(crate) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn in_pieces(bytes: &[u8], cuts: &[usize]) -> (Vec<String>, String) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut detokenizer = Detokenizer::default();
        let mut pieces = Vec::new();
        let mut from = 0;
        for to in cuts.into_iter().chain([bytes.len()]) {
            pieces.push(detokenizer.push(&bytes[from..to]));
            assert!(detokenizer.held.len() <= 3);
            from = to;
        }
        (pieces, detokenizer.finish())
    }

    proptest! {
        #[test]
        fn text_is_never_split_within_a_character(text in "\\PC{0,20}", cuts in prop::collection::vec(any::<usize>(), 0..20)) {
            let (pieces, rest) = in_pieces(text.as_bytes(), &cuts);
            prop_assert_eq!(pieces.concat(), text);
            prop_assert_eq!(rest, "");
        }

        #[test]
        fn any_bytes_come_to_what_they_do_whole(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0xC0_u8..=0xF4, 0x80_u8..=0xBF], 0..24), cuts in prop::collection::vec(any::<usize>(), 0..20)) {
            let (pieces, rest) = in_pieces(&bytes, &cuts);
            prop_assert_eq!(pieces.concat() + &rest, String::from_utf8_lossy(&bytes));
        }
    }
}
