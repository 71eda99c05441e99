//! Whether pictures should share a pass. Pure: it is told how long passes took.
//!
//! A pass of several pictures is worth it only where it takes clearly less than as many passes of one: sharing delays every
//! picture but the last. On a CPU large passes gain nothing; very small ones may. So it is measured, for each size.

use std::collections::BTreeMap;
use std::time::Duration;

/// A shared pass must take less than this much of as many single ones.
const WORTH: f64 = 0.9;
/// Pictures of a pass, at most.
const MOST: usize = 8;
/// Single passes that are measured before a shared one is tried: the first ones find nothing in the caches.
const SINGLES: u32 = 4;
/// What was found not to be worth it is tried again after so many single passes: the machine may have been busy.
const AGAIN: u32 = 256;

/// What a single picture's part of a pass is: rows and columns of latents, and how many rows of the batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Unit {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) halves: usize,
}

/// What has been measured.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    units: BTreeMap<Unit, Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    /// Seconds of the fastest passes of one picture, of two, of four, of eight; those that were measured. What else the machine
    /// does makes passes slower, never faster.
    seconds: [Option<f64>; 4],
    /// Single passes since a shared one was last tried.
    singles: u32,
}

impl Sharing {
    /// How many pictures the next pass should have, if there are as many: what is worth it, or what is to be tried.
    pub(super) fn wanted(&self, unit: Unit) -> usize {
        self.units.get(&unit).map_or(1, Measured::wanted)
    }

    /// A pass of so many pictures took so long.
    pub(super) fn learn(&mut self, unit: Unit, pictures: usize, took: Duration) {
        let measured = self.units.entry(unit).or_default();
        if !pictures.is_power_of_two() || pictures > MOST {
            return;
        }
        let place = pictures.trailing_zeros() as usize;
        let seconds = &mut measured.seconds[place];
        let took = took.as_secs_f64();
        *seconds = Some(seconds.map_or(took, |before| before.min(took)));
        measured.singles = if pictures == 1 { measured.singles.saturating_add(1) } else { SINGLES };
        if measured.singles >= AGAIN {
            *measured = Measured { singles: SINGLES, seconds: [Some(took), None, None, None] };
        }
    }
}

impl Measured {
    fn wanted(&self) -> usize {
        let Some(single) = self.seconds[0].filter(|_| self.singles >= SINGLES) else { return 1 };
        let mut wanted = 1;
        for (place, seconds) in self.seconds.iter().enumerate().skip(1) {
            let pictures = 1 << place;
            match seconds {
                // Not known: tried, if the one before was worth it.
                None => return pictures,
                Some(seconds) if *seconds < WORTH * pictures as f64 * single => wanted = pictures,
                Some(_) => return wanted,
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Unit = Unit { height: 8, width: 8, halves: 2 };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn measured(passes: &[(usize, u64)]) -> Sharing {
        let mut sharing = Sharing::default();
        (0..SINGLES).for_each(|_| sharing.learn(UNIT, 1, millis(100)));
        passes.iter().for_each(|(pictures, took)| sharing.learn(UNIT, *pictures, millis(*took)));
        sharing
    }

    #[test]
    fn nothing_is_shared_before_single_passes_were_measured() {
        let mut sharing = Sharing::default();
        assert_eq!(sharing.wanted(UNIT), 1);
        for _ in 1..SINGLES {
            sharing.learn(UNIT, 1, millis(100));
            assert_eq!(sharing.wanted(UNIT), 1);
        }
        sharing.learn(UNIT, 1, millis(100));
        assert_eq!(sharing.wanted(UNIT), 2, "to be tried");
        assert_eq!(sharing.wanted(Unit { height: 9, ..UNIT }), 1, "each size by itself");
    }

    #[test]
    fn what_gains_too_little_is_not_shared() {
        assert_eq!(measured(&[(2, 185)]).wanted(UNIT), 1);
        // A slow pass does not make shared ones look better.
        assert_eq!(measured(&[(2, 185), (1, 500)]).wanted(UNIT), 1);
    }

    #[test]
    fn what_gains_is_shared_by_ever_more_as_long_as_it_does() {
        let mut sharing = measured(&[(2, 120)]);
        assert_eq!(sharing.wanted(UNIT), 4);
        sharing.learn(UNIT, 4, millis(390));
        assert_eq!(sharing.wanted(UNIT), 2);
        // Of three nothing is learned.
        sharing.learn(UNIT, 3, millis(1));
        assert_eq!(sharing.wanted(UNIT), 2);
        assert_eq!(measured(&[(2, 110), (4, 120), (8, 130)]).wanted(UNIT), 8);
    }

    #[test]
    fn what_did_not_gain_is_tried_again_in_time() {
        let mut sharing = measured(&[(2, 300)]);
        let mut singles = 0;
        while sharing.wanted(UNIT) == 1 {
            sharing.learn(UNIT, 1, millis(100));
            singles += 1;
            assert!(singles <= AGAIN);
        }
        assert_eq!(singles, AGAIN - SINGLES);
    }
}
