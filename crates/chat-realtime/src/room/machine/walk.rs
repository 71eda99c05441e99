//! Random walks of the machine with a store that fails, readers that come and go, and kills; what every client has read is held
//! against what was kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::*;
use crate::context::Passage;
use crate::delivery::Limits;
use crate::model::{FailureKind, Finish, ModelFailure, Piece, Usage};
use crate::room::limits::HistoryLimits;
use crate::room::store::Position;

struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap()
    }

    fn one_in(&mut self, most: usize) -> bool {
        self.below(most) == 0
    }
}

const SEQUENCED: [&str; 6] =
    ["message.created", "message.updated", "message.deleted", "answer.created", "answer.done", "notice"];

/// One who may be connected, and what they have read.
#[derive(Default)]
struct Client {
    connection: Option<Id>,
    position: Option<Position>,
    /// The seq of the last frame of this connection.
    seq: Option<u64>,
    log: BTreeMap<u64, String>,
    /// The answer that is being written, as far as it was read.
    writing: Option<(String, String)>,
    outstanding: BTreeSet<String>,
}

struct World {
    draws: Draws,
    machine: Machine,
    config: Arc<Config>,
    now: Now,
    clients: Vec<Client>,
    owners: HashMap<Id, usize>,
    last_id: Id,
    // The store.
    kept: Option<Kept>,
    call: Option<Call>,
    // What models do.
    finding: bool,
    asking: bool,
    /// What has been told to anybody.
    told: BTreeMap<u64, String>,
    created: HashMap<String, u64>,
    answers: BTreeMap<String, usize>,
    sent: u64,
    counts: BTreeMap<&'static str, u64>,
}

fn config(assistant: bool) -> Arc<Config> {
    Arc::new(Config {
        room: "lobby".into(),
        limits: RoomLimits {
            members: 6,
            events_per_second: 50,
            faults: 50,
            waiting: 6,
            questions: 2,
            history: HistoryLimits { events: 40, bytes: 8000 },
            answer_bytes: 300,
            answer_time: Duration::from_secs(60),
            ..RoomLimits::default()
        },
        assistant: assistant.then(|| AssistantConfig {
            name: "assistant".into(),
            model: "scripted".into(),
            images: false,
            instructions: None,
        }),
        context: true,
    })
}

impl World {
    fn new(seed: u64) -> Self {
        let config = config(true);
        let now = Now { at: Instant::now(), unix_ms: 1_000_000 };
        Self {
            draws: Draws(seed),
            machine: Machine::new(Arc::clone(&config), None, "epoch".into(), now).unwrap(),
            config,
            now,
            clients: (0..8).map(|_| Client::default()).collect(),
            owners: HashMap::new(),
            last_id: 0,
            kept: None,
            call: None,
            finding: false,
            asking: false,
            told: BTreeMap::new(),
            created: HashMap::new(),
            answers: BTreeMap::new(),
            sent: 0,
            counts: BTreeMap::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn step(&mut self) {
        let who = self.draws.below(self.clients.len());
        match self.draws.below(1000) {
            0..150 => self.connect(who),
            150..210 => self.disconnect(who),
            210..560 => self.say(who),
            560..760 => self.resolve(),
            760..800 => self.find(),
            800..940 => self.write(),
            940..997 => {
                let passed = Duration::from_millis(self.draws.next() % 1500);
                self.now.at += passed;
                self.now.unix_ms += i64::try_from(passed.as_millis()).unwrap();
                self.machine.tick(self.now);
            }
            _ => self.kill(),
        }
        self.act();
        let limits = &self.config.limits;
        let (events, bytes) = self.machine.kept();
        assert!(events <= limits.history.events && (bytes <= limits.history.bytes || events == 1));
        assert!(self.machine.waiting.len() <= limits.waiting && self.machine.members.len() <= limits.members);
    }

    fn connect(&mut self, who: usize) {
        if self.clients[who].connection.is_some() {
            return;
        }
        let forget = self.draws.one_in(8);
        let client = &mut self.clients[who];
        let mut position = client.position.clone().filter(|_| !forget);
        if position.is_none() {
            client.log.clear();
        } else if self.draws.one_in(30) {
            position = Some(Position { epoch: "another".into(), seq: 3 });
        }
        let given = position.clone();
        let joining = Joining {
            client: ClientName::new(&format!("client-{who}")).unwrap(),
            name: String::new(),
            position,
            principal: Principal::default(),
            priority: Priority::ALL[who % 4],
            limits: Limits::default(),
        };
        if self.machine.admits(&joining).is_err() {
            assert_eq!(self.machine.members.len(), self.config.limits.members);
            return self.count("full");
        }
        self.last_id += 1;
        let id = self.last_id;
        let first = self.machine.history.first();
        let welcome = self.machine.join(id, &joining, self.now);
        self.owners.insert(id, who);
        let client = &mut self.clients[who];
        (client.connection, client.seq, client.writing) = (Some(id), None, None);
        client.outstanding.clear();
        let joined: Value = serde_json::from_str(&welcome.frames[0].text).unwrap();
        let reachable = given.as_ref().is_some_and(|given| given.epoch == "epoch" && given.seq + 1 >= first);
        assert_eq!(joined["resumed"], reachable, "resumed whenever it can be: {given:?} {first}");
        assert_eq!(joined["reason"].is_null(), reachable || given.is_none());
        if !reachable {
            client.log.clear();
        }
        for frame in welcome.frames {
            self.deliver(id, &frame);
            if frame.text.contains("answer.created") {
                // Its pieces are not replayed: either its end is, or its text so far follows.
                self.clients[who].writing = None;
            }
        }
        self.count(if reachable { "resumed" } else { "fresh" });
    }

    fn disconnect(&mut self, who: usize) {
        if let Some(id) = self.clients[who].connection.take() {
            self.owners.remove(&id);
            self.machine.leave(id, self.now);
            self.machine.leave(id, self.now);
        }
    }

    fn say(&mut self, who: usize) {
        let Some(id) = self.clients[who].connection else { return };
        let draw = self.draws.below(100);
        let number = self.draws.below(60);
        let some = if self.draws.one_in(3) {
            let ids: Vec<&String> = self.answers.keys().collect();
            ids.last().map_or_else(String::new, |id| (*id).clone())
        } else {
            format!("c{who}-{}", self.draws.below(24))
        };
        self.sent += 1;
        let event_id = format!("e{}", self.sent);
        let answered = draw < 75;
        let event = match draw {
            0..20 => {
                json!({"type": "message.create", "text": "@assistant why?", "id": format!("c{who}-{}", number % 24)})
            }
            20..35 => {
                json!({"type": "message.create", "text": "hello", "id": format!("c{who}-{}", number % 24)})
            }
            35..38 => json!({"type": "message.create", "text": "mine", "id": format!("c0-{}", number % 24)}),
            38..48 => json!({"type": "message.create", "text": "x".repeat(number * 10 + 1)}),
            48..56 => json!({"type": "message.update", "id": some, "text": "better"}),
            56..64 => json!({"type": "message.delete", "id": some}),
            64..66 => json!({"type": "answer.stop"}),
            66..72 => json!({"type": "message.create", "text": "and so on"}),
            72..75 => json!({"type": "unheard.of"}),
            75..85 => json!({"type": "typing.start"}),
            85..90 => json!({"type": "typing.stop"}),
            90..97 => json!({"type": "read", "seq": self.draws.below(1000)}),
            _ => json!({"type": "presence.list"}),
        };
        let mut event = event;
        event["event_id"] = json!(event_id);
        if answered {
            self.clients[who].outstanding.insert(event_id);
        }
        self.machine.receive(id, &Inbound::Text(event.to_string().into()), self.now);
    }

    /// The store does, or fails, or only seems to fail.
    fn resolve(&mut self) {
        let Some(call) = self.call.take() else { return };
        let fails = self.draws.one_in(6);
        if !fails || self.draws.one_in(2) {
            self.keep(call);
        }
        let outcome = if fails { Err(StoreError::new("the disk is full")) } else { Ok(()) };
        self.count(if fails { "not kept" } else { "kept" });
        self.machine.stored(outcome, self.now);
    }

    fn keep(&mut self, call: Call) {
        let new = || Kept { epoch: "epoch".into(), first_seq: 1, events: vec![], state: None };
        let kept = self.kept.get_or_insert_with(new);
        match call {
            Call::Append(events) => {
                let first = events[0].seq;
                kept.events.retain(|event| event.seq < first);
                assert_eq!(kept.events.last().map_or(kept.first_seq, |last| last.seq + 1), first, "no gap");
                kept.events.extend(events);
            }
            Call::Trim(before) => {
                kept.events.retain(|event| event.seq >= before);
                kept.first_seq = kept.first_seq.max(before);
            }
            Call::Save(state) => kept.state = Some(state),
        }
    }

    fn find(&mut self) {
        if std::mem::take(&mut self.finding) {
            let passage = Passage { path: "a/b.md".into(), lines: (1, 2), text: "b".into(), score: 0.5 };
            let failure = ModelFailure { kind: FailureKind::Failed, message: "no vectors".into() };
            let found = if self.draws.one_in(4) { Err(failure) } else { Ok(vec![passage]) };
            self.machine.found(found, self.now);
        }
    }

    fn write(&mut self) {
        if !self.asking {
            return;
        }
        let usage = Usage { input_tokens: 1, cached_tokens: 0, output_tokens: 2 };
        let piece = match self.draws.below(96) {
            0 => Some(Ok(Piece::End { finish: Finish::Stop, usage })),
            1 => Some(Err(ModelFailure { kind: FailureKind::Failed, message: "it broke".into() })),
            2 => None,
            _ => Some(Ok(Piece::Text(format!("wörd{} ", self.draws.below(9))))),
        };
        self.asking = matches!(piece, Some(Ok(Piece::Text(_))));
        self.machine.piece(piece, self.now);
    }

    /// Everything but the store is lost; what was in flight may or may not be kept.
    fn kill(&mut self) {
        self.count("killed");
        if let Some(call) = self.call.take()
            && self.draws.one_in(2)
        {
            self.keep(call);
        }
        // What was kept has happened, though nobody was told.
        let last = self.machine.history.last();
        let untold = self.kept.iter().flat_map(|kept| &kept.events).filter(|event| event.seq > last);
        for event in untold.cloned().collect::<Vec<_>>() {
            self.happened(&Frame { text: event.json, class: Class::Kept });
        }
        for client in &mut self.clients {
            client.connection = None;
        }
        self.owners.clear();
        (self.finding, self.asking) = (false, false);
        let kept = self.kept.clone().filter(|kept| !kept.events.is_empty());
        self.machine = Machine::new(Arc::clone(&self.config), kept, "epoch".into(), self.now).unwrap();
    }

    fn act(&mut self) {
        for effect in self.machine.take_effects() {
            match effect {
                Effect::All(frame) => {
                    for id in self.owners.keys().copied().collect::<Vec<_>>() {
                        self.deliver(id, &frame);
                    }
                    self.happened(&frame);
                }
                Effect::One(id, frame) => self.deliver(id, &frame),
                Effect::Close(id, code) => {
                    assert_eq!(code, CloseCode::TooManyErrors);
                    self.count("too many errors");
                    let who = self.owners.remove(&id).unwrap();
                    self.clients[who].connection = None;
                }
                Effect::Store(call) => {
                    assert!(self.call.replace(call).is_none(), "one call at a time");
                }
                Effect::Find(_) => self.finding = true,
                Effect::Ask(prompt) => {
                    assert!(!self.asking, "one answer at a time");
                    assert_eq!(prompt.turns.last().unwrap().role, crate::model::Role::User);
                    self.asking = true;
                }
                Effect::Drop => (self.finding, self.asking) = (false, false),
            }
        }
    }

    /// Said to everybody: history goes on by one event, which is kept, and is what it can be.
    fn happened(&mut self, frame: &Frame) {
        let event: Value = serde_json::from_str(&frame.text).unwrap();
        let kind = event["type"].as_str().unwrap();
        if !SEQUENCED.contains(&kind) {
            return;
        }
        let seq = event["seq"].as_u64().unwrap();
        self.check_kept(seq, &frame.text);
        let first = self.machine.history.first();
        match kind {
            "message.created" => {
                let id = event["message"]["id"].as_str().unwrap().to_owned();
                if let Some(before) = self.created.insert(id.clone(), seq) {
                    assert!(
                        before < seq && before < first,
                        "{id} was created at {before} and at {seq} again"
                    );
                }
                self.count("created");
            }
            "answer.created" => {
                let id = event["answer"]["id"].as_str().unwrap().to_owned();
                assert!(self.answers.insert(id, 0).is_none());
                self.count("answered");
            }
            "answer.done" => {
                *self.answers.entry(event["id"].as_str().unwrap().to_owned()).or_default() += 1;
                self.count(match event["status"].as_str().unwrap() {
                    "completed" => "completed",
                    "length" => "length",
                    "stopped" => "stopped",
                    "failed" => "failed",
                    _ => "interrupted",
                });
            }
            "notice" => self.count("notice"),
            _ => self.count("changed"),
        }
    }

    fn check_kept(&mut self, seq: u64, text: &str) {
        let events = &self.kept.as_ref().unwrap().events;
        let at = events.iter().position(|event| event.seq == seq).expect("told before it was kept");
        assert_eq!(&*events[at].json, text);
        assert_eq!(self.told.entry(seq).or_insert_with(|| text.to_owned()), text, "one order for everybody");
    }

    /// What a client sees, which it could check itself.
    fn deliver(&mut self, id: Id, frame: &Frame) {
        let Some(&who) = self.owners.get(&id) else { return };
        let event: Value = serde_json::from_str(&frame.text).unwrap();
        let (kind, seq) = (event["type"].as_str().unwrap(), event["seq"].as_u64().unwrap());
        assert_eq!(event["epoch"], "epoch");
        let client = &mut self.clients[who];
        let sequenced = SEQUENCED.contains(&kind);
        match client.seq {
            None => assert_eq!(kind, "room.joined", "it is the first"),
            Some(before) => assert_eq!(seq, before + u64::from(sequenced), "no gap, nothing twice: {event}"),
        }
        client.seq = Some(seq);
        client.position = Some(Position { epoch: "epoch".into(), seq });
        if sequenced {
            assert_eq!(frame.class, Class::Kept);
            assert!(client.log.insert(seq, frame.text.to_string()).is_none());
        }
        match kind {
            "answer.created" => {
                client.writing = Some((event["answer"]["id"].as_str().unwrap().to_owned(), String::new()));
            }
            "answer.delta" => {
                let (id, delta) = (event["id"].as_str().unwrap(), event["delta"].as_str().unwrap());
                let offset = usize::try_from(event["offset"].as_u64().unwrap()).unwrap();
                if offset == 0 {
                    client.writing = Some((id.to_owned(), delta.to_owned()));
                } else {
                    let (writing, text) = client.writing.as_mut().expect("a delta of what has begun");
                    assert_eq!((writing.as_str(), text.chars().count()), (id, offset));
                    text.push_str(delta);
                }
            }
            "answer.done" => {
                if let Some((id, text)) = client.writing.take()
                    && event["id"] == id
                    && event["error"] != "the server was restarted"
                {
                    assert_eq!(event["text"], text, "what was streamed is what it came to");
                }
            }
            "ack" | "error" => {
                if let Some(event_id) = event["event_id"].as_str() {
                    assert!(client.outstanding.remove(event_id), "answered once, and only if asked: {event}");
                }
                if kind == "ack" {
                    let at = event["at_seq"].as_u64().unwrap();
                    assert!(self.told.contains_key(&at), "acknowledged before it was kept: {event}");
                    self.count("ack");
                } else if event["error"]["code"] == "overloaded" {
                    self.count("overloaded");
                }
            }
            _ => {}
        }
        if sequenced {
            let text = frame.text.to_string();
            if let Some(told) = self.told.get(&seq) {
                assert_eq!(*told, text, "one order for everybody");
            }
            // What is said live is checked when it was said to all; so is what is replayed, here.
            self.told.insert(seq, text);
        }
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.call.is_none() && self.machine.is_quiet() {
                return;
            }
            if let Some(call) = self.call.take() {
                self.keep(call);
                self.machine.stored(Ok(()), self.now);
            } else {
                self.now.at += Duration::from_secs(1);
                self.machine.tick(self.now);
            }
            self.find();
            self.write();
            self.act();
        }
        panic!("it never comes to rest: {:?}", self.machine);
    }

    fn finish(&mut self) {
        self.settle();
        for client in &self.clients {
            if client.connection.is_some() {
                assert!(client.outstanding.is_empty(), "never answered: {:?}", client.outstanding);
                assert_eq!(client.seq, Some(self.machine.history.last()), "everybody has everything");
            }
        }
        self.machine.close(self.now);
        self.act();
        self.settle();
        let last = self.machine.history.last();
        self.machine.close(self.now);
        self.act();
        assert!(
            self.machine.is_quiet() && self.machine.history.last() == last,
            "closing twice is closing once"
        );
        let wrong: Vec<_> = self.answers.iter().filter(|(_, ends)| **ends != 1).collect();
        assert!(wrong.is_empty(), "one end each, not {wrong:?}");
        for client in &self.clients {
            let seqs: Vec<u64> = client.log.keys().copied().collect();
            assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "a log has no gaps");
            assert!(client.log.iter().all(|(seq, text)| self.told[seq] == *text), "all logs are the same");
        }
    }
}

#[test]
fn a_walk_of_a_hundred_thousand_steps_keeps_one_order_and_loses_nothing() {
    for seed in [1, 2026, 77] {
        let mut world = World::new(seed);
        let steps = if seed == 1 { 100_000 } else { 20_000 };
        for _ in 0..steps {
            world.step();
        }
        world.finish();
        // The long walk has been everywhere that it should go.
        for what in [
            "resumed",
            "fresh",
            "full",
            "kept",
            "not kept",
            "killed",
            "created",
            "changed",
            "answered",
            "completed",
            "length",
            "stopped",
            "failed",
            "interrupted",
            "notice",
            "ack",
            "overloaded",
        ] {
            assert!(
                steps < 100_000 || world.counts.contains_key(what),
                "{what} never happened: {:?}",
                world.counts
            );
        }
        println!("seed {seed}: {:?}", world.counts);
    }
}
