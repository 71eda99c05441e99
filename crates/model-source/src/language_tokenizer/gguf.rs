//! The tokenizer in a GGUF file's metadata: its vocabulary, special tokens and settings.
//!
//! The keys: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, "Tokenizer".

use candle_core::quantized::gguf_file::Value;
use rustc_hash::FxHashMap;

use super::Special;
use super::byte_alphabet::ByteAlphabet;
use super::byte_pair::BytePair;
use super::matcher::{Matcher, Part};
use super::sentence_piece::{self, SentencePiece};
use super::special::SpecialTokens;
use super::split::Preparation;
use super::vocabulary::Vocabulary;
use crate::{Gguf, SourceError};

/// What a token is (`tokenizer.ggml.token_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A piece of text.
    Text,
    /// The one for what has no token.
    Unknown,
    /// Means something beyond text.
    Control,
    /// A piece of text that is found before the rest is cut and merged.
    UserDefined,
    /// One byte.
    Byte,
}

/// A vocabulary as the file spells it.
pub(super) struct Tokens {
    spellings: Vec<Box<str>>,
    kinds: Vec<Kind>,
    ids: FxHashMap<Box<str>, u32>,
}

impl Tokens {
    pub(super) fn spellings(&self) -> impl Iterator<Item = (u32, &str)> {
        (0u32..).zip(self.spellings.iter().map(|spelling| &**spelling))
    }

    /// The tokens of one kind.
    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (u32, &str)> {
        self.spellings().filter(move |(id, _)| self.kinds[*id as usize] == kind)
    }

    /// The token that is spelled so.
    pub(super) fn id(&self, spelling: &str) -> Option<u32> {
        self.ids.get(spelling).copied()
    }

    /// The token that is spelled so and is a piece of text.
    pub(super) fn text_token(&self, spelling: &str) -> Option<u32> {
        self.id(spelling).filter(|id| self.kinds[*id as usize] == Kind::Text)
    }
}

/// How the vocabulary's tokens are found in a text.
enum Method {
    BytePair(Box<BytePair>),
    SentencePiece(SentencePiece),
}

/// A tokenizer that was read from a GGUF file.
pub(super) struct GgufTokenizer {
    tokens: Tokens,
    method: Method,
    control: Matcher,
    user_defined: Matcher,
    /// What [`Special::Add`] puts before and after a text.
    before: Option<u32>,
    after: Option<u32>,
}

/// Reads the tokenizer of a file.
pub(super) fn open(file: &Gguf) -> Result<(GgufTokenizer, Vocabulary, SpecialTokens), SourceError> {
    let kind = file.text("tokenizer.ggml.model")?.ok_or_else(|| {
        file.invalid("has no tokenizer (tokenizer.ggml.model); convert the model again".to_owned())
    })?;
    let tokens = tokens(file)?;
    let mut special = special_tokens(file, tokens.spellings.len())?;
    let (method, bos) = match kind {
        "gpt2" => byte_pair(file, &tokens, &special)?,
        "llama" => (sentence_piece(file, &tokens, &special)?, true),
        other => {
            return Err(file.invalid(format!(
                "has a tokenizer of the kind {other:?}, which is not known; gpt2 (byte-pair) and llama (SentencePiece) are"
            )));
        }
    };
    let is_control = |id: u32| matches!(tokens.kinds[id as usize], Kind::Control | Kind::Unknown);
    special.add_known(|spelling| tokens.id(spelling).filter(|id| is_control(*id)));
    let vocabulary = vocabulary(&tokens, &method, &special);
    let matcher = |found: Result<Matcher, String>| found.map_err(|reason| file.invalid(reason));
    let control = tokens.spellings().filter(|(id, _)| is_control(*id));
    let user_defined = tokens.of_kind(Kind::UserDefined);
    let user_defined = match &method {
        Method::BytePair(_) => Matcher::new(user_defined),
        Method::SentencePiece(_) => {
            Matcher::new(user_defined.map(|(id, spelling)| (id, sentence_piece::unescape(spelling))))
        }
    };
    let adds = |key, usual, token: Option<u32>| {
        Ok::<_, SourceError>(if file.flag(key)?.unwrap_or(usual) { token } else { None })
    };
    let tokenizer = GgufTokenizer {
        control: matcher(Matcher::new(control))?,
        user_defined: matcher(user_defined)?,
        before: adds("tokenizer.ggml.add_bos_token", bos, special.bos)?,
        after: adds("tokenizer.ggml.add_eos_token", false, special.eos)?,
        tokens,
        method,
    };
    Ok((tokenizer, vocabulary, special))
}

impl GgufTokenizer {
    pub(super) fn encode(&self, text: &str, special: Special) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        if special == Special::Add {
            ids.extend(self.before);
        }
        if special == Special::Plain {
            self.encode_text(text, &mut ids);
        } else {
            for part in self.control.parts(text) {
                match part {
                    Part::Token(id) => ids.push(id),
                    Part::Text(text) => self.encode_text(text, &mut ids),
                }
            }
        }
        if special == Special::Add {
            ids.extend(self.after);
        }
        ids
    }

    /// Appends the tokens of a text without control tokens.
    fn encode_text(&self, text: &str, ids: &mut Vec<u32>) {
        match &self.method {
            Method::BytePair(method) => {
                self.encode_parts(text, ids, |text, ids| method.encode(text, &self.tokens, ids));
            }
            Method::SentencePiece(method) => {
                // Its mark for a space is a space.
                let text = sentence_piece::unescape(text);
                self.encode_parts(&text, ids, |text, ids| method.encode(text, &self.tokens, ids));
            }
        }
    }

    fn encode_parts(&self, text: &str, ids: &mut Vec<u32>, encode: impl Fn(&str, &mut Vec<u32>)) {
        for part in self.user_defined.parts(text) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text(text) => encode(text, ids),
            }
        }
    }

    pub(super) fn id(&self, spelling: &str) -> Option<u32> {
        self.tokens.id(spelling)
    }
}

/// An array of the metadata that must be there.
fn array<'a>(file: &'a Gguf, key: &str) -> Result<&'a [Value], SourceError> {
    file.array(key)?.ok_or_else(|| file.invalid(format!("has no {key}; convert the model again")))
}

/// An array of texts.
fn texts<'a>(file: &'a Gguf, key: &str) -> Result<Vec<&'a str>, SourceError> {
    let texts = array(file, key)?.iter().map(|value| match value {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Option<_>>().ok_or_else(|| file.invalid(format!("is damaged: its {key} are no strings")))
}

/// Checks that there is one value for each token.
fn check_length(file: &Gguf, key: &str, length: usize, tokens: usize) -> Result<(), SourceError> {
    if length == tokens {
        return Ok(());
    }
    Err(file.invalid(format!("is damaged: it has {tokens} tokens and {length} {key}")))
}

fn tokens(file: &Gguf) -> Result<Tokens, SourceError> {
    let spellings = texts(file, "tokenizer.ggml.tokens")?;
    if spellings.is_empty() {
        return Err(file.invalid("has an empty vocabulary; convert the model again".to_owned()));
    }
    let mut kinds = vec![Kind::Text; spellings.len()];
    if let Some(types) = file.array("tokenizer.ggml.token_type")? {
        check_length(file, "tokenizer.ggml.token_type", types.len(), spellings.len())?;
        for (kind, number) in kinds.iter_mut().zip(types) {
            *kind = match number {
                // Neither defined nor used: text, if anything.
                Value::I32(0 | 1 | 5) | Value::U32(0 | 1 | 5) => Kind::Text,
                Value::I32(2) | Value::U32(2) => Kind::Unknown,
                Value::I32(3) | Value::U32(3) => Kind::Control,
                Value::I32(4) | Value::U32(4) => Kind::UserDefined,
                Value::I32(6) | Value::U32(6) => Kind::Byte,
                other => {
                    return Err(file.invalid(format!("has a token of the unknown type {other:?}")));
                }
            };
        }
    }
    let mut ids = FxHashMap::with_capacity_and_hasher(spellings.len(), Default::default());
    for (id, spelling) in (0u32..).zip(&spellings) {
        // Of tokens spelled alike, the first is found; padding is often spelled as nothing.
        if !spelling.is_empty() {
            ids.entry(Box::from(*spelling)).or_insert(id);
        }
    }
    Ok(Tokens { spellings: spellings.into_iter().map(Box::from).collect(), kinds, ids })
}

/// The tokens whose meaning the metadata tells.
fn special_tokens(file: &Gguf, tokens: usize) -> Result<SpecialTokens, SourceError> {
    let id = |name: &str| {
        let key = format!("tokenizer.ggml.{name}_token_id");
        match file.number(&key)? {
            None => Ok(None),
            Some(id) if id < tokens as u64 => Ok(Some(id as u32)),
            // Some converters write this for "none".
            Some(id) if id == u64::from(u32::MAX) => Ok(None),
            Some(id) => {
                Err(file.invalid(format!("is damaged: its {key} is {id}, and it has {tokens} tokens")))
            }
        }
    };
    Ok(SpecialTokens {
        bos: id("bos")?,
        eos: id("eos")?,
        eot: id("eot")?,
        unk: id("unknown")?,
        pad: id("padding")?,
        ends: id("eom")?.into_iter().collect(),
    })
}

/// A byte-pair tokenizer, and whether texts begin with the beginning of text where the file does not say.
fn byte_pair(file: &Gguf, tokens: &Tokens, special: &SpecialTokens) -> Result<(Method, bool), SourceError> {
    let name = file.text("tokenizer.ggml.pre")?.unwrap_or_else(|| {
        tracing::warn!(file = file.label(), "no tokenizer.ggml.pre: text is cut into words as GPT-2 does");
        "default"
    });
    let preparation = Preparation::named(name).ok_or_else(|| {
        file.invalid(format!(
            "cuts text into words in a way that is not known (tokenizer.ggml.pre = {name:?}); known are {}",
            Preparation::NAMES
        ))
    })?;
    let merges = texts(file, "tokenizer.ggml.merges")?;
    let method = BytePair::new(tokens, merges.into_iter(), preparation, special.unk);
    Ok((Method::BytePair(Box::new(method.map_err(|reason| file.invalid(reason))?)), preparation.bos))
}

fn sentence_piece(file: &Gguf, tokens: &Tokens, special: &SpecialTokens) -> Result<Method, SourceError> {
    for key in ["tokenizer.ggml.remove_extra_whitespaces", "tokenizer.ggml.treat_whitespace_as_suffix"] {
        if file.flag(key)? == Some(true) {
            return Err(file.invalid(format!("wants {key}, which is not done here")));
        }
    }
    if file.array("tokenizer.ggml.precompiled_charsmap")?.is_some_and(|map| !map.is_empty()) {
        let reason =
            "wants its text normalised (tokenizer.ggml.precompiled_charsmap), which is not done here";
        return Err(file.invalid(reason.to_owned()));
    }
    let scores = array(file, "tokenizer.ggml.scores")?;
    check_length(file, "tokenizer.ggml.scores", scores.len(), tokens.spellings.len())?;
    let scores = scores.iter().map(|score| if let Value::F32(score) = score { Some(*score) } else { None });
    let scores: Vec<f32> = scores.collect::<Option<_>>().ok_or_else(|| {
        file.invalid("is damaged: its tokenizer.ggml.scores are no 32-bit floats".to_owned())
    })?;
    let unknown = special.unk.or_else(|| tokens.of_kind(Kind::Unknown).map(|(id, _)| id).next());
    let space = file.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let method = SentencePiece::new(tokens, &scores, unknown, space);
    method.map(Method::SentencePiece).map_err(|reason| file.invalid(reason))
}

/// What each token adds to a text.
fn vocabulary(tokens: &Tokens, method: &Method, special: &SpecialTokens) -> Vocabulary {
    let alphabet = ByteAlphabet::new();
    let mut vocabulary = Vocabulary::with_capacity(tokens.spellings.len());
    let mut bytes = Vec::new();
    for (id, spelling) in tokens.spellings() {
        let kind = tokens.kinds[id as usize];
        bytes.clear();
        match (method, kind) {
            (Method::BytePair(_), Kind::Text) => alphabet.decode(spelling, &mut bytes),
            (_, Kind::Byte) if let Some(byte) = sentence_piece::byte(spelling) => bytes.push(byte),
            (Method::SentencePiece(_), Kind::Text | Kind::UserDefined) => {
                bytes.extend_from_slice(sentence_piece::unescape(spelling).as_bytes());
            }
            _ => bytes.extend_from_slice(spelling.as_bytes()),
        }
        vocabulary.push(Some(&bytes), matches!(kind, Kind::Control | Kind::Unknown));
    }
    for id in special.ids() {
        vocabulary.mark_special(id);
    }
    vocabulary.space_before_text =
        matches!(method, Method::SentencePiece(SentencePiece { space_before_text: true, .. }));
    vocabulary
}
