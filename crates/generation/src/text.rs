use std::collections::VecDeque;

use crate::detokenizer::Detokenizer;
use crate::output::Written;
use crate::stop::{StopFilter, StopStrings};

/// The text of one choice as it is written: from tokens to characters to what may be shown.
///
/// A token is shown with the last of its text: so none is that belongs to a stop string.
#[derive(Clone, Debug)]
pub(crate) struct TextStream {
    detokenizer: Detokenizer,
    stops: StopFilter,
    /// Bytes of text there are, and bytes shown.
    decoded: usize,
    shown: usize,
    /// Tokens not shown yet, and where their text ends.
    waiting: VecDeque<(usize, Written)>,
}

impl TextStream {
    pub(crate) fn new(stops: StopStrings) -> Self {
        Self {
            detokenizer: Detokenizer::default(),
            stops: StopFilter::new(stops),
            decoded: 0,
            shown: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Whether a stop string has appeared.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stops.has_stopped()
    }

    /// Whether some of the text is not shown yet.
    pub(crate) fn holds_back(&self) -> bool {
        self.shown < self.decoded || self.detokenizer.is_within_character()
    }

    /// Adds a token and the bytes it stands for, and gives what may be shown.
    pub(crate) fn push(&mut self, token: Written, bytes: &[u8]) -> (String, Vec<Written>) {
        let decoded = self.detokenizer.push(bytes);
        self.decoded += decoded.len();
        // The text of a token that ends within a character ends with that character.
        let end = self.decoded + usize::from(self.detokenizer.is_within_character());
        self.waiting.push_back((end, token));
        let text = self.stops.push(&decoded);
        self.show(text)
    }

    /// What was held back, now that nothing follows.
    pub(crate) fn finish(&mut self) -> (String, Vec<Written>) {
        if self.has_stopped() {
            return (String::new(), Vec::new());
        }
        let rest = self.detokenizer.finish();
        self.decoded += rest.len();
        let mut text = self.stops.push(&rest);
        if !self.has_stopped() {
            text.push_str(&self.stops.finish());
        }
        self.show(text)
    }

    fn show(&mut self, text: String) -> (String, Vec<Written>) {
        self.shown += text.len();
        let mut tokens = Vec::new();
        while let Some((end, _)) = self.waiting.front()
            && *end <= self.shown
        {
            tokens.extend(self.waiting.pop_front().map(|(_, token)| token));
        }
        (text, tokens)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(token: u32) -> Written {
        Written { token, logprobs: None }
    }

    proptest! {
        #[test]
        fn tokens_are_shown_with_their_text(
            pieces in prop::collection::vec("[abé€]{0,3}", 1..10),
            cuts in prop::collection::vec(any::<usize>(), 0..10),
            stop in "[abé]{2,3}",
        ) {
            let text = pieces.concat();
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut stream = TextStream::new(StopStrings::new([stop.clone()]).unwrap());
            let (mut shown, mut tokens) = (String::new(), Vec::new());
            let mut pushed = 0;
            for (index, pair) in cuts.windows(2).enumerate() {
                if stream.has_stopped() {
                    break;
                }
                let (text, more) = stream.push(written(index as u32), &bytes[pair[0]..pair[1]]);
                shown.push_str(&text);
                tokens.extend(more);
                pushed += 1;
            }
            let (rest, more) = stream.finish();
            shown.push_str(&rest);
            tokens.extend(more);
            // Tokens come in order, none twice; their bytes make up the text shown, but for the one cut by the stop.
            let ids: Vec<u32> = tokens.iter().map(|token| token.token).collect();
            prop_assert_eq!(&ids, &(0..ids.len() as u32).collect::<Vec<_>>());
            let end = cuts[ids.len()];
            match text.find(stop.as_str()) {
                None => {
                    prop_assert_eq!(&shown, &text);
                    prop_assert_eq!(ids.len(), pushed);
                }
                Some(at) => {
                    prop_assert_eq!(&shown, &text[..at]);
                    prop_assert!(end <= at, "a token of the stop string is shown");
                    prop_assert!(cuts[ids.len() + 1] > at || bytes[end..at].is_empty(), "a token of the text is not");
                }
            }
        }
    }
}
