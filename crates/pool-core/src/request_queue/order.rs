//! In which order waiting jobs are served: (priority class raised by age, start-time-fair tag, arrival).
//!
//! Start-time fair queueing after Goyal, Vin and Cheng, "Start-time Fair Queuing" (SIGCOMM 1996): a job's start tag is
//! the later of the class's virtual time and its principal's last finish tag; virtual time is the least start
//! tag of the batch last served: a batch is filled by length, so it may hold jobs far down the line. Each class shares by itself.

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
    finish: u64,
    waiting: usize,
}

/// Fair sharing of one class between principals, by cost.
#[derive(Default, Debug)]
pub(crate) struct FairShare {
    virtual_time: u64,
    /// The last finish tag of what was served.
    served: u64,
    waiting: usize,
    shares: FxHashMap<Principal, Share>,
}

/// Above so many principals, those that wait for nothing and owe nothing are forgotten.
const FORGET_ABOVE: usize = 256;

impl FairShare {
    /// A job arrives; its start tag.
    pub(crate) fn arrive(&mut self, principal: &Principal, tokens: Tokens) -> u64 {
        if self.shares.len() > FORGET_ABOVE {
            let now = self.virtual_time;
            self.shares.retain(|_, share| share.waiting > 0 || share.finish > now);
        }
        if !self.shares.contains_key(principal) {
            self.shares.insert(principal.clone(), Share::default());
        }
        let virtual_time = self.virtual_time;
        let Some(share) = self.shares.get_mut(principal) else {
            return virtual_time;
        };
        let start = virtual_time.max(share.finish);
        share.finish = start.saturating_add(tokens.get().max(1));
        share.waiting += 1;
        self.waiting += 1;
        start
    }

    /// A batch is served of which this is the least start tag.
    pub(crate) fn advance(&mut self, tag: u64) {
        self.virtual_time = self.virtual_time.max(tag);
    }

    /// A job is served. When it was the last, virtual time moves on to the end of all that was.
    pub(crate) fn serve(&mut self, principal: &Principal) {
        if let Some(share) = self.shares.get_mut(principal) {
            share.waiting = share.waiting.saturating_sub(1);
            if share.waiting == 0 {
                self.served = self.served.max(share.finish);
            }
        }
        self.one_less();
    }

    /// A job with this start tag leaves unserved. If it was the principal's last, what it would have cost is given back.
    pub(crate) fn leave(&mut self, principal: &Principal, tag: u64) {
        if let Some(share) = self.shares.get_mut(principal) {
            share.waiting = share.waiting.saturating_sub(1);
            if share.waiting == 0 {
                share.finish = share.finish.min(tag);
            }
        }
        self.one_less();
    }

    fn one_less(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 {
            self.virtual_time = self.virtual_time.max(self.served);
        }
    }

    /// A served job comes back to its old place.
    pub(crate) fn give_back(&mut self, principal: &Principal) {
        self.shares.entry(principal.clone()).or_default().waiting += 1;
        self.waiting += 1;
    }

    /// How many principals are remembered.
    #[cfg(test)]
    pub(crate) fn principals(&self) -> usize {
        self.shares.len()
    }

    /// The true cost of a job is known: what the principal owes changes by the difference.
    pub(crate) fn correct(&mut self, principal: &Principal, estimated: Tokens, real: Tokens) {
        if let Some(share) = self.shares.get_mut(principal) {
            share.finish =
                share.finish.saturating_add(real.get().max(1)).saturating_sub(estimated.get().max(1));
        }
    }
}
