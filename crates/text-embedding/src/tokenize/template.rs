//! The special tokens a tokenizer puts around its input, learned by letting it process a probe.

use tokenizers::{EncodeInput, Encoding, Tokenizer};

/// A text whose tokens are found again in the processed whole; any text with a token will do.
const PROBE: &str = "a";

/// A special token and its type.
type Special = (u32, u32);

/// What is put around one sequence or a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template {
    before: Vec<Special>,
    first_type: u32,
    between: Vec<Special>,
    second_type: u32,
    after: Vec<Special>,
}

impl Template {
    /// Nothing around it.
    pub(super) fn bare() -> Self {
        Self::default()
    }

    /// What `tokenizer` puts around one sequence.
    pub(super) fn single(tokenizer: &Tokenizer) -> Result<Self, String> {
        let parts = parts(tokenizer, PROBE.into(), 1)?;
        let [before, after] = parts.gaps.as_slice() else {
            return Err(unknown());
        };
        Ok(Self {
            before: before.clone(),
            first_type: parts.types[0],
            after: after.clone(),
            ..Self::default()
        })
    }

    /// What `tokenizer` puts around a pair.
    pub(super) fn pair(tokenizer: &Tokenizer) -> Result<Self, String> {
        let parts = parts(tokenizer, (PROBE, PROBE).into(), 2)?;
        let [before, between, after] = parts.gaps.as_slice() else {
            return Err(unknown());
        };
        Ok(Self {
            before: before.clone(),
            first_type: parts.types[0],
            between: between.clone(),
            second_type: parts.types[1],
            after: after.clone(),
        })
    }

    /// The same with every token of type 0.
    pub(super) fn without_types(mut self) -> Self {
        let specials = self.before.iter_mut().chain(&mut self.between).chain(&mut self.after);
        specials.for_each(|(_, kind)| *kind = 0);
        Self { first_type: 0, second_type: 0, ..self }
    }

    /// How many special tokens there are.
    pub(super) fn len(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// The largest type any token gets.
    pub(super) fn largest_type(&self) -> u32 {
        let specials = self.before.iter().chain(&self.between).chain(&self.after);
        specials.map(|(_, kind)| *kind).chain([self.first_type, self.second_type]).max().unwrap_or(0)
    }

    /// The whole: ids and types.
    pub(super) fn apply(&self, first: &[u32], second: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let length = self.len() + first.len() + second.len();
        let (mut ids, mut types) = (Vec::with_capacity(length), Vec::with_capacity(length));
        let mut put = |specials: &[Special], content: &[u32], kind: u32| {
            for (id, kind) in specials {
                ids.push(*id);
                types.push(*kind);
            }
            ids.extend_from_slice(content);
            types.resize(ids.len(), kind);
        };
        put(&self.before, first, self.first_type);
        put(&self.between, second, self.second_type);
        put(&self.after, &[], 0);
        (ids, types)
    }
}

struct Parts {
    /// The special tokens before, between and after the sequences.
    gaps: Vec<Vec<Special>>,
    /// The sequences' types.
    types: Vec<u32>,
}

fn parts(tokenizer: &Tokenizer, probe: EncodeInput<'_>, sequences: usize) -> Result<Parts, String> {
    let alone = encode(tokenizer, PROBE.into(), false)?;
    let content = alone.get_ids();
    if content.is_empty() {
        return Err(unknown());
    }
    let whole = encode(tokenizer, probe, true)?;
    let (ids, kinds) = (whole.get_ids(), whole.get_type_ids());
    let mut parts = Parts { gaps: vec![Vec::new()], types: Vec::new() };
    let mut at = 0;
    while at < ids.len() {
        if parts.types.len() < sequences && ids[at..].starts_with(content) {
            parts.types.push(kinds[at]);
            parts.gaps.push(Vec::new());
            at += content.len();
        } else {
            if let Some(gap) = parts.gaps.last_mut() {
                gap.push((ids[at], kinds[at]));
            }
            at += 1;
        }
    }
    if parts.types.len() == sequences { Ok(parts) } else { Err(unknown()) }
}

fn encode(tokenizer: &Tokenizer, input: EncodeInput<'_>, special: bool) -> Result<Encoding, String> {
    tokenizer.encode_fast(input, special).map_err(|error| error.to_string())
}

fn unknown() -> String {
    "its special tokens cannot be told from its text".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specials_surround_one_sequence_and_a_pair() {
        let pair = Template {
            before: vec![(2, 0)],
            first_type: 0,
            between: vec![(3, 0)],
            second_type: 1,
            after: vec![(3, 1)],
        };
        let (ids, types) = pair.apply(&[7, 8], &[9]);
        assert_eq!(ids, [2, 7, 8, 3, 9, 3]);
        assert_eq!(types, [0, 0, 0, 0, 1, 1]);
        assert_eq!((pair.len(), pair.largest_type()), (3, 1));
        assert_eq!(Template::bare().apply(&[7], &[]), (vec![7], vec![0]));
    }
}
