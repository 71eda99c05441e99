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
        self.evict_among(others.filter_map(|member| member.candidate()).collect(), needed, model.as_str())
    }

    /// Inputs were refused for want of so many bytes: models that nobody uses now make room for the next.
    pub(super) fn relieve(&self, lacking: Bytes) {
        let candidates = self.members.iter().filter_map(|member| member.candidate());
        self.evict_among(candidates.filter(|candidate| !candidate.busy).collect(), lacking, "inputs");
    }

    /// Asks the least recently used of these to go, unless those that are leaving suffice. Whether so many bytes are coming.
    fn evict_among(&self, candidates: Vec<Candidate>, needed: Bytes, wanted_for: &str) -> bool {
        let needed = needed - self.members.iter().map(|member| member.leaving()).sum();
        if needed == Bytes::ZERO {
            return true;
        }
        let victims = match eviction::choose(&candidates, needed, Instant::now(), MIN_RESIDENCE) {
            Eviction::Now(victims) => victims,
            Eviction::Later => return true,
            Eviction::Never => return false,
        };
        for member in self.members.iter().filter(|member| victims.contains(member.model())) {
            tracing::info!(model = %member.model(), wanted_for, "evicting to make room");
            member.evict();
        }
        true
    }
}
