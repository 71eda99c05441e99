use std::collections::BTreeMap;

use crate::item::{ContentHash, Item};

/// Positions of a sequence that rows of one picture stand at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PictureRun {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) content: ContentHash,
}

/// Notes where pictures stand in what follows a sequence's first `length` items.
pub(super) fn extend_runs(runs: &mut Vec<PictureRun>, length: usize, items: &[Item]) {
    for (position, item) in (length..).zip(items) {
        let Item::Embedding { content, .. } = *item else { continue };
        match runs.last_mut() {
            Some(last) if last.end == position && last.content == content => last.end += 1,
            _ => runs.push(PictureRun { start: position, end: position + 1, content }),
        }
    }
}

/// Which pictures' rows a decoder keeps: as many as there is memory for, the least recently used given up first.
///
/// It owns numbers; the rows are the decoder's.
#[derive(Debug)]
pub(crate) struct KeptPictures {
    /// Rows there is memory for.
    capacity: usize,
    kept: BTreeMap<ContentHash, Kept>,
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    rows: usize,
    used: u64,
}

impl KeptPictures {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, kept: BTreeMap::new(), clock: 0 }
    }

    pub(crate) fn contains(&self, content: ContentHash) -> bool {
        self.kept.contains_key(&content)
    }

    /// Notes that rows of it were read.
    pub(super) fn touch(&mut self, content: ContentHash) {
        self.clock += 1;
        if let Some(kept) = self.kept.get_mut(&content) {
            kept.used = self.clock;
        }
    }

    /// What must be given up before so many rows more are kept, never what is in `reading` or `own`. `None`: there is no room
    /// before sequences have read what is in `reading`. What is in `own` holds nothing up: whoever wants the picture
    /// needs it beside these.
    pub(super) fn room(
        &self,
        rows: usize,
        reading: &[ContentHash],
        own: &[ContentHash],
    ) -> Option<Vec<ContentHash>> {
        let mut all: usize = rows + self.kept.values().map(|kept| kept.rows).sum::<usize>();
        let spared = |content: &ContentHash| reading.contains(content) || own.contains(content);
        let mut idle: Vec<_> = self.kept.iter().filter(|(content, _)| !spared(content)).collect();
        idle.sort_unstable_by_key(|(_, kept)| kept.used);
        let mut given_up = Vec::new();
        for (content, kept) in idle {
            if all <= self.capacity {
                break;
            }
            all -= kept.rows;
            given_up.push(*content);
        }
        (all <= self.capacity || reading.is_empty()).then_some(given_up)
    }

    /// Notes that a picture's rows are there.
    pub(crate) fn insert(&mut self, content: ContentHash, rows: usize) {
        self.clock += 1;
        self.kept.insert(content, Kept { rows, used: self.clock });
    }

    /// Notes that a picture's rows are gone.
    pub(crate) fn remove(&mut self, content: ContentHash) {
        self.kept.remove(&content);
    }

    /// Rows that are kept.
    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        self.kept.values().map(|kept| kept.rows).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: u32) -> ContentHash {
        ContentHash::of(&name)
    }

    #[test]
    fn the_least_recently_used_are_given_up_and_no_more_than_needed() {
        let mut kept = KeptPictures::new(10);
        for name in 0..3 {
            assert_eq!(kept.room(3, &[], &[]), Some(vec![]));
            kept.insert(picture(name), 3);
        }
        kept.touch(picture(0));
        assert_eq!(kept.room(1, &[], &[]), Some(vec![]));
        assert_eq!(kept.room(2, &[], &[]), Some(vec![picture(1)]));
        assert_eq!(kept.room(7, &[], &[]), Some(vec![picture(1), picture(2)]));
        kept.remove(picture(1));
        assert!(!kept.contains(picture(1)) && kept.contains(picture(2)));
        assert_eq!(kept.room(4, &[], &[]), Some(vec![]));
    }

    #[test]
    fn what_is_being_read_is_waited_for_and_what_one_needs_itself_is_not() {
        let mut kept = KeptPictures::new(10);
        kept.insert(picture(0), 6);
        kept.insert(picture(1), 4);
        assert_eq!(kept.room(5, &[picture(0)], &[]), None);
        assert_eq!(kept.room(4, &[picture(0)], &[]), Some(vec![picture(1)]));
        // More than there is memory for: it must be had all the same, or nothing would go on.
        assert_eq!(kept.room(11, &[], &[]), Some(vec![picture(0), picture(1)]));
        assert_eq!(kept.room(5, &[], &[picture(0)]), Some(vec![picture(1)]));
        assert_eq!(kept.room(5, &[picture(1)], &[picture(0)]), None);
    }

    #[test]
    fn pictures_are_found_in_prompts() {
        let row = |name: u32, row: u32| Item::Embedding { content: picture(name), row };
        let mut runs = Vec::new();
        extend_runs(&mut runs, 0, &[Item::Token(1), row(0, 0), row(0, 1), row(1, 0), Item::Token(2)]);
        extend_runs(&mut runs, 5, &[row(1, 0)]);
        let run = |start, end, name| PictureRun { start, end, content: picture(name) };
        assert_eq!(runs, [run(1, 3, 0), run(3, 4, 1), run(5, 6, 1)]);
    }
}
