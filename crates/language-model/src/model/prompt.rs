use generation::{ContentHash, Item, Tool};
use model_source::{LanguageTokenizer, Special};
use pool_core::ModelError;
use serde_json::{Map, Value};

use super::ChatInput;
use crate::vision::RenderedSpecial;

/// How texts become prompts: tokens, and a picture's rows in the place of the image token.
#[derive(Clone, Copy, Debug)]
pub(super) struct PromptEncoder<'a> {
    pub(super) tokenizer: &'a LanguageTokenizer,
    /// How the model spells a picture's place. `None`: it reads text only.
    pub(super) image_token: Option<&'a str>,
}

/// What stands in a picture's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PictureRows {
    pub(super) content: ContentHash,
    pub(super) rows: u32,
}

impl PromptEncoder<'_> {
    /// A text with pictures, each in the place of one image token.
    pub(super) fn text(
        &self,
        text: &str,
        special: Special,
        pictures: &[PictureRows],
    ) -> Result<Vec<Item>, ModelError> {
        let Some(token) = self.image_token else {
            return Ok(self.encode(text, special)?.into_iter().map(Item::Token).collect());
        };
        if self.tokenizer.id(token).is_some() {
            return self.tokens(&self.encode(text, special)?, pictures);
        }
        // The vocabulary has none, as in GGUF files: what is between them is encoded by itself.
        let mut pieces = Vec::new();
        for (index, piece) in text.split(token).enumerate() {
            pieces.push(match index {
                0 => self.encode(piece, special)?,
                _ if piece.is_empty() => Vec::new(),
                _ => self.encode(piece, Special::Parse)?,
            });
        }
        joined(pieces.iter().map(Vec::as_slice), token, pictures)
    }

    /// Tokens with pictures, each in the place of one image token.
    pub(super) fn tokens(&self, ids: &[u32], pictures: &[PictureRows]) -> Result<Vec<Item>, ModelError> {
        let token = self.image_token.unwrap_or_default();
        let id = self.image_token.and_then(|token| self.tokenizer.id(token));
        joined(ids.split(|one| Some(*one) == id), token, pictures)
    }

    /// A text that a chat template wrote.
    pub(super) fn rendered(
        &self,
        text: &str,
        special: RenderedSpecial,
        pictures: &[PictureRows],
    ) -> Result<Vec<Item>, ModelError> {
        let bos = self.tokenizer.special_tokens().bos.and_then(|id| self.tokenizer.token_bytes(id));
        let begun = bos.is_some_and(|bos| text.as_bytes().starts_with(bos));
        let special = match special {
            RenderedSpecial::UnlessWritten if !begun => Special::Add,
            RenderedSpecial::UnlessWritten | RenderedSpecial::Never => Special::Parse,
        };
        self.text(text, special, pictures)
    }

    /// Refuses what a conversation says that would be read as a picture's place.
    pub(super) fn check_chat(&self, chat: &ChatInput) -> Result<(), ModelError> {
        let Some(token) = self.image_token else { return Ok(()) };
        let refuse = |place: String| {
            let part = "{\"type\": \"image\"}";
            Err(ModelError::invalid(format!(
                "{place} spells {token}, which stands for a picture; leave it out, or give a picture and a part {part}"
            )))
        };
        if let Some(at) = chat.messages.iter().position(|message| spells(message.fields(), token)) {
            return refuse(format!("messages[{at}]"));
        }
        if let Some((name, _)) = chat.variables.iter().find(|(_, value)| value_spells(value, token)) {
            return refuse(format!("the template variable {name}"));
        }
        let described = |tool: &Tool| tool.description.as_ref().is_some_and(|text| text.contains(token));
        let tools = chat.tools.iter();
        match tools.enumerate().find(|(_, tool)| described(tool) || value_spells(&tool.parameters, token)) {
            Some((at, _)) => refuse(format!("tools[{at}]")),
            None => Ok(()),
        }
    }

    fn encode(&self, text: &str, special: Special) -> Result<Vec<u32>, ModelError> {
        self.tokenizer.encode(text, special).map_err(|error| ModelError::invalid(error.to_string()))
    }
}

/// Pieces of text, and between each two a picture's rows.
fn joined<'a>(
    pieces: impl Iterator<Item = &'a [u32]>,
    token: &str,
    pictures: &[PictureRows],
) -> Result<Vec<Item>, ModelError> {
    let (mut items, mut places) = (Vec::new(), 0_usize);
    for (index, piece) in pieces.enumerate() {
        if index > 0 {
            if let Some(picture) = pictures.get(places) {
                let content = picture.content;
                items.extend((0..picture.rows).map(|row| Item::Embedding { content, row }));
            }
            places += 1;
        }
        items.extend(piece.iter().copied().map(Item::Token));
    }
    if places == pictures.len() {
        return Ok(items);
    }
    let given = pictures.len();
    Err(ModelError::invalid(format!(
        "pictures given: {given}, places for one ({token}) in the prompt: {places}; there must be as many"
    )))
}

fn spells(fields: &Map<String, Value>, token: &str) -> bool {
    fields.iter().any(|(name, value)| name.contains(token) || value_spells(value, token))
}

fn value_spells(value: &Value, token: &str) -> bool {
    match value {
        Value::String(text) => text.contains(token),
        Value::Array(values) => values.iter().any(|value| value_spells(value, token)),
        Value::Object(fields) => spells(fields, token),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
