//! Workers up: memory, load, and who waited for it.

use super::*;

impl<L: Loader> GroupTask<L> {
    /// Finds memory for a worker. The group's first may have others evicted for it; a further one takes what is free.
    pub(super) fn bring_up_one(&mut self, first: bool) {
        let loader = Arc::clone(&self.loader);
        let lanes = self.lanes.clone();
        let governor = self.governor.clone();
        let weights = self.shared.weights();
        let memory = self.memory.clone();
        let model = self.shared.model().clone();
        self.shared.apply(GroupEvent::Demand);
        self.bring_up = Some(Box::pin(async move {
            let headers = lanes.io_for(&Claim::new(model.clone()), move || loader.footprint());
            let footprint = match headers.await {
                Ok(Ok(footprint)) => footprint,
                Ok(Err(error)) => return Err(NotBroughtUp::Failed(Arc::new(error))),
                Err(crate::compute::ComputeError::Gone) => return Err(NotBroughtUp::ShuttingDown),
                Err(error) => return Err(NotBroughtUp::Failed(Arc::new(error))),
            };
            let needed = match &weights {
                Some(_) => footprint.working_set,
                None => footprint.weights + footprint.working_set,
            };
            let mut both = if first {
                let (reply, answer) = oneshot::channel();
                let request = MemoryRequest { model, bytes: needed, reply };
                memory.send(request).await.map_err(|_| NotBroughtUp::ShuttingDown)?;
                match answer.await {
                    Ok(Ok(reservation)) => reservation,
                    Ok(Err(error)) => return Err(NotBroughtUp::Failed(Arc::new(error))),
                    Err(_) => return Err(NotBroughtUp::ShuttingDown),
                }
            } else {
                governor.try_reserve(Account::Weights, needed).map_err(|_| NotBroughtUp::NotNow)?
            };
            let working_set = both.split(footprint.working_set).reassign(Account::Activations);
            let weights = weights.unwrap_or_else(|| Arc::new(both));
            Ok((footprint, WorkerMemory { weights, _working_set: working_set }))
        }));
    }

    pub(super) fn got_memory(&mut self, memory: Result<(Footprint, WorkerMemory), NotBroughtUp>) {
        let (footprint, memory) = match memory {
            Ok(memory) => memory,
            Err(NotBroughtUp::Failed(cause)) => return self.load_failed(cause),
            Err(NotBroughtUp::NotNow) => {
                let now = Instant::now();
                self.scale_again = now + SCALE_PAUSE;
                self.breaker.on_abandoned(now);
                self.settle_empty();
                return;
            }
            Err(NotBroughtUp::ShuttingDown) => return self.going_down(),
        };
        self.footprint = footprint;
        self.shared.keep_weights(&memory.weights);
        self.workers_made += 1;
        let id = WorkerId::new(self.workers_made);
        let (orders, listen) = watch::channel(Order::Work);
        let status = WorkerStatus::new();
        let worker = Worker::new(WorkerConfig {
            id,
            loader: Arc::clone(&self.loader),
            queue: Arc::clone(&self.shared.queue),
            lanes: self.lanes.clone(),
            memory,
            orders: listen,
            loaded: self.loaded_sender.clone(),
            status: Arc::clone(&status),
            stall_limit: self.shared.config.stall_limit,
        });
        self.tasks.spawn(async move {
            // Where its own code panics, its lease goes back as it unwinds.
            let died = |message| Exit::Died { message, convicted: false };
            TaskEnd::Worker(id, contained(worker.run()).await.unwrap_or_else(died))
        });
        self.hands.insert(id, Hand { orders, status, loaded: false, draining: false });
        self.last_change = Instant::now();
        self.publish();
    }

    pub(super) fn came_up(&mut self, worker: WorkerId) {
        if let Some(hand) = self.hands.get_mut(&worker) {
            hand.loaded = true;
            let draining = hand.draining;
            self.metrics.loads.increment(1);
            self.breaker.on_success(Instant::now());
            self.shared.apply(GroupEvent::Loaded);
            self.shared.set_error(None);
            if !draining {
                self.reopen();
                for reply in self.warm.drain(..) {
                    let _ = reply.send(Ok(()));
                }
            }
            self.publish();
        }
    }

    /// Whoever comes is let in again.
    pub(super) fn reopen(&mut self) {
        if self.resting.take().is_some() && !self.draining {
            self.shared.queue.reopen();
        }
    }

    pub(super) fn warm(&mut self, reply: oneshot::Sender<Result<(), Error>>) {
        let answer = if self.hands.values().any(|hand| hand.loaded && !hand.draining) {
            Ok(())
        } else if self.draining {
            Err(self.shared.closing_error())
        } else if let Some((error, until)) = &self.resting {
            Err(error.at(Some(*until), Instant::now()))
        } else {
            self.warm.push(reply);
            return;
        };
        // Whoever asked may have stopped waiting.
        let _ = reply.send(answer);
    }
}
