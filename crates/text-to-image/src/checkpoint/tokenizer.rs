//! CLIP's tokenizer, from either form of its folder.

use model_source::{ModelFiles, SourceError};
use serde_json::{Map, Value, json};
use tokenizers::{AddedToken, Tokenizer};

use crate::error::Error;

/// A tokenizer, and the tokens around a text.
#[derive(Debug)]
pub(crate) struct ClipTokenizer {
    tokenizer: Tokenizer,
    /// Before each text.
    pub(crate) begin: u32,
    /// Behind it.
    pub(crate) end: u32,
    /// What texts are filled up with: the end's for most, `!` for the second generation of CLIP.
    pub(crate) pad: u32,
    /// Tokens of a text at most, those around it included, where the folder says so.
    pub(crate) longest: Option<usize>,
}

/// What the class has where the folder says nothing.
const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// What a text is split into before its bytes are looked at.
const PATTERN: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

impl ClipTokenizer {
    /// Reads the folder of a tokenizer. Blocks.
    pub(crate) fn read(files: &ModelFiles) -> Result<Self, Error> {
        let (mut tokenizer, label) = match files.get("tokenizer.json") {
            Some(file) => (files.tokenizer()?, file.label().to_owned()),
            None => from_parts(files)?,
        };
        let wrong = |reason: String| Error::Checkpoint { place: label.clone(), reason };
        tokenizer.with_truncation(None).map_err(|error| wrong(error.to_string()))?;
        tokenizer.with_padding(None);
        let settings = Settings::read(files)?;
        let special = |name: &str, default: &str| settings.token(name).unwrap_or_else(|| special(default));
        let (begin, end) = (special("bos_token", BEGIN), special("eos_token", END));
        let (pad, unknown) = (special("pad_token", END), special("unk_token", END));
        let id = |name: &str, token: &AddedToken| {
            let id = tokenizer.token_to_id(&token.content);
            id.ok_or_else(|| wrong(format!("has no token {:?}, its {name}", token.content)))
        };
        let (begin_id, end_id) = (id("bos_token", &begin)?, id("eos_token", &end)?);
        let pad_id = id("pad_token", &pad)?;
        id("unk_token", &unknown)?;
        // As the reference does, each is one token wherever it stands in a text.
        let named = [begin, end, pad, unknown];
        tokenizer.add_special_tokens(named).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { begin: begin_id, end: end_id, pad: pad_id, longest: settings.longest(), tokenizer })
    }

    /// The largest token there is.
    pub(crate) fn largest(&self) -> u32 {
        self.tokenizer.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// A text's tokens, without those around it. Blocks.
    pub(crate) fn tokens(&self, text: &str) -> Result<Vec<u32>, String> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let encoding = encoding.map_err(|error| format!("the prompt cannot be tokenised: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// What the files beside a vocabulary say.
struct Settings {
    config: Map<String, Value>,
    /// `special_tokens_map.json`, which counts more, unless the configuration lists all added tokens.
    map: Map<String, Value>,
}

impl Settings {
    fn read(files: &ModelFiles) -> Result<Self, SourceError> {
        let config: Map<String, Value> = files.json_if_any("tokenizer_config.json")?.unwrap_or_default();
        let map = match config.contains_key("added_tokens_decoder") {
            true => Map::new(),
            false => files.json_if_any("special_tokens_map.json")?.unwrap_or_default(),
        };
        Ok(Self { config, map })
    }

    fn token(&self, name: &str) -> Option<AddedToken> {
        [&self.map, &self.config].into_iter().find_map(|fields| match fields.get(name)? {
            Value::String(content) => Some(special(content)),
            token => Some(AddedToken {
                lstrip: token["lstrip"].as_bool().unwrap_or(false),
                rstrip: token["rstrip"].as_bool().unwrap_or(false),
                single_word: token["single_word"].as_bool().unwrap_or(false),
                normalized: token["normalized"].as_bool().unwrap_or(false),
                ..special(token["content"].as_str()?)
            }),
        })
    }

    /// Configurations without a limit have a number beyond any.
    fn longest(&self) -> Option<usize> {
        let longest = self.config.get("model_max_length")?.as_u64()?;
        usize::try_from(longest).ok().filter(|longest| *longest < 1 << 20)
    }
}

fn special(content: &str) -> AddedToken {
    AddedToken::from(content, true).normalized(false)
}

/// The tokenizer of `vocab.json` and `merges.txt`, with everything around them that the class has.
fn from_parts(files: &ModelFiles) -> Result<(Tokenizer, String), Error> {
    let missing = |hint: &str| SourceError::MissingFile {
        place: files.place().to_owned(),
        file: "tokenizer".to_owned(),
        hint: hint.to_owned(),
    };
    let Some(file) = files.get("vocab.json") else {
        return Err(missing(" (vocab.json with merges.txt, or tokenizer.json)").into());
    };
    let Some(merges) = files.text_if_any("merges.txt")? else {
        return Err(missing(": it has vocab.json, and no merges.txt beside it").into());
    };
    let vocabulary: Map<String, Value> = files.json("vocab.json")?;
    let lines = merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
    let merges: Vec<Value> = lines.map(|line| json!(line.split_whitespace().collect::<Vec<_>>())).collect();
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "model": {
            "type": "BPE", "unk_token": END, "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
            "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": merges,
        },
    });
    let tokenizer = Tokenizer::from_bytes(tokenizer.to_string()).map_err(|error| {
        let reason = format!("is no vocabulary of CLIP, or merges.txt does not belong to it: {error}");
        SourceError::InvalidFile { file: file.label().to_owned(), reason }
    })?;
    Ok((tokenizer, file.label().to_owned()))
}
