//! How byte-level vocabularies spell bytes: one printable character each. ASCII and Latin-1 characters that can be seen
//! stand for themselves, the other bytes, in order, for the characters from U+0100 on.
//!
//! From GPT-2: <https://github.com/openai/gpt-2/blob/master/src/encoder.py>, `bytes_to_unicode`.

/// The first character that does not stand for itself.
const FIRST: u32 = 0x100;

/// How many bytes do not stand for themselves.
const OTHERS: usize = 68;

/// Whether a byte's own character can be seen.
fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The alphabet, both ways.
pub(super) struct ByteAlphabet {
    characters: [char; 256],
    others: [u8; OTHERS],
}

impl ByteAlphabet {
    pub(super) fn new() -> Self {
        let mut alphabet = Self { characters: ['\0'; 256], others: [0; OTHERS] };
        let mut next = 0;
        for byte in 0..=u8::MAX {
            alphabet.characters[usize::from(byte)] = if stands_for_itself(byte) {
                char::from(byte)
            } else {
                alphabet.others[next] = byte;
                next += 1;
                char::from_u32(FIRST + next as u32 - 1).unwrap_or_default()
            };
        }
        alphabet
    }

    /// The character that spells a byte.
    pub(super) fn character(&self, byte: u8) -> char {
        self.characters[usize::from(byte)]
    }

    /// The byte that a character spells, if it spells one.
    fn byte(&self, character: char) -> Option<u8> {
        match u8::try_from(character) {
            Ok(byte) => stands_for_itself(byte).then_some(byte),
            Err(_) => self.others.get((u32::from(character) - FIRST) as usize).copied(),
        }
    }

    /// Appends the bytes that a token's spelling stands for. A spelling with other characters stands for itself.
    pub(super) fn decode(&self, spelling: &str, bytes: &mut Vec<u8>) {
        let begin = bytes.len();
        for character in spelling.chars() {
            let Some(byte) = self.byte(character) else {
                bytes.truncate(begin);
                bytes.extend_from_slice(spelling.as_bytes());
                return;
            };
            bytes.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_back() {
        let alphabet = ByteAlphabet::new();
        for byte in 0..=u8::MAX {
            assert_eq!(alphabet.byte(alphabet.character(byte)), Some(byte));
        }
        // As published: a space is Ġ, a newline Ċ, the last one 0xAD.
        assert_eq!([b' ', b'\n', 0xAD].map(|byte| alphabet.character(byte)), ['Ġ', 'Ċ', 'Ń']);
        assert_eq!(['\u{144}', '中', ' '].map(|character| alphabet.byte(character)), [None; 3]);
        let mut bytes = b"x".to_vec();
        alphabet.decode("Ġé", &mut bytes);
        alphabet.decode("Ġ中", &mut bytes);
        assert_eq!(bytes, b"x \xe9\xc4\xa0\xe4\xb8\xad");
    }
}
