//! How `tokenizer.json` turns tokens into text, as far as language models do it.

use serde_json::Value;
use tokenizers::Tokenizer;

use super::byte_alphabet::ByteAlphabet;
use super::sentence_piece;

/// How the tokenizer turns tokens into text.
#[derive(Default)]
pub(super) struct Decoder {
    byte_level: bool,
    spaces_marked: bool,
    byte_tokens: bool,
    /// Whether a text's first space is taken away again.
    pub(super) strips_space: bool,
}

impl Decoder {
    /// The decoder of a tokenizer, or that it is not known.
    pub(super) fn of(tokenizer: &Tokenizer) -> Result<Self, String> {
        let decoder = tokenizer.get_decoder().map(serde_json::to_value).transpose();
        let decoder = decoder.map_err(|error| format!("has a decoder that cannot be read: {error}"))?;
        let mut steps = Self::default();
        match &decoder {
            None => return Err("has no decoder, so its tokens cannot be turned into text".to_owned()),
            Some(decoder) => steps.add(decoder)?,
        }
        Ok(steps)
    }

    /// Adds a step, or says that it is not known.
    fn add(&mut self, step: &Value) -> Result<(), String> {
        let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default();
        let marks_spaces = |mark: Option<&str>, content: &str| mark == Some("\u{2581}") && content == " ";
        match text("type") {
            "Sequence" => {
                let steps = step.get("decoders").and_then(Value::as_array);
                return steps.into_iter().flatten().try_for_each(|step| self.add(step));
            }
            "ByteLevel" => self.byte_level = true,
            "ByteFallback" => self.byte_tokens = true,
            "Fuse" => {}
            "Replace"
                if marks_spaces(step.pointer("/pattern/String").and_then(Value::as_str), text("content")) =>
            {
                self.spaces_marked = true;
            }
            "Metaspace" if marks_spaces(Some(text("replacement")), " ") => {
                self.spaces_marked = true;
                self.strips_space = text("prepend_scheme") != "never";
            }
            "Strip" if text("content") == " " && step["start"] == 1 && step["stop"] == 0 => {
                self.strips_space = true
            }
            _ => return Err(format!("turns tokens into text in a way that is not known: {step}")),
        }
        Ok(())
    }

    /// Appends the bytes of one token.
    pub(super) fn decode(&self, spelling: &str, added: bool, alphabet: &ByteAlphabet, bytes: &mut Vec<u8>) {
        if self.byte_level && !added {
            alphabet.decode(spelling, bytes);
        } else if self.byte_tokens
            && !added
            && let Some(byte) = sentence_piece::byte(spelling)
        {
            bytes.push(byte);
        } else if self.spaces_marked {
            bytes.extend_from_slice(sentence_piece::unescape(spelling).as_bytes());
        } else {
            bytes.extend_from_slice(spelling.as_bytes());
        }
    }
}
