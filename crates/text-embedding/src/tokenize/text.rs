use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use pool_core::ModelError;
use tokenizers::Tokenizer;

use super::cuts::Cuts;
use super::template::Template;
use crate::call::Truncation;

/// Text is tokenised in parts of about so many bytes: a fraction of a millisecond each.
const PART_BYTES: usize = 4 << 10;
/// Up to this many bytes, a refused text's tokens are counted for the message.
const COUNTED_BYTES: usize = 256 << 10;

/// Which end of an overlong input is kept out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    /// The end.
    #[default]
    Right,
    /// The beginning.
    Left,
}

/// How much of a text is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// The most tokens, special ones included.
    pub(crate) tokens: Option<usize>,
    /// The most characters, cut off before tokenising: model2vec does so.
    pub(crate) characters: Option<usize>,
    /// Where to cut unless a caller says otherwise.
    pub(crate) side: Side,
    /// Whether special tokens are put around the text.
    pub(crate) special: bool,
    /// Whether unknown tokens are left out.
    pub(crate) drop_unknown: bool,
    /// Whether the second of a pair has a type of its own.
    pub(crate) types: bool,
    /// Ids range from 0 to one less.
    pub(crate) vocabulary: usize,
}

/// What a model computes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenIds {
    /// The tokens.
    pub(crate) ids: Vec<u32>,
    /// Which sequence each belongs to.
    pub(crate) types: Vec<u32>,
    /// So many at the beginning are left out of pooling.
    pub(crate) skipped: usize,
}

impl TokenIds {
    /// The memory they take.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.ids.as_slice()) + size_of_val(self.types.as_slice())
    }
}

/// Turns texts into token ids.
#[derive(Debug)]
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    cuts: Cuts,
    single: Template,
    pair: Template,
    limits: Limits,
    /// Tokens that are found before the text is split into words.
    added: HashMap<u32, String>,
    special: HashSet<u32>,
    unknown: Option<u32>,
}

impl TextTokenizer {
    /// Prepares a tokenizer; the error says what is wrong with it.
    pub(crate) fn new(
        mut tokenizer: Tokenizer,
        limits: Limits,
        unknown: Option<u32>,
    ) -> Result<Self, String> {
        // Truncation is done here, and nothing is padded.
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        let (single, mut pair) = if limits.special {
            (Template::single(&tokenizer)?, Template::pair(&tokenizer)?)
        } else {
            (Template::bare(), Template::bare())
        };
        if !limits.types {
            pair = pair.without_types();
        }
        if let Some(most) = limits.tokens
            && most <= single.len()
        {
            return Err(format!(
                "{most} tokens are no room for text beside the {} special ones",
                single.len()
            ));
        }
        let tokens = tokenizer.get_added_tokens_decoder();
        let special = tokens.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let added = tokens.into_iter().map(|(id, token)| (id, token.content)).collect();
        let unknown = unknown.filter(|_| limits.drop_unknown);
        Ok(Self { cuts: Cuts::of(&tokenizer), tokenizer, single, pair, limits, added, special, unknown })
    }

    /// The most tokens it reads of an input.
    pub(crate) fn max_tokens(&self) -> Option<usize> {
        self.limits.tokens
    }

    /// The largest type a pair's tokens get.
    pub(crate) fn largest_type(&self) -> u32 {
        self.pair.largest_type()
    }

    /// The tokens of one text. `skip_prompt`: the prompt's tokens are to be left out of pooling.
    pub(crate) fn text(
        &self,
        prompt: Option<&str>,
        text: &str,
        truncation: Truncation,
        skip_prompt: bool,
    ) -> Result<TokenIds, ModelError> {
        let joined = prompt.map(|prompt| [prompt, text].concat());
        let content = self.content(joined.as_deref().unwrap_or(text), truncation)?;
        let (ids, types) = self.single.apply(&content, &[]);
        self.check_range(&ids)?;
        let skipped = match prompt.filter(|_| skip_prompt) {
            Some(prompt) => self.prompt_length(prompt, truncation)?,
            None => 0,
        };
        Ok(TokenIds { ids, types, skipped })
    }

    /// Token ids that a caller brought.
    pub(crate) fn tokens(&self, ids: &[u32], truncation: Truncation) -> Result<TokenIds, ModelError> {
        if ids.is_empty() {
            return Err(ModelError::invalid("the list of token ids is empty; send at least one"));
        }
        self.check_range(ids)?;
        let most = self.limits.tokens.unwrap_or(usize::MAX);
        let ids = match self.side(truncation) {
            _ if ids.len() <= most => ids,
            None => return Err(too_long(&ids.len().to_string(), most)),
            Some(Side::Right) => &ids[..most],
            Some(Side::Left) => &ids[ids.len() - most..],
        };
        Ok(TokenIds { ids: ids.to_vec(), types: vec![0; ids.len()], skipped: 0 })
    }

    /// The tokens of a query and a document, the longer one truncated first.
    pub(crate) fn pair(
        &self,
        query: &str,
        document: &str,
        truncation: Truncation,
    ) -> Result<TokenIds, ModelError> {
        let room = self.limits.tokens.map_or(usize::MAX, |most| most.saturating_sub(self.pair.len()));
        let side = self.side(truncation);
        let (from, enough) = (side.unwrap_or_default(), room.saturating_add(1));
        let mut first = self.ids(query, from, enough)?;
        let mut second = self.ids(document, from, enough)?;
        if first.len().saturating_add(second.len()) > room {
            let Some(side) = side else {
                let total = first.len() + second.len() + self.pair.len();
                return Err(too_long(&format!("{total} or more"), room + self.pair.len()));
            };
            let (mut one, mut other) = (first.len(), second.len());
            if one > room && other > room && room % 2 == 1 {
                // Which one counts as the longer decides who gets the odd token.
                let most = room + self.pair.len();
                (one, other) = (self.seen(query, most, side)?, self.seen(document, most, side)?);
            }
            let (one, other) = longest_first(one, other, room);
            cut(&mut first, one, side);
            cut(&mut second, other, side);
        }
        let (ids, types) = self.pair.apply(&first, &second);
        self.check_range(&ids)?;
        Ok(TokenIds { ids, types, skipped: 0 })
    }

    /// A text's tokens without special ones, truncated.
    fn content(&self, text: &str, truncation: Truncation) -> Result<Vec<u32>, ModelError> {
        let side = self.side(truncation);
        let Some(most) = self.limits.tokens else {
            return Ok(self.known(self.ids(text, Side::Right, usize::MAX)?));
        };
        let room = most - self.single.len();
        let ids = match side {
            Some(Side::Right) => {
                let characters = self.limits.characters.and_then(|most| text.char_indices().nth(most));
                let text = characters.map_or(text, |(end, _)| &text[..end]);
                let mut ids = self.ids(text, Side::Right, room)?;
                ids.truncate(room);
                ids
            }
            Some(Side::Left) => {
                let mut ids = self.ids(text, Side::Left, room)?;
                cut(&mut ids, room, Side::Left);
                ids
            }
            None => {
                let counted = text.len() <= COUNTED_BYTES;
                let ids = self.ids(text, Side::Right, if counted { usize::MAX } else { room + 1 })?;
                if ids.len() > room {
                    let count = ids.len() + self.single.len();
                    return Err(too_long(
                        &if counted { count.to_string() } else { format!("more than {most}") },
                        most,
                    ));
                }
                ids
            }
        };
        Ok(self.known(ids))
    }

    /// Where to cut; `None` if the input is to be refused.
    fn side(&self, truncation: Truncation) -> Option<Side> {
        match truncation {
            Truncation::Auto => Some(self.limits.side),
            Truncation::Right => Some(Side::Right),
            Truncation::Left => Some(Side::Left),
            Truncation::Refuse => None,
        }
    }

    /// A text's tokens without special ones, or at least so many from one of its ends.
    fn ids(&self, text: &str, from: Side, enough: usize) -> Result<Vec<u32>, ModelError> {
        let mut parts = self.parts(text, from);
        let mut encoded = Vec::new();
        let mut count = 0;
        while count < enough
            && let Some(part) = parts.next()
        {
            let encoding = self.tokenizer.encode_fast(&*part, false).map_err(ModelError::failed)?;
            count += encoding.len();
            encoded.push(encoding.get_ids().to_vec());
        }
        if from == Side::Left {
            encoded.reverse();
        }
        Ok(encoded.concat())
    }

    /// A text's parts from one of its ends on, each without what cannot change its tokens. What is not asked for is not
    /// read.
    fn parts<'t>(&self, text: &'t str, from: Side) -> impl Iterator<Item = Cow<'t, str>> {
        let (mut start, mut end) = (0, text.len());
        std::iter::from_fn(move || {
            if start == end {
                return None;
            }
            let part = match from {
                Side::Right => {
                    let before = start;
                    start = self.cuts.end(text, before, PART_BYTES);
                    &text[before..start]
                }
                Side::Left => {
                    let after = end;
                    end = self.cuts.start(text, after, PART_BYTES);
                    &text[end..after]
                }
            };
            let part = self.cuts.squeeze(part);
            #[cfg(test)]
            super::tests::BYTES_READ.with(|read| read.set(read.get() + part.len()));
            Some(part)
        })
    }

    /// How many tokens the tokenizers library sees of a text that it truncates to `most`: whole words until there are
    /// enough, added tokens not heeded.
    fn seen(&self, text: &str, most: usize, side: Side) -> Result<usize, ModelError> {
        let mut seen = 0;
        for part in self.parts(text, side) {
            let encoding = self.tokenizer.encode(&*part, false).map_err(ModelError::failed)?;
            let words = encoding.get_word_ids();
            let mut tokens: Vec<usize> = (0..words.len()).collect();
            if side == Side::Left {
                tokens.reverse();
            }
            for word in tokens.chunk_by(|one, next| words[*one] == words[*next]) {
                seen += word.len();
                let (id, (from, to)) = (encoding.get_ids()[word[0]], encoding.get_offsets()[word[0]]);
                let is_added = self.added.get(&id).is_some_and(|content| part[from..to].trim() == content);
                if seen >= most && !is_added {
                    return Ok(seen);
                }
            }
        }
        Ok(seen)
    }

    fn known(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let Some(unknown) = self.unknown {
            ids.retain(|id| *id != unknown);
        }
        ids
    }

    /// Tokens before a text that belong to its prompt: those of the prompt alone but for a special one at its end.
    fn prompt_length(&self, prompt: &str, truncation: Truncation) -> Result<usize, ModelError> {
        let (ids, _) = self.single.apply(&self.content(prompt, truncation)?, &[]);
        let closed = ids.last().is_some_and(|last| self.special.contains(last));
        Ok(ids.len() - usize::from(closed))
    }

    fn check_range(&self, ids: &[u32]) -> Result<(), ModelError> {
        let vocabulary = self.limits.vocabulary;
        match ids.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => Err(ModelError::invalid(format!(
                "token id {id} is out of range; the model's vocabulary has ids 0 to {}",
                vocabulary.saturating_sub(1)
            ))),
            None => Ok(()),
        }
    }
}

fn cut(ids: &mut Vec<u32>, most: usize, side: Side) {
    match side {
        Side::Right => ids.truncate(most),
        Side::Left => {
            ids.drain(..ids.len().saturating_sub(most));
        }
    }
}

/// How many tokens of each of a pair are kept so that both fit: the longer one gives way until they are equal.
/// As the `longest_first` strategy of the tokenizers library.
fn longest_first(first: usize, second: usize, room: usize) -> (usize, usize) {
    let (short, long) = (first.min(second), first.max(second));
    let (short, long) = if short <= room && short.max(room - short) + short <= room {
        (short, long.min(room - short))
    } else {
        (room / 2, room / 2 + room % 2)
    };
    if first > second { (long, short) } else { (short, long) }
}

fn too_long(count: &str, most: usize) -> ModelError {
    ModelError::invalid(format!(
        "the input has {count} tokens, the model reads {most}; shorten it or allow truncation"
    ))
}
