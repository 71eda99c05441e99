//! Who gets the next slot of one lane: pure, with the clock handed in.
//!
//! Order: the priority class, raised by age; then the model that has computed least; then who came first. A model that
//! comes starts at the least of those that are active, and one that comes back is never more than [`CREDIT`] behind
//! them: between two steps it keeps its turn, but long idleness earns it no lead.
//!
//! Work past its limit is *lost*: it keeps its slot, since its thread is still out, but for each model's first lost
//! piece the lane grants one slot more, and it never falls below one slot that is not lost. A model with two lost
//! pieces is refused until one returns. As lost work returns, the extra slots go.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::types::{ModelId, Priority};

#[cfg(test)]
mod tests;

/// Names one claim within a lane; later claims have higher numbers.
pub(super) type Ticket = u64;

/// Lost pieces of work at which a model gets no more slots.
const REFUSED_AT: usize = 2;

/// How much less than the least active model one may have computed when it comes back: more than a step takes, or models
/// with short steps would lose, between any two of them, what longer steps of others owe them.
const CREDIT: Duration = Duration::from_secs(2);

const CLASSES: usize = Priority::ALL.len();

/// One lane: `W` is what waits for a slot.
#[derive(Debug)]
pub(super) struct Grants<W> {
    slots: usize,
    ageing: Duration,
    running: Vec<Running>,
    accounts: Vec<Account<W>>,
    index: HashMap<ModelId, usize>,
    vacant: Vec<usize>,
    /// Where newcomers join: the least active share when last looked at.
    floor: Duration,
    active: usize,
    waiting: usize,
    lost: usize,
    /// Accounts with at least one lost piece: each is worth one slot more.
    losers: usize,
    /// Claims that were thrown out of the queue when their model came to be refused, until their callers ask.
    thrown_out: HashSet<Ticket>,
}

#[derive(Debug)]
struct Running {
    ticket: Ticket,
    account: usize,
    since: Instant,
    until: Option<Instant>,
    lost: bool,
    /// What its account has been charged for already.
    charged: Duration,
}

#[derive(Debug)]
struct Account<W> {
    model: ModelId,
    /// All it has computed.
    computed: Duration,
    /// What it has computed, counted from where it joined: the measure of whose turn it is.
    share: Duration,
    running: usize,
    lost: usize,
    waiting: usize,
    /// It is forgotten as soon as it has nothing here.
    leaves: bool,
    queues: [BTreeMap<Ticket, Waiting<W>>; CLASSES],
}

#[derive(Debug)]
struct Waiting<W> {
    since: Instant,
    limit: Option<Duration>,
    work: W,
}

/// A request for a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) ticket: Ticket,
    pub(super) model: &'a ModelId,
    pub(super) priority: Priority,
    /// How long it may run before it counts as lost; `None` for ever.
    pub(super) limit: Option<Duration>,
}

/// What became of a request.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Claimed<W> {
    /// It has a slot: start it.
    Started(W),
    /// It waits; whoever frees a slot asks [`Grants::grant`].
    Waits,
    /// Its model is refused.
    Refused(W),
}

/// Where a claim stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It waits, or runs within its limit: look again then.
    Until(Option<Instant>),
    /// It runs and is given up.
    Lost {
        /// For how long it has been running.
        after: Duration,
    },
    /// It neither waits nor runs: its result, or the reason why there is none, is there or about to be.
    Ended,
}

/// What was freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Finished {
    /// For how long it ran.
    pub(super) took: Duration,
    /// It had been given up before.
    pub(super) was_lost: bool,
}

/// What a look at the clock found.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Swept<W> {
    /// Models, each with the time after which a piece of its work was given up.
    pub(super) lost: Vec<(ModelId, Duration)>,
    /// Work of models that came to be refused; drop it outside any lock.
    pub(super) thrown_out: Vec<W>,
}

impl<W> Grants<W> {
    pub(super) fn new(slots: usize, ageing: Duration) -> Self {
        Self {
            slots,
            ageing,
            running: Vec::with_capacity(slots),
            accounts: Vec::new(),
            index: HashMap::new(),
            vacant: Vec::new(),
            floor: Duration::ZERO,
            active: 0,
            waiting: 0,
            lost: 0,
            losers: 0,
            thrown_out: HashSet::new(),
        }
    }

    /// Asks for a slot. Where the answer is that it waits and [`Grants::has_room`] still, somebody must call
    /// [`Grants::grant`].
    pub(super) fn claim(&mut self, request: Request<'_>, now: Instant, work: W) -> Claimed<W> {
        let account = self.open(request.model);
        if self.accounts[account].lost >= REFUSED_AT {
            return Claimed::Refused(work);
        }
        self.activate(account);
        if self.waiting == 0 && self.has_room() {
            self.start(account, request.ticket, request.limit, now);
            return Claimed::Started(work);
        }
        let waiting = Waiting { since: now, limit: request.limit, work };
        self.accounts[account].queues[request.priority.index()].insert(request.ticket, waiting);
        self.accounts[account].waiting += 1;
        self.waiting += 1;
        Claimed::Waits
    }

    /// Whether one more may run.
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < (self.slots + self.losers).max(self.lost + 1)
    }

    /// Gives a free slot to the next in order; `None` without a free slot or without anybody who waits.
    pub(super) fn grant(&mut self, now: Instant) -> Option<W> {
        if self.waiting == 0 || !self.has_room() {
            return None;
        }
        let (account, class) = self.next(now)?;
        let (ticket, waiting) = self.accounts[account].queues[class].pop_first()?;
        self.accounts[account].waiting -= 1;
        self.waiting -= 1;
        self.start(account, ticket, waiting.limit, now);
        Some(waiting.work)
    }

    /// Frees the slot of a claim; `None` if it has none.
    pub(super) fn finish(&mut self, ticket: Ticket, now: Instant) -> Option<Finished> {
        let at = self.running.iter().position(|running| running.ticket == ticket)?;
        let Running { account, since, lost, charged, .. } = self.running.swap_remove(at);
        let took = now.saturating_duration_since(since);
        let entry = &mut self.accounts[account];
        entry.charge(took.saturating_sub(charged));
        if lost {
            entry.lost -= 1;
            self.lost -= 1;
            if entry.lost == 0 {
                self.losers -= 1;
            }
        } else {
            entry.running -= 1;
            self.deactivate_if_idle(account);
        }
        self.vacate_if_left(account);
        Some(Finished { took, was_lost: lost })
    }

    /// Takes a claim out of the queue; `None` if it does not wait (any more).
    pub(super) fn cancel(&mut self, ticket: Ticket, model: &ModelId, priority: Priority) -> Option<W> {
        if self.was_thrown_out(ticket) {
            return None;
        }
        let account = *self.index.get(model)?;
        let waiting = self.accounts[account].queues[priority.index()].remove(&ticket)?;
        self.accounts[account].waiting -= 1;
        self.waiting -= 1;
        self.deactivate_if_idle(account);
        self.vacate_if_left(account);
        Some(waiting.work)
    }

    /// Gives up what runs past its limit. Slots may have become free: call [`Grants::grant`] until it has none.
    pub(super) fn sweep(&mut self, now: Instant) -> Swept<W> {
        let mut swept = Swept { lost: Vec::new(), thrown_out: Vec::new() };
        for at in 0..self.running.len() {
            let running = &mut self.running[at];
            if running.lost || running.until.is_none_or(|until| now < until) {
                continue;
            }
            running.lost = true;
            let (account, after) = (running.account, now.saturating_duration_since(running.since));
            running.charged = after;
            self.lost += 1;
            let entry = &mut self.accounts[account];
            entry.charge(after);
            entry.running -= 1;
            entry.lost += 1;
            if entry.lost == 1 {
                self.losers += 1;
            }
            swept.lost.push((entry.model.clone(), after));
            if entry.lost >= REFUSED_AT {
                self.throw_out(account, &mut swept.thrown_out);
            }
            self.deactivate_if_idle(account);
        }
        swept
    }

    /// Where a claim stands; call [`Grants::sweep`] first.
    pub(super) fn standing(
        &self,
        ticket: Ticket,
        model: &ModelId,
        priority: Priority,
        now: Instant,
    ) -> Standing {
        if let Some(running) = self.running.iter().find(|running| running.ticket == ticket) {
            return match running.lost {
                true => Standing::Lost { after: now.saturating_duration_since(running.since) },
                false => Standing::Until(running.until),
            };
        }
        let account = self.index.get(model).map(|&account| &self.accounts[account]);
        match account.and_then(|account| account.queues[priority.index()].get(&ticket)) {
            Some(waiting) => {
                // Not later than its own limit could be, had it started now.
                let own = waiting.limit.and_then(|limit| now.checked_add(limit));
                Standing::Until(self.next_limit().into_iter().chain(own).min())
            }
            None => Standing::Ended,
        }
    }

    /// The earliest moment at which something that runs will be given up: whoever waits looks again then.
    fn next_limit(&self) -> Option<Instant> {
        self.running.iter().filter(|running| !running.lost).filter_map(|running| running.until).min()
    }

    /// Whether the claim was thrown out of the queue because its model is refused; true once.
    pub(super) fn was_thrown_out(&mut self, ticket: Ticket) -> bool {
        !self.thrown_out.is_empty() && self.thrown_out.remove(&ticket)
    }

    /// Forgets a model: now, or where it still runs or waits, once it does not. Whether it was now.
    pub(super) fn forget(&mut self, model: &ModelId) -> bool {
        let Some(&account) = self.index.get(model) else {
            return true;
        };
        self.accounts[account].leaves = true;
        self.vacate_if_left(account)
    }

    fn vacate_if_left(&mut self, account: usize) -> bool {
        let entry = &self.accounts[account];
        let left = entry.leaves && !entry.is_active() && entry.lost == 0;
        if left {
            self.index.remove(&entry.model);
            self.vacant.push(account);
        }
        left
    }

    /// All the time this model has had a slot of this lane.
    pub(super) fn computed(&self, model: &ModelId) -> Duration {
        self.index.get(model).map(|&account| self.accounts[account].computed).unwrap_or_default()
    }

    /// How many pieces of this model's work run and are not lost.
    pub(super) fn running_of(&self, model: &ModelId) -> usize {
        self.index.get(model).map(|&account| self.accounts[account].running).unwrap_or_default()
    }

    /// How many pieces of this model's work are lost now.
    pub(super) fn lost_of(&self, model: &ModelId) -> usize {
        self.index.get(model).map(|&account| self.accounts[account].lost).unwrap_or_default()
    }

    /// Whether this model gets no more slots.
    pub(super) fn refuses(&self, model: &ModelId) -> bool {
        self.lost_of(model) >= REFUSED_AT
    }

    /// How many slots the lane has when none is lost.
    pub(super) const fn slots(&self) -> usize {
        self.slots
    }

    /// How many pieces of work run and are not lost.
    pub(super) fn busy(&self) -> usize {
        self.running.len() - self.lost
    }

    /// How many claims wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many pieces of work are lost.
    pub(super) const fn lost(&self) -> usize {
        self.lost
    }

    /// The account and priority class of the next in order.
    fn next(&self, now: Instant) -> Option<(usize, usize)> {
        let mut best = None;
        for (at, account) in self.accounts.iter().enumerate().filter(|(_, account)| account.waiting > 0) {
            for (class, queue) in account.queues.iter().enumerate() {
                let Some((&ticket, head)) = queue.first_key_value() else {
                    continue;
                };
                let raised = self.raised(class, now.saturating_duration_since(head.since));
                let rank = (std::cmp::Reverse(raised), account.share, ticket);
                if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                    best = Some((rank, (at, class)));
                }
            }
        }
        best.map(|(_, found)| found)
    }

    /// The class of a claim that has waited for so long.
    fn raised(&self, class: usize, waited: Duration) -> usize {
        if self.ageing.is_zero() {
            return class;
        }
        let steps = waited.as_nanos() / self.ageing.as_nanos();
        (CLASSES - 1).min(class.saturating_add(usize::try_from(steps).unwrap_or(CLASSES)))
    }

    fn start(&mut self, account: usize, ticket: Ticket, limit: Option<Duration>, now: Instant) {
        let until = limit.and_then(|limit| now.checked_add(limit));
        self.running.push(Running {
            ticket,
            account,
            since: now,
            until,
            lost: false,
            charged: Duration::ZERO,
        });
        self.accounts[account].running += 1;
    }

    fn throw_out(&mut self, account: usize, works: &mut Vec<W>) {
        for queue in &mut self.accounts[account].queues {
            for (ticket, waiting) in std::mem::take(queue) {
                self.thrown_out.insert(ticket);
                works.push(waiting.work);
            }
        }
        self.waiting -= std::mem::take(&mut self.accounts[account].waiting);
    }

    /// The account of a model, made where it has none.
    fn open(&mut self, model: &ModelId) -> usize {
        if let Some(&account) = self.index.get(model) {
            self.accounts[account].leaves = false;
            return account;
        }
        self.raise_floor();
        let account = Account::new(model.clone(), self.floor);
        let at = match self.vacant.pop() {
            Some(at) => {
                self.accounts[at] = account;
                at
            }
            None => {
                self.accounts.push(account);
                self.accounts.len() - 1
            }
        };
        self.index.insert(model.clone(), at);
        at
    }

    /// Lets an idle account join not far behind the active ones.
    fn activate(&mut self, account: usize) {
        if self.accounts[account].is_active() {
            return;
        }
        self.raise_floor();
        self.active += 1;
        let entry = &mut self.accounts[account];
        entry.share = entry.share.max(self.floor.saturating_sub(CREDIT));
    }

    /// Raises the floor to the least share of the active accounts.
    fn raise_floor(&mut self) {
        if self.active > 0 {
            let least = self.accounts.iter().filter(|a| a.is_active()).map(|a| a.share).min();
            self.floor = self.floor.max(least.unwrap_or_default());
        }
    }

    /// Leaves the floor where the last active account was.
    fn deactivate_if_idle(&mut self, account: usize) {
        if self.accounts[account].is_active() {
            return;
        }
        self.active -= 1;
        if self.active == 0 {
            self.floor = self.floor.max(self.accounts[account].share);
        }
    }
}

impl<W> Account<W> {
    fn new(model: ModelId, share: Duration) -> Self {
        Self {
            model,
            computed: Duration::ZERO,
            share,
            running: 0,
            lost: 0,
            waiting: 0,
            leaves: false,
            queues: Default::default(),
        }
    }

    fn charge(&mut self, time: Duration) {
        self.computed += time;
        self.share += time;
    }

    /// Whether it takes part in sharing: lost work does not.
    const fn is_active(&self) -> bool {
        self.running > 0 || self.waiting > 0
    }
}
