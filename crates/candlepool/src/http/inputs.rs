//! What is embedded or gone on with: a text, a list of texts, a list of token ids, or a list of such lists; and pictures,
//! where the route takes them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::json;
use super::pictures::NamedPicture;

/// The inputs, at least one, all of a kind; but texts and pictures may stand beside each other.
pub(super) struct Inputs<T>(pub(super) Vec<T>);

/// One of the inputs of a route.
pub(super) trait Entered: From<String> + From<Vec<u32>> {
    /// What the route takes, for those who sent something else.
    const FORMS: &str;

    /// A picture as an input.
    ///
    /// # Errors
    ///
    /// What to do instead, where the route takes none.
    fn picture(picture: NamedPicture) -> Result<Self, &'static str>;
}

impl<'de, T: Entered> Deserialize<'de> for Inputs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputsVisitor(PhantomData))
    }
}

struct InputsVisitor<T>(PhantomData<T>);

/// What every route takes.
pub(super) const TEXTS: &str =
    "a text, a list of texts, a list of token ids, or a list of lists of token ids";

impl<'de, T: Entered> Visitor<'de> for InputsVisitor<T> {
    type Value = Inputs<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::FORMS)
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
            if *kind.get_or_insert(entry.kind()) != entry.kind() {
                return Err(de::Error::custom(format!("a list of different things; send {}", T::FORMS)));
            }
            match entry {
                Entry::Id(id) => ids.push(id),
                Entry::Text(text) => inputs.push(text.into()),
                Entry::Ids(ids) => inputs.push(ids.into()),
                Entry::Picture(picture) => inputs.push(T::picture(picture).map_err(de::Error::custom)?),
            }
        }
        if !ids.is_empty() {
            inputs.push(ids.into());
        }
        if inputs.is_empty() {
            return Err(de::Error::custom(format!("an empty list; send {}", T::FORMS)));
        }
        Ok(Inputs(inputs))
    }
}

/// An element of the list.
enum Entry {
    Text(String),
    Ids(Vec<u32>),
    Id(u32),
    Picture(NamedPicture),
}

/// What may stand beside each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Content,
    Tokens,
    Token,
}

impl Entry {
    fn kind(&self) -> Kind {
        match self {
            Self::Text(_) | Self::Picture(_) => Kind::Content,
            Self::Ids(_) => Kind::Tokens,
            Self::Id(_) => Kind::Token,
        }
    }
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
        const FORM: &str =
            "an object has an image and nothing else: {\"image\": \"data:image/png;base64,...\"}";
        if entries.next_key::<String>()?.as_deref() != Some("image") {
            return Err(de::Error::custom(FORM));
        }
        let picture = entries.next_value()?;
        match entries.next_key::<String>()? {
            None => Ok(Entry::Picture(picture)),
            Some(_) => Err(de::Error::custom(FORM)),
        }
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
