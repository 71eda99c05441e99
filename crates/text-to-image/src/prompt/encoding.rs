//! Prompts on their way through the text encoders.

use nn::{NnError, TextPass, TextTower};

use super::PromptTokens;

/// What a prompt is for the UNet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conditioning {
    /// A row for each token of each chunk: `[tokens, cross_attention_dim]`.
    pub(crate) context: Vec<f32>,
    /// The vector of the whole prompt, which is that of its first chunk; of SDXL.
    pub(crate) pooled: Option<Vec<f32>>,
}

impl Conditioning {
    /// As large, and nothing: what SDXL takes for an absent negative prompt where `force_zeros_for_empty_prompt`.
    pub(crate) fn zeros(&self) -> Self {
        Self {
            context: vec![0.0; self.context.len()],
            pooled: self.pooled.as_ref().map(|pooled| vec![0.0; pooled.len()]),
        }
    }
}

/// Prompts on their way through all text encoders, one encoder after the other.
#[derive(Debug)]
pub(crate) struct PromptPass {
    passes: Vec<TextPass>,
    /// Of each prompt.
    chunks: Vec<usize>,
    /// Encoders that are done.
    done: usize,
}

impl PromptPass {
    /// Prompts that are to be encoded with these, one encoder for each side of the tokens.
    pub(crate) fn begin(towers: &[TextTower], prompts: &[&PromptTokens]) -> Result<Self, NnError> {
        let pass = |(encoder, tower): (usize, &TextTower)| {
            let texts: Vec<&[u32]> =
                prompts.iter().flat_map(|prompt| prompt.ids(encoder)).map(Vec::as_slice).collect();
            tower.begin(&texts)
        };
        let passes = towers.iter().enumerate().map(pass).collect::<Result<_, _>>()?;
        Ok(Self { passes, chunks: prompts.iter().map(|prompt| prompt.chunks()).collect(), done: 0 })
    }

    /// Computes piece by piece, at least one, until all is done (true) or `go_on`, which is asked between pieces, says to stop
    /// (false). Blocks.
    pub(crate) fn advance(&mut self, towers: &[TextTower], go_on: &mut dyn FnMut() -> bool) -> bool {
        while let (Some(pass), Some(tower)) = (self.passes.get_mut(self.done), towers.get(self.done)) {
            if !tower.advance(pass, go_on) {
                return false;
            }
            self.done += 1;
            if self.done < self.passes.len() && !go_on() {
                return false;
            }
        }
        true
    }

    /// What each prompt is, once all is done.
    pub(crate) fn conditionings(&self, towers: &[TextTower]) -> Vec<Conditioning> {
        let mut first = 0;
        let mut found = Vec::with_capacity(self.chunks.len());
        for chunks in &self.chunks {
            found.push(self.conditioning(towers, first, *chunks));
            first += chunks;
        }
        found
    }

    fn conditioning(&self, towers: &[TextTower], first: usize, chunks: usize) -> Conditioning {
        let widths: Vec<usize> = towers.iter().map(|tower| tower.config().hidden_size).collect();
        let mut context = Vec::new();
        for text in first..first + chunks {
            let states: Vec<&[f32]> = self.passes.iter().map(|pass| pass.hidden(text, 0)).collect();
            let tokens = states.first().zip(widths.first()).map_or(0, |(state, width)| state.len() / width);
            for token in 0..tokens {
                for (state, width) in states.iter().zip(&widths) {
                    context.extend_from_slice(&state[token * width..][..*width]);
                }
            }
        }
        let pooled = self.passes.iter().zip(towers).find(|(_, tower)| tower.outputs().embedding);
        Conditioning { context, pooled: pooled.map(|(pass, _)| pass.embedding(first).to_vec()) }
    }
}
