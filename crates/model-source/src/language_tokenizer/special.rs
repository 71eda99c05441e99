//! Special tokens by their meaning.

/// What ends a turn, in the spellings of the model families.
const END_OF_TURN: &[&str] = &[
    "<|eot_id|>",            // Llama 3
    "<|im_end|>",            // Qwen, SmolLM, Yi, InternLM
    "<end_of_turn>",         // Gemma
    "<|end|>",               // Phi
    "<|eot|>",               // Llama 4
    "<|END_OF_TURN_TOKEN|>", // Command R
    "<turn|>",               // Gemma 4
    "<end_of_utterance>",    // SmolVLM
];

/// What else ends an answer.
const END_OF_ANSWER: &[&str] = &[
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",            // Llama 3, before a tool's result
    "<｜end▁of▁sentence｜>", // DeepSeek
    CALL,
    RETURN,
];

/// In gpt-oss, `<|end|>` ends one message of several; these end the answer.
const RETURN: &str = "<|return|>";
const CALL: &str = "<|call|>";

/// Special tokens with a known meaning, where the model has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpecialTokens {
    /// The beginning of text.
    pub bos: Option<u32>,
    /// The end of text.
    pub eos: Option<u32>,
    /// The end of a turn in a conversation.
    pub eot: Option<u32>,
    /// What has no token.
    pub unk: Option<u32>,
    /// Padding.
    pub pad: Option<u32>,
    /// All tokens after which a model has said what it had to say, sorted: the end of text, those its files name, and the
    /// known ends of turns.
    pub ends: Vec<u32>,
}

impl SpecialTokens {
    /// Fills in `eot` and `ends` by the known spellings. `special` gives the id of a spelling that is a special token.
    pub(super) fn add_known(&mut self, special: impl Fn(&str) -> Option<u32>) {
        let harmony = special(RETURN).is_some();
        let turns = END_OF_TURN.iter().filter(|name| !(harmony && **name == "<|end|>"));
        let turns: Vec<u32> = turns.filter_map(|name| special(name)).collect();
        self.eot = self.eot.or(turns.first().copied());
        self.ends.extend(self.eos.iter().chain(&self.eot));
        self.ends.extend(turns);
        self.ends.extend(END_OF_ANSWER.iter().filter_map(|name| special(name)));
        self.ends.sort_unstable();
        self.ends.dedup();
    }

    /// The tokens with a meaning of their own, which are never text.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        [self.bos, self.eos, self.eot, self.unk, self.pad]
            .into_iter()
            .flatten()
            .chain(self.ends.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str], eos: u32) -> SpecialTokens {
        let mut tokens = SpecialTokens { eos: Some(eos), ..SpecialTokens::default() };
        tokens.add_known(|name| names.iter().position(|known| *known == name).map(|at| at as u32));
        tokens
    }

    #[test]
    fn ends_are_eos_and_every_known_marker() {
        let chatml = known(&["<|endoftext|>", "<|im_start|>", "<|im_end|>"], 0);
        assert_eq!((chatml.eot, chatml.ends), (Some(2), vec![0, 2]));
        let harmony = known(&["<|return|>", "<|end|>", "<|call|>"], 0);
        assert_eq!((harmony.eot, harmony.ends), (None, vec![0, 2]));
        let phi = known(&["<|endoftext|>", "<|end|>"], 0);
        assert_eq!((phi.eot, phi.ends), (Some(1), vec![0, 1]));
        assert_eq!(known(&[], 9).ends, [9]);
    }
}
