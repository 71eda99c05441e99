//! What is embedded or gone on with: a text, a list of texts, a list of token ids, or a list of such lists.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::json;

/// The inputs, at least one, all of a kind.
pub(super) struct Inputs<T>(pub(super) Vec<T>);

impl<'de, T: From<String> + From<Vec<u32>>> Deserialize<'de> for Inputs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputsVisitor(PhantomData))
    }
}

struct InputsVisitor<T>(PhantomData<T>);

const FORMS: &str = "a text, a list of texts, a list of token ids, or a list of lists of token ids";

impl<'de, T: From<String> + From<Vec<u32>>> Visitor<'de> for InputsVisitor<T> {
    type Value = Inputs<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMS)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Inputs<T>, E> {
        Ok(Inputs(vec![text.to_owned().into()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inputs<T>, A::Error> {
        let (mut inputs, mut ids, mut kind) = (Vec::<T>::new(), Vec::new(), None);
        while let Some(entry) = list.next_element::<Entry>()? {
            if inputs.len() == json::LONGEST_LIST {
                return Err(json::too_long("the list"));
            }
            if *kind.get_or_insert(std::mem::discriminant(&entry)) != std::mem::discriminant(&entry) {
                return Err(de::Error::custom(format!("a list of different things; send {FORMS}")));
            }
            match entry {
                Entry::Id(id) => ids.push(id),
                Entry::Text(text) => inputs.push(text.into()),
                Entry::Ids(ids) => inputs.push(ids.into()),
            }
        }
        if !ids.is_empty() {
            inputs.push(ids.into());
        }
        if inputs.is_empty() {
            return Err(de::Error::custom(format!("an empty list; send {FORMS}")));
        }
        Ok(Inputs(inputs))
    }
}

/// An element of the list.
enum Entry {
    Text(String),
    Ids(Vec<u32>),
    Id(u32),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a token id or a list of token ids")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
        Ok(Entry::Text(text.to_owned()))
    }

    fn visit_u64<E: de::Error>(self, id: u64) -> Result<Entry, E> {
        TokenVisitor.visit_u64(id).map(|TokenId(id)| Entry::Id(id))
    }

    fn visit_i64<E: de::Error>(self, id: i64) -> Result<Entry, E> {
        TokenVisitor.visit_i64(id).map(|TokenId(id)| Entry::Id(id))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entry, A::Error> {
        let mut ids = Vec::<u32>::new();
        while let Some(TokenId(id)) = list.next_element()? {
            ids.push(id);
        }
        Ok(Entry::Ids(ids))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Entry, A::Error> {
        let key = entries.next_key::<String>()?;
        Err(de::Error::custom(match key.as_deref() {
            Some("image") => {
                "image entries are for image-embedding models, which this version does not serve"
            }
            _ => "an object is none of a text, a token id and a list of token ids",
        }))
    }
}

/// A position in a vocabulary.
struct TokenId(u32);

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TokenVisitor)
    }
}

struct TokenVisitor;

impl Visitor<'_> for TokenVisitor {
    type Value = TokenId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token id")
    }

    fn visit_u64<E: de::Error>(self, id: u64) -> Result<TokenId, E> {
        let known = u32::try_from(id).map(TokenId);
        known.map_err(|_| E::custom(format!("token id {id} is in no model's vocabulary")))
    }

    fn visit_i64<E: de::Error>(self, id: i64) -> Result<TokenId, E> {
        match u64::try_from(id) {
            Ok(id) => self.visit_u64(id),
            Err(_) => Err(E::custom(format!("token id {id} is negative"))),
        }
    }
}
