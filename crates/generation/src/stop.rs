use pool_core::ModelError;

/// Most stop strings a request may have.
const MOST: usize = 32;
/// Bytes of the longest one. So much text may be held back, as it may be the beginning of one.
const LONGEST: usize = 1024;

/// Texts that end an answer where they first appear. They are no part of it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct StopStrings(Vec<String>);

impl StopStrings {
    /// These texts, in no order.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] if one is empty or too long, or if there are too many.
    pub fn new(texts: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ModelError> {
        let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
        if texts.iter().any(String::is_empty) {
            return Err(ModelError::invalid(
                "stop has an empty string; give at least one character, or leave it out",
            ));
        }
        if let Some(long) = texts.iter().map(String::len).find(|length| *length > LONGEST) {
            return Err(ModelError::invalid(format!(
                "stop has a string of {long} bytes; accepted: at most {LONGEST}"
            )));
        }
        if texts.len() > MOST {
            return Err(ModelError::invalid(format!(
                "stop has {} strings; accepted: at most {MOST}",
                texts.len()
            )));
        }
        Ok(Self(texts))
    }
}

/// Lets text through up to the first stop string, and holds back what may be the beginning of one.
#[derive(Clone, Debug)]
pub(crate) struct StopFilter {
    stops: StopStrings,
    held: String,
    stopped: bool,
}

impl StopFilter {
    pub(crate) fn new(stops: StopStrings) -> Self {
        Self { stops, held: String::new(), stopped: false }
    }

    /// Whether a stop string has appeared.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// Adds text, and gives what certainly comes before any stop string.
    pub(crate) fn push(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        let stops = &self.stops.0;
        if let Some(at) = first(&self.held, stops) {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let kept = stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        std::mem::replace(&mut self.held, rest)
    }

    /// What was held back, now that nothing follows.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Where the stop string begins that is the first to be complete, however the text was cut into pieces.
fn first(text: &str, stops: &[String]) -> Option<usize> {
    let found = stops.iter().filter_map(|stop| text.find(stop.as_str()).map(|at| (at + stop.len(), at)));
    found.min().map(|(_, at)| at)
}

/// Bytes at the end of `text` that `stop` begins with.
pub(crate) fn overlap(text: &str, stop: &str) -> usize {
    let most = text.len().min(stop.len().saturating_sub(1));
    let text = text.as_bytes();
    (1..=most).rev().find(|&length| text.ends_with(&stop.as_bytes()[..length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What an answer comes to when its whole text is known.
    fn whole(text: &str, stops: &[String]) -> (String, bool) {
        // Character by character, so that no two are complete at once but one within the other.
        let upto = text.char_indices().map(|(at, c)| &text[..at + c.len_utf8()]);
        let ends = |upto: &str, stop: &&String| upto.ends_with(stop.as_str());
        let found = upto.clone().find_map(|upto| {
            let longest = stops.iter().filter(|stop| ends(upto, stop)).map(|stop| stop.len()).max()?;
            Some(upto.len() - longest)
        });
        match found {
            Some(at) => (text[..at].to_owned(), true),
            None => (text.to_owned(), false),
        }
    }

    proptest! {
        #[test]
        fn text_in_pieces_comes_to_what_it_does_whole(
            pieces in prop::collection::vec("[abé\n]{0,4}", 0..12),
            stops in prop::collection::vec("[abé\n]{1,4}", 0..4),
        ) {
            let text = pieces.concat();
            let (expected, stopped) = whole(&text, &stops);
            let mut filter = StopFilter::new(StopStrings::new(stops.clone()).unwrap());
            let mut shown = String::new();
            let mut given = String::new();
            for piece in &pieces {
                given.push_str(piece);
                shown.push_str(&filter.push(piece));
                // Nothing is shown that a stop string might still take back.
                for stop in stops.iter().filter(|_| !filter.has_stopped()) {
                    let cut = given.find(stop.as_str()).unwrap_or(given.len() - overlap(&given, stop));
                    prop_assert!(shown.len() <= cut, "{shown:?} of {given:?} shows a part of {stop:?}");
                }
                // And nothing is held back longer than it must be.
                let longest = stops.iter().map(|stop| stop.len() - 1).max().unwrap_or(0);
                prop_assert!(filter.has_stopped() || given.len() - shown.len() <= longest);
            }
            shown.push_str(&filter.finish());
            prop_assert_eq!((shown, filter.has_stopped()), (expected, stopped));
        }
    }

    #[test]
    fn the_first_to_be_complete_wins() {
        let mut filter = StopFilter::new(StopStrings::new(["wor", "lo w", "ello world"]).unwrap());
        assert_eq!(filter.push("hello world, that"), "hel");
        assert!(filter.has_stopped());
        assert_eq!((filter.push("more"), filter.finish()), (String::new(), String::new()));
    }

    #[test]
    fn empty_ones_are_refused() {
        let error = StopStrings::new(["a", ""]).unwrap_err();
        assert!(error.to_string().contains("an empty string"), "{error}");
        assert!(StopStrings::new(["x".repeat(1025)]).unwrap_err().to_string().contains("at most 1024"));
        assert!(StopStrings::new(vec!["x"; 33]).unwrap_err().to_string().contains("at most 32"));
    }
}
