//! In which order waiting jobs are served: (priority class raised by age, start-time-fair tag, arrival).
//!
//! Start-time fair queueing after Goyal, Vin and Cheng, "Start-time Fair Queuing" (SIGCOMM 1996): a job's start tag is
//! the later of the class's virtual time and its principal's last finish tag; virtual time is the least start
//! tag of the batch last served: a batch is filled by length, so it may hold jobs far down the line. Each class shares by itself.
//!
//! Tags are given at arrival, so a job that leaves unserved leaves a gap before those behind it. Gaps are closed before
//! the next batch is cut: once for however many left, and only while two principals wait, as one alone passes nobody.
//! In a long line they are closed once a part of it has gone: to close them takes as long as the line is.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::types::{JobId, Principal, Priority, Tokens};

/// Where a job stands within its class: fair tag first, then arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) tag: u64,
    pub(crate) arrival: u64,
}

/// Waiting jobs in the order they are served.
#[derive(Default, Debug)]
pub(crate) struct Line {
    classes: [BTreeMap<Place, JobId>; 4],
}

impl Line {
    pub(crate) fn insert(&mut self, class: Priority, place: Place, job: JobId) {
        self.classes[class.index()].insert(place, job);
    }

    pub(crate) fn remove(&mut self, class: Priority, place: Place) -> bool {
        self.classes[class.index()].remove(&place).is_some()
    }

    /// The jobs of one class in order.
    pub(crate) fn of(&self, class: Priority) -> impl Iterator<Item = (&Place, &JobId)> {
        self.classes[class.index()].iter()
    }

    /// Jobs in order: the most urgent class first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = JobId> + '_ {
        self.classes.iter().rev().flat_map(|class| class.values().copied())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.classes.iter().all(BTreeMap::is_empty)
    }
}

/// How far one principal's share of a class is spoken for.
#[derive(Clone, Copy, Default, Debug)]
struct Share {
    /// Where it will have got to once all it waits for is served.
    finish: u64,
    /// What it waits for weighs so much.
    owed: u64,
    waiting: usize,
    /// The start tag last given out.
    last: u64,
    /// One of its jobs left unserved, and those behind it stand as if it had not.
    gap: bool,
    /// While its jobs move up: where the one before ends.
    mark: u64,
}

/// Fair sharing of one class between principals, by cost.
#[derive(Debug)]
pub(crate) struct FairShare {
    virtual_time: u64,
    /// The last finish tag of what was served.
    served: u64,
    waiting: usize,
    /// Principals that wait for something.
    backlogged: usize,
    /// Some principal has a gap.
    gaps: bool,
    /// So many jobs were served or left since gaps were last closed.
    gone: usize,
    shares: FxHashMap<Principal, Share>,
    /// With so many principals, those that wait for nothing and owe nothing are forgotten.
    forget_at: usize,
}

/// In a line so long gaps are closed at once.
const SHORT_LINE: usize = 256;
/// In a longer one they are closed when such a part of it has gone, so that each job that goes pays for so many looks.
const GONE_PART: usize = 16;

/// No fewer principals than this are ever cleared away.
const FORGET_ABOVE: usize = 256;

impl Default for FairShare {
    fn default() -> Self {
        Self {
            virtual_time: 0,
            served: 0,
            waiting: 0,
            backlogged: 0,
            gaps: false,
            gone: 0,
            shares: FxHashMap::default(),
            forget_at: FORGET_ABOVE,
        }
    }
}

/// Even a job that costs nothing takes a turn.
fn weight(tokens: Tokens) -> u64 {
    tokens.get().max(1)
}

impl FairShare {
    /// A job arrives; its start tag.
    pub(crate) fn arrive(&mut self, principal: &Principal, tokens: Tokens) -> u64 {
        self.forget();
        if !self.shares.contains_key(principal) {
            self.shares.insert(principal.clone(), Share::default());
        }
        let virtual_time = self.virtual_time;
        let Some(share) = self.shares.get_mut(principal) else {
            return virtual_time;
        };
        // Jobs before it may have turned out cheaper than their tags say; it does not overtake them for that.
        let start = virtual_time.max(share.finish);
        let tag = if share.waiting > 0 { start.max(share.last) } else { start };
        share.last = tag;
        share.finish = start.saturating_add(weight(tokens));
        share.owed = share.owed.saturating_add(weight(tokens));
        share.waiting += 1;
        self.backlogged += usize::from(share.waiting == 1);
        self.waiting += 1;
        tag
    }

    /// How far the class has come.
    pub(crate) const fn virtual_time(&self) -> u64 {
        self.virtual_time
    }

    /// A batch is served of which this is the least start tag.
    pub(crate) fn advance(&mut self, tag: u64) {
        self.virtual_time = self.virtual_time.max(tag);
    }

    /// A job is served. When it was the last, virtual time moves on to the end of all that was.
    pub(crate) fn serve(&mut self, principal: &Principal, tokens: Tokens) {
        if let Some(share) = self.shares.get_mut(principal) {
            share.owed = share.owed.saturating_sub(weight(tokens));
            share.waiting = share.waiting.saturating_sub(1);
            if share.waiting == 0 {
                self.backlogged = self.backlogged.saturating_sub(1);
                self.served = self.served.max(share.finish);
            }
        }
        self.one_less();
    }

    /// A job leaves unserved: what it would have cost is given back, and those behind it may move up.
    pub(crate) fn leave(&mut self, principal: &Principal, tokens: Tokens) {
        if let Some(share) = self.shares.get_mut(principal) {
            share.finish = share.finish.saturating_sub(weight(tokens));
            share.owed = share.owed.saturating_sub(weight(tokens));
            share.waiting = share.waiting.saturating_sub(1);
            if share.waiting == 0 {
                self.backlogged = self.backlogged.saturating_sub(1);
            } else {
                share.gap = true;
                self.gaps = true;
            }
        }
        self.one_less();
    }

    fn one_less(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        self.gone = self.gone.saturating_add(1);
        if self.waiting == 0 {
            self.virtual_time = self.virtual_time.max(self.served);
        }
    }

    /// A served job comes back to its old place.
    pub(crate) fn give_back(&mut self, principal: &Principal, tokens: Tokens) {
        let share = self.shares.entry(principal.clone()).or_default();
        share.owed = share.owed.saturating_add(weight(tokens));
        share.waiting += 1;
        self.backlogged += usize::from(share.waiting == 1);
        self.waiting += 1;
    }

    /// The true cost of a job is known: what the principal owes changes by the difference.
    pub(crate) fn correct(&mut self, principal: &Principal, estimated: Tokens, real: Tokens) {
        if let Some(share) = self.shares.get_mut(principal) {
            share.finish = share.finish.saturating_add(weight(real)).saturating_sub(weight(estimated));
            share.owed = share.owed.saturating_add(weight(real)).saturating_sub(weight(estimated));
        }
    }

    /// Whether jobs should move up. With one principal alone there is nobody to move past.
    pub(crate) const fn has_gaps(&self) -> bool {
        self.gaps
            && self.backlogged > 1
            && (self.waiting <= SHORT_LINE || self.gone >= self.waiting / GONE_PART)
    }

    /// Begins to close the gaps: [`FairShare::moved_up`] is to be asked of every job that waits, in order of arrival.
    pub(crate) fn begin_to_close(&mut self) {
        self.gaps = false;
        self.gone = 0;
        for share in self.shares.values_mut() {
            share.mark = share.finish.saturating_sub(share.owed);
        }
    }

    /// The start tag of a job had those that left before it never come; `came` is the virtual time of its arrival.
    pub(crate) fn moved_up(&mut self, principal: &Principal, came: u64, tag: u64, tokens: Tokens) -> u64 {
        let Some(share) = self.shares.get_mut(principal).filter(|share| share.gap) else {
            return tag;
        };
        let tag = tag.min(came.max(share.mark));
        share.mark = tag.saturating_add(weight(tokens));
        share.last = tag;
        tag
    }

    /// Ends what [`FairShare::begin_to_close`] began.
    pub(crate) fn end_closing(&mut self) {
        self.shares.values_mut().for_each(|share| share.gap = false);
    }

    /// Forgets principals that wait for nothing and owe nothing, once there are twice as many as were left the last time.
    fn forget(&mut self) {
        if self.shares.len() < self.forget_at {
            return;
        }
        let now = self.virtual_time;
        self.shares.retain(|_, share| share.waiting > 0 || share.finish > now);
        self.forget_at = FORGET_ABOVE.max(2 * self.shares.len());
    }

    /// How many principals are remembered.
    #[cfg(test)]
    pub(crate) fn principals(&self) -> usize {
        self.shares.len()
    }

    /// With how many they are looked through again.
    #[cfg(test)]
    pub(crate) const fn forgets_at(&self) -> usize {
        self.forget_at
    }
}
