//! The tokenizer of a model in Hugging Face layout: `tokenizer.json` through its own library, and what the files beside it
//! say about special tokens.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{AddedToken, AddedVocabulary, Model as _, OffsetType, PreTokenizer as _, Tokenizer};

use super::Special;
use super::byte_alphabet::ByteAlphabet;
use super::sentence_piece;
use super::special::SpecialTokens;
use super::vocabulary::Vocabulary;
use crate::{ModelFiles, SourceError};

/// A tokenizer that was read from `tokenizer.json`.
pub(super) struct JsonTokenizer {
    tokenizer: Tokenizer,
    /// The added tokens, of which only those that are text are found.
    plain: AddedVocabulary,
    /// What [`Special::Add`] puts before and after a text, where the configuration says so; else the tokenizer knows.
    around: Option<(Option<u32>, Option<u32>)>,
}

/// A token's spelling: itself, or with properties.
#[derive(Deserialize)]
#[serde(untagged)]
enum Spelling {
    Plain(String),
    Token { content: String },
}

impl Spelling {
    fn content(&self) -> &str {
        match self {
            Self::Plain(content) | Self::Token { content } => content,
        }
    }
}

/// What is read of `tokenizer_config.json`.
#[derive(Default, Deserialize)]
struct Config {
    bos_token: Option<Spelling>,
    eos_token: Option<Spelling>,
    unk_token: Option<Spelling>,
    pad_token: Option<Spelling>,
    #[serde(default)]
    additional_special_tokens: Option<Vec<Spelling>>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    #[serde(default)]
    added_tokens_decoder: Option<BTreeMap<String, Added>>,
}

/// An added token as `tokenizer_config.json` tells it.
#[derive(Deserialize)]
struct Added {
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

/// What is read of `generation_config.json`.
#[derive(Default, Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<Ids>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

/// Reads the tokenizer of a model.
pub(super) fn open(files: &ModelFiles) -> Result<(JsonTokenizer, Vocabulary, SpecialTokens), SourceError> {
    let config: Config = files.json_if_any("tokenizer_config.json")?.unwrap_or_default();
    let generation: GenerationConfig = files.json_if_any("generation_config.json")?.unwrap_or_default();
    let label = files.require("tokenizer.json")?.label();
    let invalid = |reason: String| SourceError::InvalidFile { file: label.to_owned(), reason };
    let mut tokenizer = files.tokenizer()?;
    // Whole texts are wanted, and nothing but them.
    tokenizer.with_padding(None);
    let settled = tokenizer.with_truncation(None).map(|_| ());
    settled
        .and_then(|()| add_tokens(&mut tokenizer, &config))
        .map_err(|error| invalid(format!("cannot take the tokens of tokenizer_config.json: {error}")))?;
    let vocabulary = vocabulary(&tokenizer).map_err(invalid)?;
    let (vocabulary, special) = special_tokens(&tokenizer, vocabulary, &config, generation);
    let around = (config.add_bos_token.is_some() || config.add_eos_token.is_some()).then(|| {
        (
            special.bos.filter(|_| config.add_bos_token == Some(true)),
            special.eos.filter(|_| config.add_eos_token == Some(true)),
        )
    });
    let mut plain = tokenizer.get_added_vocabulary().clone();
    plain.set_encode_special_tokens(true);
    Ok((JsonTokenizer { tokenizer, plain, around }, vocabulary, special))
}

impl JsonTokenizer {
    pub(super) fn encode(&self, text: &str, special: Special) -> tokenizers::Result<Vec<u32>> {
        match (special, self.around) {
            (Special::Plain, _) => self.encode_plain(text),
            (Special::Parse, _) => {
                self.tokenizer.encode_fast(text, false).map(|encoding| encoding.get_ids().to_vec())
            }
            (Special::Add, None) => {
                self.tokenizer.encode_fast(text, true).map(|encoding| encoding.get_ids().to_vec())
            }
            (Special::Add, Some((before, after))) => {
                let encoding = self.tokenizer.encode_fast(text, false)?;
                Ok(before.into_iter().chain(encoding.get_ids().iter().copied()).chain(after).collect())
            }
        }
    }

    /// The library's own steps, but with the added vocabulary that does not find special tokens.
    fn encode_plain(&self, text: &str) -> tokenizers::Result<Vec<u32>> {
        let mut words = self.plain.extract_and_normalize(self.tokenizer.get_normalizer(), text);
        if let Some(splitter) = self.tokenizer.get_pre_tokenizer() {
            splitter.pre_tokenize(&mut words)?;
        }
        self.tokenizer.get_model().tokenize_in_pretokenized(&mut words, None)?;
        words.into_encoding(None, 0, OffsetType::None).map(|encoding| encoding.get_ids().to_vec())
    }

    pub(super) fn id(&self, spelling: &str) -> Option<u32> {
        self.tokenizer.token_to_id(spelling)
    }
}

/// Adds the tokens that only `tokenizer_config.json` tells of, if the vocabulary has them: others would have no row in the
/// model's embeddings.
fn add_tokens(tokenizer: &mut Tokenizer, config: &Config) -> tokenizers::Result<()> {
    let known = tokenizer.get_added_tokens_decoder();
    let mut added: Vec<AddedToken> = config
        .added_tokens_decoder
        .iter()
        .flatten()
        .map(|(_, token)| AddedToken {
            content: token.content.clone(),
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            single_word: token.single_word,
            normalized: token.normalized,
            special: token.special,
        })
        .collect();
    let named =
        [&config.bos_token, &config.eos_token, &config.unk_token, &config.pad_token].into_iter().flatten();
    for special in named.chain(config.additional_special_tokens.iter().flatten()) {
        if !added.iter().any(|token| token.content == special.content()) {
            added.push(AddedToken::from(special.content(), true));
        }
    }
    added.retain(|token| tokenizer.token_to_id(&token.content).is_some_and(|id| !known.contains_key(&id)));
    tokenizer.add_special_tokens(added).map(|_| ())
}

/// What each token adds to a text, as the tokenizer's decoder has it; or that its decoder is not known.
fn vocabulary(tokenizer: &Tokenizer) -> Result<Vocabulary, String> {
    let decoder = Decoder::of(tokenizer)?;
    let mut spellings: Vec<(u32, String)> =
        tokenizer.get_vocab(true).into_iter().map(|(text, id)| (id, text)).collect();
    spellings.sort_unstable();
    let added = tokenizer.get_added_tokens_decoder();
    let size = spellings.last().map_or(0, |(id, _)| *id as usize + 1);
    // Ids are few and close together; a file that says otherwise must not cost memory for it.
    if size > spellings.len().saturating_mul(4).saturating_add(1 << 16) {
        return Err(format!(
            "is damaged: it has {} tokens and one with the id {}",
            spellings.len(),
            size - 1
        ));
    }
    let alphabet = ByteAlphabet::new();
    let mut vocabulary = Vocabulary::with_capacity(size);
    let mut bytes = Vec::new();
    for (id, spelling) in &spellings {
        if vocabulary.len() > *id as usize {
            continue; // a second spelling of the same token
        }
        while vocabulary.len() < *id as usize {
            vocabulary.push(None, false);
        }
        bytes.clear();
        let added = added.get(id);
        decoder.decode(spelling, added.is_some(), &alphabet, &mut bytes);
        vocabulary.push(Some(&bytes), added.is_some_and(|token| token.special));
    }
    vocabulary.space_before_text = decoder.strips_space;
    Ok(vocabulary)
}

/// The ids of the special tokens that the configuration names, which it thereby declares special.
fn special_tokens(
    tokenizer: &Tokenizer,
    mut vocabulary: Vocabulary,
    config: &Config,
    generation: GenerationConfig,
) -> (Vocabulary, SpecialTokens) {
    let id =
        |token: &Option<Spelling>| token.as_ref().and_then(|token| tokenizer.token_to_id(token.content()));
    let ends = match generation.eos_token_id {
        None => Vec::new(),
        Some(Ids::One(id)) => vec![id],
        Some(Ids::Several(ids)) => ids,
    };
    let mut special = SpecialTokens {
        bos: id(&config.bos_token),
        eos: id(&config.eos_token),
        eot: None,
        unk: id(&config.unk_token),
        pad: id(&config.pad_token),
        ends: ends.into_iter().filter(|id| (*id as usize) < vocabulary.len()).collect(),
    };
    special.add_known(|spelling| tokenizer.token_to_id(spelling).filter(|id| vocabulary.is_special(*id)));
    for id in special.ids() {
        vocabulary.mark_special(id);
    }
    (vocabulary, special)
}

/// How the tokenizer turns tokens into text.
#[derive(Default)]
struct Decoder {
    byte_level: bool,
    spaces_marked: bool,
    byte_tokens: bool,
    strips_space: bool,
}

impl Decoder {
    fn of(tokenizer: &Tokenizer) -> Result<Self, String> {
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
    fn decode(&self, spelling: &str, added: bool, alphabet: &ByteAlphabet, bytes: &mut Vec<u8>) {
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
