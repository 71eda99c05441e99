//! Histories in memory: what rooms keep where nothing needs to outlive the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::store::{HistoryStore, Kept, StoreError, StoredEvent};

/// Keeps histories in memory, so that a room that everybody has left is the same when somebody comes back. Where all of them
/// together exceed the bound, those go first that nothing has been added to for longest.
#[derive(Debug)]
pub struct MemoryHistory {
    most_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default, Debug)]
struct State {
    rooms: BTreeMap<String, Room>,
    bytes: usize,
    /// Counts appends, to know which room was added to last.
    clock: u64,
}

#[derive(Debug)]
struct Room {
    epoch: String,
    events: VecDeque<StoredEvent>,
    bytes: usize,
    saved: Option<Arc<str>>,
    touched: u64,
}

impl MemoryHistory {
    /// A store that keeps so many bytes of events.
    pub fn new(most_bytes: usize) -> Self {
        Self { most_bytes, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 256 MiB.
impl Default for MemoryHistory {
    fn default() -> Self {
        Self::new(256 << 20)
    }
}

impl HistoryStore for MemoryHistory {
    fn load(&self, room: &str) -> BoxFuture<'static, Result<Option<Kept>, StoreError>> {
        let kept = self.lock().rooms.get(room).and_then(|room| {
            Some(Kept {
                epoch: room.epoch.clone(),
                first_seq: room.events.front()?.seq,
                events: room.events.iter().cloned().collect(),
                state: room.saved.clone(),
            })
        });
        ready(Ok(kept)).boxed()
    }

    fn append(
        &self,
        room: &str,
        epoch: &str,
        events: Vec<StoredEvent>,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        self.lock().append(room, epoch, events, self.most_bytes);
        ready(Ok(())).boxed()
    }

    fn trim(&self, room: &str, before_seq: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.lock().trim(room, before_seq);
        ready(Ok(())).boxed()
    }

    fn save(&self, room: &str, state: Arc<str>) -> BoxFuture<'static, Result<(), StoreError>> {
        if let Some(room) = self.lock().rooms.get_mut(room) {
            room.saved = Some(state);
        }
        ready(Ok(())).boxed()
    }
}

impl State {
    fn append(&mut self, name: &str, epoch: &str, events: Vec<StoredEvent>, most_bytes: usize) {
        self.clock += 1;
        let room = self.rooms.entry(name.to_owned()).or_insert_with(|| Room {
            epoch: epoch.to_owned(),
            events: VecDeque::new(),
            bytes: 0,
            saved: None,
            touched: 0,
        });
        room.touched = self.clock;
        if room.epoch != epoch {
            room.epoch = epoch.to_owned();
            room.saved = None;
            self.bytes -= room.cut(|_| false);
        }
        if let Some(first) = events.first().map(|event| event.seq)
            && room.events.back().is_some_and(|last| last.seq >= first)
        {
            self.bytes -= room.cut(|event| event.seq < first);
        }
        let added: usize = events.iter().map(|event| event.json.len()).sum();
        room.bytes += added;
        self.bytes += added;
        room.events.extend(events);
        while self.bytes > most_bytes && self.rooms.len() > 1 {
            let oldest = self.rooms.iter().min_by_key(|(_, room)| room.touched).map(|(name, _)| name.clone());
            let Some(gone) = oldest.and_then(|name| self.rooms.remove(&name)) else { return };
            self.bytes -= gone.bytes;
        }
    }

    fn trim(&mut self, name: &str, before_seq: u64) {
        if let Some(room) = self.rooms.get_mut(name) {
            self.bytes -= room.cut(|event| event.seq >= before_seq);
        }
    }
}

impl Room {
    /// Keeps only these events; how many bytes went.
    fn cut(&mut self, keep: impl Fn(&StoredEvent) -> bool) -> usize {
        self.events.retain(keep);
        let before = self.bytes;
        self.bytes = self.events.iter().map(|event| event.json.len()).sum();
        before - self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(seqs: std::ops::RangeInclusive<u64>) -> Vec<StoredEvent> {
        seqs.map(|seq| StoredEvent { seq, at_ms: 0, json: "0123456789".into() }).collect()
    }

    async fn seqs(store: &MemoryHistory, room: &str) -> Vec<u64> {
        let kept = store.load(room).await.unwrap();
        kept.map_or(vec![], |kept| kept.events.iter().map(|event| event.seq).collect())
    }

    #[tokio::test]
    async fn appends_follow_or_replace_and_what_is_beyond_the_bound_goes_oldest_first() {
        let store = MemoryHistory::new(100);
        store.append("a", "e", events(1..=4)).await.unwrap();
        store.append("a", "e", events(3..=3)).await.unwrap();
        assert_eq!(seqs(&store, "a").await, [1, 2, 3], "what came after is replaced");
        store.save("a", "{}".into()).await.unwrap();
        store.trim("a", 2).await.unwrap();
        let kept = store.load("a").await.unwrap().unwrap();
        assert_eq!((kept.epoch.as_str(), kept.first_seq, kept.state.as_deref()), ("e", 2, Some("{}")));
        store.append("b", "f", events(1..=8)).await.unwrap();
        store.append("a", "e", events(4..=4)).await.unwrap();
        assert_eq!(seqs(&store, "b").await, [0_u64; 0], "it had been added to longest ago");
        assert_eq!(seqs(&store, "a").await, [2, 3, 4]);
        store.append("a", "g", events(1..=1)).await.unwrap();
        assert_eq!(seqs(&store, "a").await, [1], "another epoch is another history");
    }
}
