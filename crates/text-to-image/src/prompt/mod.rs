//! From a prompt to what the UNet is conditioned with: tokens in chunks for each text encoder, and the encoders' hidden states
//! put together.
//!
//! A prompt of up to 75 tokens is one chunk, as diffusers has it. Of longer ones diffusers reads the first 75 only; here each
//! further 75 are a chunk of their own, between a begin and an end like the first, and the chunks' hidden states follow each
//! other. Prompts that belong together are filled up with empty chunks to the same number.

mod encoding;
#[cfg(test)]
mod tests;

pub(crate) use self::encoding::{Conditioning, PromptPass};
use crate::checkpoint::TextSide;

/// A prompt of more bytes is not tokenised at all: it could not fit its chunks.
pub(crate) const LONGEST: usize = 16 << 10;

/// Chunks of a prompt, at most: each makes every cross-attention of every step longer.
const MOST_CHUNKS: usize = 16;

/// A prompt's tokens for each text encoder, in equally many chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PromptTokens {
    sides: Vec<SideTokens>,
}

/// The tokens for one text encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SideTokens {
    chunks: Vec<Vec<u32>>,
    /// A chunk of nothing.
    blank: Vec<u32>,
    /// Tokens of the prompt, and those around its chunks.
    count: usize,
}

impl PromptTokens {
    /// Tokenises a prompt; the error says what is wrong with it. Blocks.
    pub(crate) fn new(sides: &[TextSide], text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("the prompt has {} bytes, at most {LONGEST} are taken", text.len()));
        }
        let sides = sides.iter().map(|side| SideTokens::new(side, text)).collect::<Result<_, String>>()?;
        let tokens = Self { sides };
        let chunks = tokens.chunks();
        match chunks <= MOST_CHUNKS {
            true => Ok(tokens.padded(chunks)),
            false => Err(format!(
                "the prompt has {chunks} chunks of tokens, at most {MOST_CHUNKS} are taken: make it shorter"
            )),
        }
    }

    /// How many chunks there are.
    pub(crate) fn chunks(&self) -> usize {
        self.sides.iter().map(|side| side.chunks.len()).max().unwrap_or(0)
    }

    /// The same with empty chunks behind it, so that there are as many.
    pub(crate) fn padded(mut self, chunks: usize) -> Self {
        for side in &mut self.sides {
            side.chunks.resize_with(side.chunks.len().max(chunks), || side.blank.clone());
        }
        self
    }

    /// Tokens of the first text encoder, without those that only fill up its chunks.
    pub(crate) fn count(&self) -> usize {
        self.sides.first().map_or(0, |side| side.count)
    }

    /// The chunks for one of the text encoders.
    pub(crate) fn ids(&self, encoder: usize) -> &[Vec<u32>] {
        &self.sides[encoder].chunks
    }
}

impl SideTokens {
    fn new(side: &TextSide, text: &str) -> Result<Self, String> {
        let tokens = side.tokenizer.tokens(text)?;
        let blank = chunk(side, &[]);
        let chunks: Vec<Vec<u32>> = tokens.chunks(side.chunk - 2).map(|part| chunk(side, part)).collect();
        let chunks = if chunks.is_empty() { vec![blank.clone()] } else { chunks };
        let count = tokens.len() + 2 * chunks.len();
        Ok(Self { chunks, blank, count })
    }
}

fn chunk(side: &TextSide, part: &[u32]) -> Vec<u32> {
    let mut chunk = Vec::with_capacity(side.chunk);
    chunk.push(side.tokenizer.begin);
    chunk.extend_from_slice(part);
    chunk.push(side.tokenizer.end);
    chunk.resize(side.chunk, side.tokenizer.pad);
    chunk
}
