use std::time::Duration;

use super::Plan;

/// How long a step should take where nobody waits for a token.
const STEP: Duration = Duration::from_millis(200);
/// Tokens of a prompt that a step takes before anything was measured: a block or two, for a model of any size.
const FIRST: usize = 32;
/// The least a step takes of prompts: fewer would make a long one wait without end.
const LEAST: usize = 16;
/// A newer measurement weighs this much against all before it.
const WEIGHT: f64 = 0.2;

/// How many tokens of prompts a step may take, and how long a picture, learnt from how long steps have taken.
///
/// Beside sequences that decode, prompts get as long as those take by themselves: so a step takes about twice as long
/// as one that only decodes, and never much longer. Alone, they get a whole step's time, or twice what a step that only
/// decodes takes where that is longer: most of such a step goes to reading the weights, whatever it computes, and a prompt
/// in small pieces would pay that for each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The most a step takes.
    most: usize,
    /// Seconds of a step that only decodes.
    decode: Option<f64>,
    /// Seconds a token of a prompt takes.
    token: Option<f64>,
    /// Seconds of computing on pictures that those who decode have left over; what a piece took too long is paid back.
    credit: f64,
}

impl Pace {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), decode: None, token: None, credit: 0.0 }
    }

    /// Tokens of prompts for a step in which so many sequences decode.
    pub(crate) fn prefill(&self, decoding: usize) -> usize {
        let Some(token) = self.token else { return FIRST.min(self.most) };
        let step = STEP.as_secs_f64();
        let (time, least) = match self.decode {
            Some(decode) if decoding > 0 => (decode.min(step), LEAST),
            Some(decode) => (step.max(2.0 * decode), LEAST),
            None if decoding > 0 => (step, LEAST),
            // How much of the time is the weights' is not known yet.
            None => (step, FIRST),
        };
        ((time / token) as usize).clamp(least.min(self.most), self.most)
    }

    /// How long a picture may be computed on at the end of a step that has taken so long, in which so many sequences decode.
    /// `None`: not in this one. It is computed in pieces, and at least one at a time.
    ///
    /// Beside sequences that decode, a picture and prompts together get as long as those take by themselves, a picture at
    /// least half of that. Where its pieces are longer, there are steps without. Alone, it gets what prompts leave of a
    /// whole step, and at least a quarter of one.
    pub(crate) fn picture(&mut self, decoding: usize, took: Duration) -> Option<Duration> {
        if decoding == 0 {
            // Nobody is owed any time.
            self.credit = f64::INFINITY;
            return Some(STEP.saturating_sub(took).max(STEP / 4));
        }
        let (took, step) = (took.as_secs_f64(), STEP.as_secs_f64());
        let decode = self.decode.unwrap_or(took);
        let share = (2.0 * decode - took).clamp(decode.min(step) / 2.0, step);
        self.credit = (self.credit + share).min(share);
        (self.credit > 0.0).then(|| Duration::from_secs_f64(self.credit))
    }

    /// Notes how long a picture was computed on.
    pub(crate) fn spend(&mut self, took: Duration) {
        self.credit -= took.as_secs_f64();
    }

    /// Learns from a step.
    pub(crate) fn learn(&mut self, plan: &Plan, took: Duration) {
        let took = took.as_secs_f64();
        let decoded = plan.chunks.iter().filter(|chunk| chunk.len() == 1).count();
        let prefilled: usize = plan.chunks.iter().map(|chunk| chunk.len()).filter(|tokens| *tokens > 1).sum();
        if prefilled == 0 {
            if decoded > 0 {
                self.decode = Some(blend(self.decode, took));
            }
            return;
        }
        let decode = if decoded > 0 { self.decode.unwrap_or(0.0) } else { 0.0 };
        // Reading the weights is paid once: what decoding takes is at least half of it.
        let own = (took - decode).max(took / 2.0);
        if prefilled >= LEAST && own > 0.0 {
            self.token = Some(blend(self.token, own / prefilled as f64));
        }
    }
}

fn blend(before: Option<f64>, now: f64) -> f64 {
    before.map_or(now, |before| before * (1.0 - WEIGHT) + now * WEIGHT)
}

#[cfg(test)]
mod tests {
    use pool_core::{JobId, Priority};

    use super::super::{PlannedChunk, SequenceKey};
    use super::*;

    fn plan(lengths: &[usize]) -> Plan {
        let chunk = |(job, &end): (usize, &usize)| PlannedChunk {
            key: SequenceKey::new(Priority::Normal, JobId::new(job as u64), 0),
            start: 0,
            end,
            ends: true,
        };
        let chunks = lengths.iter().enumerate().map(chunk).collect();
        Plan { chunks, ..Plan::default() }
    }

    #[test]
    fn a_mixed_step_takes_about_two_decode_steps() {
        let mut pace = Pace::new(512);
        for _ in 0..50 {
            pace.learn(&plan(&[1, 1, 1]), Duration::from_millis(40));
            // A token of a prompt takes a millisecond.
            pace.learn(&plan(&[128]), Duration::from_millis(128));
        }
        assert!((38..=42).contains(&pace.prefill(3)), "{}", pace.prefill(3));
        assert!((190..=210).contains(&pace.prefill(0)), "{}", pace.prefill(0));
        for _ in 0..50 {
            let tokens = pace.prefill(3);
            pace.learn(&plan(&[1, 1, 1, tokens]), Duration::from_millis(40 + tokens as u64));
        }
        assert!((36..=44).contains(&pace.prefill(3)), "{}", pace.prefill(3));
    }

    #[test]
    fn alone_a_prompt_takes_about_as_long_as_reading_the_weights_does_besides() {
        // Every step takes so long, and a millisecond more for each token.
        for (fixed, expected) in [(10, 170..=200), (300, 270..=330), (2000, 512..=512)] {
            let mut pace = Pace::new(512);
            let took = |tokens: usize| Duration::from_millis(fixed + tokens as u64);
            for _ in 0..3 {
                let tokens = pace.prefill(0);
                pace.learn(&plan(&[tokens]), took(tokens));
                assert!(tokens >= FIRST, "{tokens} before anything was decoded");
            }
            pace.learn(&plan(&[1]), took(1));
            for _ in 0..50 {
                let tokens = pace.prefill(0);
                pace.learn(&plan(&[tokens]), took(tokens));
            }
            let tokens = pace.prefill(0);
            assert!(expected.contains(&tokens), "{tokens} where a step takes {fixed} ms and more");
        }
    }

    #[test]
    fn a_picture_beside_sequences_that_decode_takes_about_one_of_their_steps() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(512);
        for _ in 0..20 {
            pace.learn(&plan(&[1, 1, 1, 1]), ms(40));
        }
        // Pieces of so many milliseconds, beside prompts that take so long or none.
        for (piece, prompts, most, least) in
            [(1, 0, 42, 38), (10, 0, 44, 36), (100, 0, 44, 36), (1, 40, 22, 18), (90, 40, 23, 17)]
        {
            let mut spent = Duration::ZERO;
            for _ in 0..100 {
                if let Some(time) = pace.picture(4, ms(40 + prompts)) {
                    let took = ms(piece) * (time.as_millis() as u64).div_ceil(piece).max(1) as u32;
                    assert!(took <= time + ms(piece));
                    pace.spend(took);
                    spent += took;
                }
            }
            let a_step = spent.as_millis() as u64 / 100;
            assert!(
                (least..=most).contains(&a_step),
                "{a_step} ms a step in pieces of {piece} ms beside {prompts} ms"
            );
        }
    }

    #[test]
    fn a_picture_that_nobody_waits_beside_takes_a_whole_step_and_is_no_debt() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(512);
        assert_eq!(pace.picture(0, ms(0)), Some(STEP));
        pace.spend(ms(3000));
        assert_eq!(pace.picture(0, ms(150)), Some(ms(50)));
        pace.spend(ms(3000));
        assert_eq!(pace.picture(0, ms(190)), Some(ms(50)), "however long prompts took");
        pace.learn(&plan(&[1]), ms(40));
        let time = pace.picture(1, ms(40)).unwrap();
        assert!((39..=41).contains(&time.as_millis()), "{time:?}");
        // Slow steps are not doubled, but a picture takes 200 ms of each.
        let mut slow = Pace::new(512);
        slow.learn(&plan(&[1]), ms(900));
        assert_eq!(slow.picture(1, ms(900)), Some(STEP));
    }

    #[test]
    fn there_is_always_a_little_for_prompts_and_never_more_than_allowed() {
        let mut slow = Pace::new(512);
        let mut fast = Pace::new(512);
        assert_eq!(slow.prefill(0), FIRST);
        for _ in 0..20 {
            slow.learn(&plan(&[64]), Duration::from_secs(20));
            fast.learn(&plan(&[64]), Duration::from_micros(64));
        }
        assert_eq!(slow.prefill(1), LEAST);
        assert_eq!(fast.prefill(0), 512);
        assert_eq!(Pace::new(8).prefill(0), 8);
    }
}
