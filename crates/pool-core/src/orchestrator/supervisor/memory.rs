//! Memory for loads, and for inputs that were refused: who gets it, and who goes for it.

use super::*;

/// A group asks for the memory of its model; other groups may be evicted for it.
#[derive(Debug)]
pub(crate) struct MemoryRequest {
    pub(crate) model: ModelId,
    pub(crate) bytes: Bytes,
    pub(crate) reply: oneshot::Sender<Result<Reservation, NoMemory>>,
}

/// A load that waits for memory.
#[derive(Debug)]
pub(super) struct Waiting {
    request: MemoryRequest,
    /// The most there was for it so far, and since when there has been no more.
    available: Bytes,
    since: Instant,
}

/// There is no memory for the model, and waiting would not bring it.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "it needs {} MiB of memory, the budget is {} MiB, of which inputs, their reserved share and models that stay hold \
     {} MiB; raise the memory limit, or choose a smaller model or dtype",
    .needed.get() >> 20, .limit.get() >> 20, .held.get() >> 20
)]
pub(crate) struct NoMemory {
    pub(crate) needed: Bytes,
    pub(crate) held: Bytes,
    pub(crate) limit: Bytes,
}

/// A load for which nothing can be evicted waits for inputs to go for as long as they do: so long without any being freed,
/// and those that are left are of jobs that wait for this very load, or take too long to wait for.
const PATIENCE: Duration = Duration::from_secs(5);

impl Supervisor {
    /// A load wants memory.
    pub(super) fn ask(&mut self, request: MemoryRequest) {
        self.waiting.push_back(Waiting { request, available: Bytes::ZERO, since: Instant::now() });
        self.grant();
    }

    /// Gives memory to the loads that wait, in turn; for the first that does not get any, others are evicted. One for which
    /// nothing can be evicted holds up nobody, and is told so after a while.
    pub(super) fn grant(&mut self) {
        let (limit, for_models) = (self.governor.limit(), self.governor.limit_of_models());
        let now = Instant::now();
        let mut kept = VecDeque::new();
        let mut coming = false;
        let mut for_inputs = false;
        while let Some(mut waiting) = self.waiting.pop_front() {
            let request = &waiting.request;
            if request.reply.is_closed() {
                continue;
            }
            if coming {
                // Its turn has not come, so nothing can be said of it yet.
                waiting.since = now;
                kept.push_back(waiting);
                continue;
            }
            let needed = request.bytes;
            if needed > for_models {
                let held = limit - for_models;
                let _ = waiting.request.reply.send(Err(NoMemory { needed, held, limit }));
                continue;
            }
            match self.governor.try_reserve(Account::Weights, needed) {
                // If the group has gone meanwhile, the reservation is dropped here and so freed.
                Ok(reservation) => drop(waiting.request.reply.send(Ok(reservation))),
                Err(short) => {
                    coming = self.make_room(&request.model, needed.saturating_sub(short.available));
                    if coming || short.available > waiting.available {
                        waiting.available = short.available;
                        waiting.since = now;
                    }
                    if now.saturating_duration_since(waiting.since) >= PATIENCE {
                        let held = limit.saturating_sub(short.available);
                        let _ = waiting.request.reply.send(Err(NoMemory { needed, held, limit }));
                    } else {
                        for_inputs |= !coming;
                        kept.push_back(waiting);
                    }
                }
            }
        }
        self.waiting = kept;
        self.squeeze = for_inputs.then(|| self.squeeze.take().unwrap_or_else(|| self.governor.squeeze()));
    }

    /// Asks the least recently used groups to free so many bytes. Whether they are coming, now or in a while.
    fn make_room(&self, model: &ModelId, needed: Bytes) -> bool {
        let others = self.members.iter().filter(|member| member.model() != model);
        let candidates = others.filter_map(|member| member.candidate()).collect();
        self.evict_among(candidates, needed, model.as_str()) != Eviction::Never
    }

    /// Inputs were refused for want of so many bytes: models that nobody uses now make room for the next.
    pub(super) fn relieve(&mut self, lacking: Bytes) {
        let frees = self.governor.frees();
        let candidates = self.members.iter().filter_map(|member| member.candidate());
        let idle = candidates.filter(|candidate| !candidate.busy).collect();
        if self.evict_among(idle, lacking, "inputs") == Eviction::Later {
            // What frees memory for the least wakes everybody, and whoever still lacks some says so again.
            let least = self.lacking.take().map_or(lacking, |(other, _)| other.min(lacking));
            self.lacking = Some((least, frees));
        }
    }

    /// Looks again at what could not be freed yet, unless some memory has been: whoever still lacks any has said so since.
    pub(super) fn relieve_again(&mut self) {
        if let Some((lacking, frees)) = self.lacking.take()
            && !frees.has_news()
        {
            self.relieve(lacking);
        }
    }

    /// Asks the least recently used of these to go, unless those that are leaving suffice.
    fn evict_among(&self, candidates: Vec<Candidate>, needed: Bytes, wanted_for: &str) -> Eviction {
        let needed = needed - self.members.iter().map(|member| member.leaving()).sum();
        let eviction = eviction::choose(&candidates, needed, Instant::now(), MIN_RESIDENCE);
        if let Eviction::Now(victims) = &eviction {
            for member in self.members.iter().filter(|member| victims.contains(member.model())) {
                tracing::info!(model = %member.model(), wanted_for, "evicting to make room");
                member.evict();
            }
        }
        eviction
    }
}
