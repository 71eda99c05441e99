//! How byte-pair vocabularies cut text into words before merging, by the name that GGUF files give it
//! (`tokenizer.ggml.pre`).
//!
//! The expressions are those of the models' published `tokenizer.json`. All of them end in `\s+(?!\S)|\s+`: white space
//! without its last character where a word follows, which goes with that word. [`Stage`] does that by hand, so that the
//! rest is regular and the search linear in the text's length.

use regex::Regex;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
);

const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
);

const DEEPSEEK3: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+"
);

const DIGIT: &str = r"\p{N}";

const UP_TO_THREE_DIGITS: &str = r"\p{N}{1,3}";

const CHINESE_AND_JAPANESE: &str = r"[一-龥\u{3040}-ゟ゠-ヿ]+";

/// How a vocabulary wants its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preparation {
    /// One after the other: what a stage finds and what lies between is cut further by the next.
    stages: &'static [&'static str],
    /// Whether characters are composed first (NFC).
    pub(super) composed: bool,
    /// Whether a word that is a token is taken as it is, even if merging would not lead to it.
    pub(super) whole_words: bool,
    /// Whether text begins with the beginning of text if the file does not say.
    pub(super) bos: bool,
}

impl Preparation {
    /// The preparation of that name, or nothing if it is not known.
    pub(super) fn named(name: &str) -> Option<Self> {
        let plain = |stages| Self { stages, composed: false, whole_words: false, bos: false };
        Some(match name {
            "default" | "gpt-2" | "phi-2" | "olmo" => plain(&[GPT2]),
            "smollm" | "starcoder" | "refact" => plain(&[DIGIT, GPT2]),
            "command-r" => Self { composed: true, ..plain(&[DIGIT, GPT2]) },
            "llama3" | "llama-v3" | "llama-bpe" => Self { whole_words: true, bos: true, ..plain(&[LLAMA3]) },
            "dbrx" | "smaug-bpe" => plain(&[LLAMA3]),
            "qwen2" => Self { composed: true, ..plain(&[QWEN2]) },
            "deepseek-r1-qwen" => plain(&[QWEN2]),
            "tekken" => Self { whole_words: true, bos: true, ..plain(&[TEKKEN]) },
            "gpt-4o" | "llama4" => Self { whole_words: true, ..plain(&[GPT4O]) },
            "deepseek-v3" => plain(&[UP_TO_THREE_DIGITS, CHINESE_AND_JAPANESE, DEEPSEEK3]),
            _ => return None,
        })
    }

    /// The names of all, for messages.
    pub(super) const NAMES: &'static str = "gpt-2, phi-2, olmo, smollm, starcoder, refact, command-r, llama-bpe, dbrx, \
        smaug-bpe, qwen2, deepseek-r1-qwen, tekken, gpt-4o, llama4, deepseek-v3";

    /// What cuts text so, or why the expressions do not compile.
    pub(super) fn splitter(&self) -> Result<Splitter, regex::Error> {
        self.stages
            .iter()
            .map(|stage| Stage::new(stage))
            .collect::<Result<_, _>>()
            .map(|stages| Splitter { stages })
    }
}

/// Cuts text into words.
pub(super) struct Splitter {
    stages: Vec<Stage>,
}

struct Stage {
    expression: Regex,
    /// Whether white space leaves its last character to the word that follows.
    leaves_space: bool,
    /// Whether white space that ends a line is a word of its own.
    ends_lines: bool,
}

impl Stage {
    fn new(expression: &str) -> Result<Self, regex::Error> {
        Ok(Self {
            expression: Regex::new(expression)?,
            leaves_space: expression.ends_with(r"|\s+"),
            ends_lines: expression.contains(r"|\s*[\r\n]+|"),
        })
    }

    /// Where a word ends that the expression found.
    fn end(&self, text: &str, start: usize, end: usize) -> usize {
        let word = &text[start..end];
        let whole = !self.leaves_space
            || end == text.len()
            || !word.chars().all(char::is_whitespace)
            || self.ends_lines && word.ends_with(['\r', '\n']);
        match word.char_indices().next_back() {
            Some((last, _)) if !whole && last > 0 => start + last,
            _ => end,
        }
    }
}

impl Splitter {
    /// Calls `word` with each word from left to right. Nothing of the text is left out.
    pub(super) fn split<'a>(&self, text: &'a str, mut word: impl FnMut(&'a str)) {
        cut(&self.stages, text, &mut word);
    }
}

fn cut<'a>(stages: &[Stage], text: &'a str, word: &mut impl FnMut(&'a str)) {
    let Some((stage, later)) = stages.split_first() else {
        word(text);
        return;
    };
    let mut at = 0;
    while let Some(found) = stage.expression.find_at(text, at) {
        let end = stage.end(text, found.start(), found.end());
        if at < found.start() {
            cut(later, &text[at..found.start()], word);
        }
        cut(later, &text[found.start()..end], word);
        at = end;
    }
    if at < text.len() {
        cut(later, &text[at..], word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
        let mut words = Vec::new();
        Preparation::named(name).unwrap().splitter().unwrap().split(text, |word| words.push(word));
        words
    }

    #[test]
    fn white_space_leaves_its_last_character_to_the_next_word() {
        assert_eq!(words("gpt-2", "a  b \n\n c  "), ["a", " ", " b", " \n\n", " c", "  "]);
        assert_eq!(words("llama-bpe", "a  b \n\n c  "), ["a", " ", " b", " \n\n", " c", "  "]);
        assert_eq!(words("gpt-2", "a\n\nb"), ["a", "\n", "\n", "b"]);
        assert_eq!(words("llama-bpe", "a\n\nb"), ["a", "\n\n", "b"]);
        assert_eq!(words("llama-bpe", "a \u{3000}b"), ["a", " ", "\u{3000}b"]);
    }

    #[test]
    fn digits_go_as_the_model_wants_them() {
        assert_eq!(words("gpt-2", "x 12345"), ["x", " 12345"]);
        assert_eq!(words("smollm", "x 123"), ["x", " ", "1", "2", "3"]);
        assert_eq!(words("llama-bpe", "x 12345"), ["x", " ", "123", "45"]);
        assert_eq!(words("qwen2", "x 12"), ["x", " ", "1", "2"]);
        assert_eq!(words("deepseek-v3", "国1234.Ab"), ["国", "123", "4", ".Ab"]);
    }

    #[test]
    fn every_name_compiles_and_loses_nothing() {
        let text = "It's 1,000 'DON’T'\r\n\t\u{a0}x\u{301}é 中文カナ한국 👩‍👩‍👧\u{0}  \n  end \u{2028} ";
        for name in Preparation::NAMES.split(", ").chain(["default", "llama3", "llama-v3"]) {
            assert_eq!(words(name, text).concat(), text, "{name}");
        }
        assert_eq!(Preparation::named("gpt-5"), None);
    }
}
