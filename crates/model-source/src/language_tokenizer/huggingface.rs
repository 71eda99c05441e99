//! The tokenizer of a model in Hugging Face layout: `tokenizer.json` through its own library, and what the files beside it
//! say about special tokens.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{AddedToken, AddedVocabulary, Model as _, OffsetType, PreTokenizer as _, Tokenizer};

use super::Special;
use super::byte_alphabet::ByteAlphabet;
use super::decoder::Decoder;
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

impl Config {
    /// The added tokens by id.
    fn added(&self) -> impl Iterator<Item = (u32, &Added)> {
        self.added_tokens_decoder.iter().flatten().filter_map(|(id, token)| Some((id.parse().ok()?, token)))
    }
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

impl From<&Added> for AddedToken {
    fn from(token: &Added) -> Self {
        Self {
            content: token.content.clone(),
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            single_word: token.single_word,
            normalized: token.normalized,
            special: token.special,
        }
    }
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
    let mut tokenizer = spelled_anew(files, files.tokenizer()?, &config)?;
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

/// The tokenizer, with tokens spelled as `tokenizer_config.json` has them where it gives their ids other spellings (as for
/// InternLM 2, whose `tokenizer.json` calls `<|im_start|>` unused).
fn spelled_anew(files: &ModelFiles, tokenizer: Tokenizer, config: &Config) -> Result<Tokenizer, SourceError> {
    let renamed = config.added().filter(|(_, token)| token.special).filter_map(|(id, token)| {
        let former = tokenizer.id_to_token(id)?;
        tokenizer.token_to_id(&token.content).is_none().then_some((former, &token.content, id))
    });
    let renamed: Vec<(String, &String, u32)> = renamed.collect();
    if renamed.is_empty() {
        return Ok(tokenizer);
    }
    let mut json: Value = files.json("tokenizer.json")?;
    let Some(vocabulary) = json.pointer_mut("/model/vocab").and_then(Value::as_object_mut) else {
        return Ok(tokenizer);
    };
    for (former, content, id) in renamed {
        vocabulary.remove(&former);
        vocabulary.insert(content.clone(), id.into());
    }
    let label = files.require("tokenizer.json")?.label().to_owned();
    serde_json::from_value(json).map_err(|error| SourceError::InvalidFile {
        file: label,
        reason: format!("cannot take the spellings of tokenizer_config.json: {error}"),
    })
}

/// Adds the tokens that only `tokenizer_config.json` tells of, if the vocabulary has them: others would have no row in the
/// model's embeddings.
fn add_tokens(tokenizer: &mut Tokenizer, config: &Config) -> tokenizers::Result<()> {
    let known = tokenizer.get_added_tokens_decoder();
    let mut added: Vec<AddedToken> = config.added().map(|(_, token)| token.into()).collect();
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
    for id in special.markers() {
        vocabulary.mark_special(id);
    }
    (vocabulary, special)
}
