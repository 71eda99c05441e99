use std::fmt;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::pressure::Thresholds;
use super::{Account, Pressure};
use crate::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, lock};
use crate::types::Bytes;

#[cfg(test)]
#[cfg(feature = "shuttle")]
mod explored;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;

/// One budget in bytes. Clones share it.
///
/// Reserving and freeing cost a few atomic operations each and never wait.
#[derive(Clone)]
pub struct Governor {
    shared: Arc<Shared>,
}

struct Shared {
    limit: u64,
    /// What nothing but inputs may take.
    share: u64,
    thresholds: Thresholds,
    used: AtomicU64,
    peak: AtomicU64,
    accounts: [AtomicU64; Account::ALL.len()],
    /// The [`Pressure`] last told, by its index.
    level: AtomicU8,
    /// Held by whoever changes the level, so that levels are told in the order they came.
    pressure: Mutex<watch::Sender<Pressure>>,
    /// How often memory was freed.
    frees: AtomicU64,
    /// How many wait for memory to be freed.
    awaiting: AtomicUsize,
    freed: Notify,
    /// How many loads wait for inputs to be freed.
    squeezes: AtomicUsize,
    /// The most that refused inputs lacked since somebody last asked.
    lacking: AtomicU64,
    lacks: Notify,
}

/// A part of the budget, given back when this is dropped.
///
/// It may be sent to another thread and dropped anywhere, within a closure on a compute thread for one.
#[must_use = "memory is given back when the reservation is dropped"]
pub struct Reservation {
    shared: Arc<Shared>,
    account: Account,
    bytes: u64,
}

/// The budget has too little left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("out of memory: {needed} needed, {available} of {limit} left")]
pub struct OutOfMemory {
    /// What was asked for.
    pub needed: Bytes,
    /// What was left at that moment.
    pub available: Bytes,
    /// The whole budget.
    pub limit: Bytes,
}

/// How the budget is used at one moment. Under concurrent reservations the numbers are each right, but not of the very
/// same moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryStats {
    /// The whole budget.
    pub limit: Bytes,
    /// What is reserved.
    pub used: Bytes,
    /// The most that ever was reserved at once.
    pub peak: Bytes,
    /// How full the budget is.
    pub pressure: Pressure,
    accounts: [Bytes; Account::ALL.len()],
}

impl MemoryStats {
    /// What is reserved for one use.
    pub const fn account(&self, account: Account) -> Bytes {
        self.accounts[account.index()]
    }

    /// What is left.
    pub const fn available(&self) -> Bytes {
        self.limit.saturating_sub(self.used)
    }
}

impl Governor {
    /// A budget of so many bytes, whatever they are used for.
    pub fn new(limit: Bytes) -> Self {
        Self::reserving(limit, Bytes::ZERO)
    }

    /// A budget of which this share is for inputs alone, so that models never fill it to the brim.
    ///
    /// At [`Pressure::Critical`], and while a load waits for inputs to go, inputs have their share and no more; else they may
    /// take whatever is left. The share is held to within what others reserve at the very same
    /// moment; the budget is held exactly.
    pub fn reserving(limit: Bytes, inputs: Bytes) -> Self {
        let shared = Shared {
            limit: limit.get(),
            share: inputs.get().min(limit.get()),
            thresholds: Thresholds::of(limit),
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            accounts: Default::default(),
            level: AtomicU8::new(0),
            pressure: Mutex::new(watch::channel(Pressure::Low).0),
            frees: AtomicU64::new(0),
            awaiting: AtomicUsize::new(0),
            freed: Notify::new(),
            squeezes: AtomicUsize::new(0),
            lacking: AtomicU64::new(0),
            lacks: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Reserves memory now or not at all.
    ///
    /// # Errors
    ///
    /// When less than that is left.
    pub fn try_reserve(&self, account: Account, bytes: Bytes) -> Result<Reservation, OutOfMemory> {
        self.shared.take(account, bytes.get())?;
        Ok(Reservation { shared: Arc::clone(&self.shared), account, bytes: bytes.get() })
    }

    /// How full the budget is now.
    pub fn pressure(&self) -> Pressure {
        Pressure::from_index(self.shared.level.load(Ordering::SeqCst))
    }

    /// Tells every change of the pressure; a slow reader sees the latest only.
    pub fn subscribe(&self) -> watch::Receiver<Pressure> {
        lock(&self.shared.pressure).subscribe()
    }

    /// Resolves when memory has been freed since this call.
    ///
    /// What counts is the call, not the first poll: make the future first, try to reserve, and await the future where
    /// that fails; then no memory that is freed in between goes unnoticed. That some was freed does not mean that it is
    /// enough or still there: try again in a loop. A task that waits again and again keeps [`Governor::frees`] instead.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time. Every future hears of every time memory is freed; none takes it away
    /// from another.
    pub fn freed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut frees = self.frees();
        async move { frees.next().await }
    }

    /// Tells, from this call on, whenever memory has been freed.
    pub fn frees(&self) -> Frees {
        Frees { shared: Arc::clone(&self.shared), seen: self.shared.frees.load(Ordering::SeqCst) }
    }

    /// Holds inputs to their share until the guard is dropped: a load waits for them to go.
    pub(crate) fn squeeze(&self) -> Squeeze {
        self.shared.squeezes.fetch_add(1, Ordering::SeqCst);
        Squeeze { shared: Arc::clone(&self.shared) }
    }

    /// Resolves when inputs have been refused since it last did: with what would have to be freed for the largest.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time: what it did not tell, the next one tells.
    pub(crate) async fn lacking(&self) -> Bytes {
        loop {
            let lacks = self.shared.lacks.notified();
            let bytes = self.shared.lacking.swap(0, Ordering::SeqCst);
            if bytes > 0 {
                return Bytes(bytes);
            }
            lacks.await;
        }
    }

    /// The most that models may reserve together.
    pub(crate) fn limit_of_models(&self) -> Bytes {
        Bytes(self.shared.limit - self.shared.share)
    }

    /// How the budget is used.
    pub fn stats(&self) -> MemoryStats {
        let shared = &self.shared;
        MemoryStats {
            limit: Bytes(shared.limit),
            used: Bytes(shared.used.load(Ordering::SeqCst)),
            peak: Bytes(shared.peak.load(Ordering::SeqCst)),
            pressure: self.pressure(),
            accounts: Account::ALL.map(|account| Bytes(shared.account(account).load(Ordering::SeqCst))),
        }
    }

    /// The whole budget.
    pub fn limit(&self) -> Bytes {
        Bytes(self.shared.limit)
    }
}

impl fmt::Debug for Governor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Governor").field(&self.stats()).finish()
    }
}

impl Reservation {
    /// How much is reserved.
    pub const fn bytes(&self) -> Bytes {
        Bytes(self.bytes)
    }

    /// What for.
    pub const fn account(&self) -> Account {
        self.account
    }

    /// Reserves so much more, now or not at all.
    ///
    /// # Errors
    ///
    /// When less than that is left; the reservation stays as it was.
    pub fn try_grow(&mut self, more: Bytes) -> Result<(), OutOfMemory> {
        self.shared.take(self.account, more.get())?;
        self.bytes += more.get();
        Ok(())
    }

    /// Gives back all but so much. A reservation that is no larger stays as it is.
    pub fn shrink_to(&mut self, bytes: Bytes) {
        let surplus = self.bytes.saturating_sub(bytes.get());
        if surplus > 0 {
            self.bytes -= surplus;
            self.shared.give_back(self.account, surplus);
        }
    }

    /// Moves so much of it, or all where it holds less, into a reservation of its own. The budget does not change, so
    /// one reservation that was granted whole can be handed out in parts.
    pub fn split(&mut self, bytes: Bytes) -> Self {
        let bytes = bytes.get().min(self.bytes);
        self.bytes -= bytes;
        Self { shared: Arc::clone(&self.shared), account: self.account, bytes }
    }

    /// Adds another reservation to this one, and to its account. The budget does not change.
    ///
    /// # Errors
    ///
    /// The other one back, if it belongs to another governor.
    pub fn merge(&mut self, other: Self) -> Result<(), Self> {
        if !Arc::ptr_eq(&self.shared, &other.shared) {
            return Err(other);
        }
        let mut other = other.reassign(self.account);
        self.bytes += std::mem::take(&mut other.bytes);
        Ok(())
    }

    /// Books it on another account. The budget does not change.
    pub fn reassign(mut self, account: Account) -> Self {
        if account != self.account {
            self.shared.account(self.account).fetch_sub(self.bytes, Ordering::SeqCst);
            self.shared.account(account).fetch_add(self.bytes, Ordering::SeqCst);
            self.account = account;
        }
        self
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.shared.give_back(self.account, self.bytes);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("account", &self.account).field("bytes", &self.bytes).finish()
    }
}

impl Shared {
    fn account(&self, account: Account) -> &AtomicU64 {
        &self.accounts[account.index()]
    }

    fn take(&self, account: Account, bytes: u64) -> Result<(), OutOfMemory> {
        let fits = |used: u64| used.checked_add(bytes).filter(|_| bytes <= self.available(account, used));
        let before = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).map_err(|used| {
            self.note_refused(account, bytes, used);
            let available = Bytes(self.available(account, used));
            OutOfMemory { needed: Bytes(bytes), available, limit: Bytes(self.limit) }
        })?;
        let used = before + bytes;
        self.account(account).fetch_add(bytes, Ordering::SeqCst);
        if used > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(used, Ordering::SeqCst);
        }
        self.tell_pressure(used);
        Ok(())
    }

    /// What this account may still take where so much of the budget is used.
    fn available(&self, account: Account, used: u64) -> u64 {
        let left = self.limit.saturating_sub(used);
        if self.share == 0 {
            return left;
        }
        let inputs = || self.account(Account::Inputs).load(Ordering::SeqCst);
        match account {
            Account::Inputs if self.is_tight() => left.min(self.share.saturating_sub(inputs())),
            Account::Inputs => left,
            Account::Weights | Account::Cache | Account::Activations => {
                let models = used.saturating_sub(inputs());
                left.min((self.limit - self.share).saturating_sub(models))
            }
        }
    }

    /// Whether inputs are held to their share.
    fn is_tight(&self) -> bool {
        self.level.load(Ordering::SeqCst) >= Pressure::Critical as u8
            || self.squeezes.load(Ordering::SeqCst) > 0
    }

    /// Remembers how much less of the budget would have to be used for these inputs to be let in, and tells of it.
    fn note_refused(&self, account: Account, bytes: u64, used: u64) {
        if account != Account::Inputs || bytes > self.limit {
            return;
        }
        // To leave the critical level, or to make them fit, whichever is more.
        let calm = self.thresholds.left_below(Pressure::Critical);
        let lacking = used.saturating_sub(calm.min(self.limit - bytes));
        if lacking > 0 {
            self.lacking.fetch_max(lacking, Ordering::SeqCst);
            self.lacks.notify_one();
        }
    }

    fn give_back(&self, account: Account, bytes: u64) {
        self.account(account).fetch_sub(bytes, Ordering::SeqCst);
        let used = self.used.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        self.tell_pressure(used);
        self.tell_freed();
    }

    fn tell_freed(&self) {
        // In this order: who waits counts himself before he looks at the number of frees, so either he sees this one or
        // he is seen here.
        self.frees.fetch_add(1, Ordering::SeqCst);
        if self.awaiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    /// Tells a change of level. Nearly always there is none, and then this is one load and a few comparisons.
    fn tell_pressure(&self, used: u64) {
        let current = Pressure::from_index(self.level.load(Ordering::SeqCst));
        if self.thresholds.next(current, used) == current {
            return;
        }
        let sender = lock(&self.pressure);
        // Another may have changed the use since, may even have looked at the level before it is stored here and found
        // it fitting: so look again after each change.
        loop {
            let current = Pressure::from_index(self.level.load(Ordering::SeqCst));
            let next = self.thresholds.next(current, self.used.load(Ordering::SeqCst));
            if next == current {
                return;
            }
            self.level.store(next as u8, Ordering::SeqCst);
            sender.send_replace(next);
        }
    }
}

/// A load waits for inputs to go: as long as there is one of these, inputs are held to their share.
#[derive(Debug)]
pub(crate) struct Squeeze {
    shared: Arc<Shared>,
}

impl Drop for Squeeze {
    /// Inputs that were refused for its sake may try again.
    fn drop(&mut self) {
        self.shared.squeezes.fetch_sub(1, Ordering::SeqCst);
        self.shared.tell_freed();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("limit", &self.limit).field("used", &self.used).finish_non_exhaustive()
    }
}

/// Remembers which frees its owner has heard of. It costs those that free memory nothing but while somebody waits.
#[derive(Clone)]
pub struct Frees {
    shared: Arc<Shared>,
    seen: u64,
}

impl Frees {
    /// Resolves when memory has been freed since this last resolved, or since it was made; many times count as one.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time: what it did not tell, the next one tells.
    pub async fn next(&mut self) {
        let _awaiting = Awaiting::enter(&self.shared);
        loop {
            let notified = self.shared.freed.notified();
            let frees = self.shared.frees.load(Ordering::SeqCst);
            if frees != self.seen {
                self.seen = frees;
                return;
            }
            notified.await;
        }
    }

    /// Whether [`Frees::next`] would resolve at once.
    pub(crate) fn has_news(&self) -> bool {
        self.shared.frees.load(Ordering::SeqCst) != self.seen
    }
}

impl fmt::Debug for Frees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frees").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// Counts somebody who waits for memory, for as long as he does.
struct Awaiting<'a> {
    shared: &'a Shared,
}

impl<'a> Awaiting<'a> {
    fn enter(shared: &'a Shared) -> Self {
        shared.awaiting.fetch_add(1, Ordering::SeqCst);
        Self { shared }
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.shared.awaiting.fetch_sub(1, Ordering::SeqCst);
    }
}
