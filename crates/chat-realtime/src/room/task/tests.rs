//! Rooms as their callers see them, with paused time and scripted models and stores.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use futures::FutureExt as _;
use futures::future::ready;
use pool_core::{Principal, Priority};
use serde_json::{Value, json};
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::delivery::Out;
use crate::model::{Finish, Usage};
use crate::room::{ClientName, MemoryHistory, Position, RoomLimits, Rooms, RoomsBuilder};

/// Answers with what is sent to it, piece by piece.
#[derive(Debug)]
struct Scripted {
    pieces: Mutex<VecDeque<mpsc::Receiver<Piece>>>,
    prompts: Mutex<Vec<Prompt>>,
}

impl Scripted {
    fn new(answers: usize) -> (Arc<Self>, Vec<mpsc::Sender<Piece>>) {
        // More than any test sends ahead.
        let (senders, receivers): (Vec<_>, VecDeque<_>) = (0..answers).map(|_| mpsc::channel(64)).unzip();
        (Arc::new(Self { pieces: Mutex::new(receivers), prompts: Mutex::default() }), senders)
    }
}

impl Responder for Scripted {
    fn model(&self) -> &str {
        "scripted"
    }

    fn sees(&self) -> bool {
        true
    }

    fn respond(&self, prompt: Prompt) -> BoxFuture<'static, Result<Answer, ModelFailure>> {
        self.prompts.lock().unwrap().push(prompt);
        let receiver = self.pieces.lock().unwrap().pop_front().expect("an answer that was not expected");
        let pieces = futures::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (Ok(piece), receiver))
        });
        ready(Ok(Box::pin(pieces) as Answer)).boxed()
    }
}

/// A store that takes its time and fails when told to.
#[derive(Default, Debug)]
struct Moody {
    inner: MemoryHistory,
    fails: AtomicBool,
    delay: Mutex<Duration>,
}

impl Moody {
    fn after<T: Send + 'static>(
        &self,
        then: BoxFuture<'static, Result<T, StoreError>>,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (delay, fails) = (*self.delay.lock().unwrap(), self.fails.load(Ordering::Relaxed));
        async move {
            sleep(delay).await;
            if fails { Err(StoreError::new("the disk is full")) } else { then.await }
        }
        .boxed()
    }
}

impl HistoryStore for Moody {
    fn load(&self, room: &str) -> BoxFuture<'static, Result<Option<crate::room::Kept>, StoreError>> {
        self.after(self.inner.load(room))
    }

    fn append(
        &self,
        room: &str,
        epoch: &str,
        events: Vec<crate::room::StoredEvent>,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        let fails = self.fails.load(Ordering::Relaxed);
        let kept = if fails { ready(Ok(())).boxed() } else { self.inner.append(room, epoch, events) };
        self.after(kept)
    }

    fn trim(&self, room: &str, before_seq: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.after(self.inner.trim(room, before_seq))
    }

    fn save(&self, room: &str, state: Arc<str>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.after(self.inner.save(room, state))
    }
}

/// Says where the answer is, and how far it has read.
#[derive(Debug)]
struct Notes(watch::Sender<Progress>);

impl Citations for Notes {
    fn find(&self, question: String, most: usize) -> BoxFuture<'static, Result<Vec<Passage>, ModelFailure>> {
        assert_eq!(most, 4);
        let text = format!("about {question}").into();
        ready(Ok(vec![Passage { path: "notes/a.md".into(), lines: (3, 9), text, score: 0.5 }])).boxed()
    }

    fn updates(&self) -> watch::Receiver<Progress> {
        self.0.subscribe()
    }
}

fn joining(client: &str) -> Joining {
    Joining {
        client: ClientName::new(client).unwrap(),
        name: client.to_uppercase(),
        position: None,
        principal: Principal::new("key"),
        priority: Priority::Normal,
        limits: Limits::default(),
    }
}

struct Client {
    connection: Connection,
    position: Position,
}

impl Client {
    async fn join(rooms: &Rooms, joining: Joining) -> (Self, Value) {
        let connection = rooms.join("lobby", joining).await.unwrap();
        let position = Position { epoch: String::new(), seq: 0 };
        let mut client = Self { connection, position };
        let joined = client.next().await;
        assert_eq!(joined["type"], "room.joined");
        (client, joined)
    }

    async fn say(&self, event: Value) {
        self.connection.incoming.send(Inbound::Text(event.to_string().into())).await.unwrap();
    }

    async fn out(&mut self) -> Out {
        timeout(Duration::from_secs(300), self.connection.outgoing.next())
            .await
            .expect("nothing comes")
            .unwrap()
    }

    async fn next(&mut self) -> Value {
        let Out::Frame(text) = self.out().await else { panic!("closed") };
        let event: Value = serde_json::from_str(&text).unwrap();
        self.position = Position {
            epoch: event["epoch"].as_str().unwrap().to_owned(),
            seq: event["seq"].as_u64().unwrap(),
        };
        event
    }

    /// The next event of this type; what comes before is read over.
    async fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await;
            if event["type"] == kind {
                return event;
            }
        }
    }

    async fn close(&mut self) -> CloseCode {
        loop {
            if let Out::Close(code) = self.out().await {
                return code;
            }
        }
    }
}

fn rooms(store: &Arc<Moody>) -> RoomsBuilder {
    Rooms::builder().store(Arc::clone(store) as Arc<dyn HistoryStore>)
}

fn message(id: &str, text: &str) -> Value {
    json!({"type": "message.create", "event_id": format!("e-{id}"), "id": id, "text": text})
}

fn text(piece: &str) -> Piece {
    Piece::Text(piece.to_owned())
}

fn end() -> Piece {
    Piece::End { finish: Finish::Stop, usage: Usage { input_tokens: 3, cached_tokens: 0, output_tokens: 2 } }
}

#[tokio::test(start_paused = true)]
async fn what_one_says_everybody_hears_and_who_comes_back_hears_what_they_missed() {
    let rooms = Rooms::builder().build();
    let (mut ada, joined) = Client::join(&rooms, joining("ada")).await;
    assert_eq!(
        (&joined["seq"], &joined["resumed"], &joined["assistant"]),
        (&json!(0), &json!(false), &Value::Null)
    );
    let (mut bob, joined) = Client::join(&rooms, joining("bob")).await;
    assert_eq!(joined["members"].as_array().unwrap().len(), 2);
    assert_eq!(ada.next().await["type"], "presence.joined");
    ada.say(message("one", "hello")).await;
    let heard = bob.until("message.created").await;
    assert_eq!((&heard["message"]["text"], &heard["message"]["name"]), (&json!("hello"), &json!("ADA")));
    assert_eq!(ada.until("message.created").await, heard, "the same event for everybody");
    let ack = ada.next().await;
    assert_eq!((&ack["type"], &ack["event_id"], &ack["at_seq"]), (&json!("ack"), &json!("e-one"), &json!(1)));

    let position = bob.position.clone();
    drop(bob);
    assert_eq!(ada.until("presence.left").await["members"], 1);
    ada.say(message("two", "again")).await;
    ada.say(json!({"type": "message.update", "id": "one", "text": "hello!"})).await;
    ada.until("message.updated").await;
    ada.say(message("two", "again")).await;
    let again = loop {
        let ack = ada.until("ack").await;
        if ack["duplicate"] == true {
            break ack;
        }
    };
    assert_eq!(
        (&again["id"], &again["at_seq"]),
        (&json!("two"), &json!(2)),
        "one message, however often it is sent"
    );
    let (mut bob, joined) =
        Client::join(&rooms, Joining { position: Some(position), ..joining("bob") }).await;
    assert_eq!((&joined["resumed"], &joined["seq"], &joined["last"]), (&json!(true), &json!(1), &json!(3)));
    let missed = [bob.next().await, bob.next().await];
    assert_eq!(
        [&missed[0]["type"], &missed[1]["type"]],
        [&json!("message.created"), &json!("message.updated")]
    );
    let elsewhere = Position { epoch: "another".into(), seq: 3 };
    let (_, joined) = Client::join(&rooms, Joining { position: Some(elsewhere), ..joining("eve") }).await;
    assert_eq!(
        (&joined["resumed"], &joined["reason"], &joined["seq"]),
        (&json!(false), &json!("epoch"), &json!(0))
    );
    assert_eq!(rooms.shutdown(Duration::from_secs(5)).await, 0);
    assert_eq!(bob.close().await, CloseCode::ShuttingDown);
    assert_eq!(rooms.stats().rooms, 0);
    let error = rooms.join("lobby", joining("ada")).await.unwrap_err();
    assert_eq!(error, JoinError::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn an_answer_streams_to_all_cites_and_is_caught_in_mid_stream() {
    let (responder, answers) = Scripted::new(1);
    let (progress, _) = watch::channel(Progress::default());
    let context = Arc::new(Notes(progress));
    let builder = Rooms::builder().responder(Arc::clone(&responder) as Arc<dyn Responder>);
    let rooms = builder.context(Arc::clone(&context) as Arc<dyn Citations>).build();
    let (mut ada, joined) = Client::join(&rooms, joining("ada")).await;
    assert_eq!(joined["assistant"], json!({"name": "assistant", "model": "scripted", "images": true}));
    context.0.send_modify(|progress| progress.files = 7);
    loop {
        if ada.until("context.updated").await["context"]["files"] == 7 {
            break;
        }
    }
    let picture = "data:image/png;base64,AAAA";
    let question =
        json!({"type": "message.create", "id": "q", "text": "@Assistant, why?", "images": [picture]});
    ada.say(question).await;
    assert_eq!(ada.until("message.created").await["message"]["assistant"], true);
    let opened = ada.until("answer.created").await;
    let citation = json!({"path": "notes/a.md", "first_line": 3, "last_line": 9, "score": 0.5});
    assert_eq!(
        (&opened["answer"]["question"], &opened["answer"]["citations"]),
        (&json!("q"), &json!([citation]))
    );
    answers[0].send(text("Wéll, ")).await.unwrap();
    answers[0].send(text("so")).await.unwrap();
    assert_eq!(ada.until("answer.delta").await["offset"], 0);
    let delta = ada.until("answer.delta").await;
    assert_eq!((&delta["offset"], &delta["delta"]), (&json!(6), &json!("so")), "counted in characters");

    let position = ada.position.clone();
    let (mut bob, joined) =
        Client::join(&rooms, Joining { position: Some(position), ..joining("bob") }).await;
    assert_eq!((&joined["resumed"], &joined["answering"]), (&json!(true), &opened["answer"]["id"]));
    let caught = bob.next().await;
    assert_eq!((&caught["offset"], &caught["delta"]), (&json!(0), &json!("Wéll, so")));
    answers[0].send(end()).await.unwrap();
    let done = bob.until("answer.done").await;
    assert_eq!((&done["status"], &done["text"]), (&json!("completed"), &json!("Wéll, so")));
    assert_eq!(done["usage"]["output_tokens"], 2);
    let prompt = responder.prompts.lock().unwrap().pop().unwrap();
    assert!(prompt.instructions.unwrap().contains("[1] notes/a.md, lines 3-9:\nabout @Assistant, why?"));
    assert_eq!(prompt.principal, Principal::new("key"));
    let parts = &prompt.turns.last().unwrap().parts;
    assert_eq!(parts[0], crate::model::Part::Image(vec![0, 0, 0].into()));
    assert_eq!(parts[1], crate::model::Part::Text("ADA: @Assistant, why?".into()));
}

#[tokio::test(start_paused = true)]
async fn anybody_stops_an_answer_which_cancels_it_and_the_next_question_is_answered() {
    let (responder, answers) = Scripted::new(2);
    let rooms = Rooms::builder().responder(responder).build();
    let (mut ada, _) = Client::join(&rooms, joining("ada")).await;
    let (bob, _) = Client::join(&rooms, joining("bob")).await;
    ada.say(message("q1", "@assistant one")).await;
    ada.say(message("q2", "@assistant two")).await;
    answers[0].send(text("a long")).await.unwrap();
    ada.until("answer.delta").await;
    bob.say(json!({"type": "answer.stop"})).await;
    let done = ada.until("answer.done").await;
    assert_eq!(
        (&done["status"], &done["client"], &done["text"]),
        (&json!("stopped"), &json!("bob"), &json!("a long"))
    );
    answers[0].closed().await;
    assert_eq!(ada.until("answer.created").await["answer"]["question"], "q2");
    drop(answers);
    let done = ada.until("answer.done").await;
    assert_eq!(done["status"], "failed", "a stream that breaks off is no answer");
    ada.say(json!({"type": "answer.stop", "event_id": "s"})).await;
    let error = ada.until("error").await;
    assert_eq!((&error["event_id"], &error["error"]["code"]), (&json!("s"), &json!("no_answer")));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_before_it_is_kept_and_a_failure_is_told_to_its_sender_alone() {
    let store = Arc::new(Moody::default());
    let rooms = rooms(&store).build();
    let (mut ada, _) = Client::join(&rooms, joining("ada")).await;
    let (mut bob, _) = Client::join(&rooms, joining("bob")).await;
    store.fails.store(true, Ordering::Relaxed);
    ada.say(message("one", "lost?")).await;
    let error = ada.until("error").await;
    assert_eq!((&error["event_id"], &error["error"]["code"]), (&json!("e-one"), &json!("not_kept")));
    assert!(error["error"]["message"].as_str().unwrap().contains("the disk is full"));
    store.fails.store(false, Ordering::Relaxed);
    *store.delay.lock().unwrap() = Duration::from_secs(3);
    let sent = Instant::now();
    ada.say(message("one", "kept")).await;
    let heard = bob.until("message.created").await;
    assert_eq!(
        (&heard["seq"], &heard["message"]["text"]),
        (&json!(1), &json!("kept")),
        "the failure left nothing"
    );
    assert!(sent.elapsed() >= Duration::from_secs(3), "told before it was kept");
    assert_eq!(ada.until("ack").await["at_seq"], 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_slow_store_is_bounded_and_the_least_urgent_is_refused() {
    let store = Arc::new(Moody::default());
    let rooms = rooms(&store).limits(RoomLimits { waiting: 2, ..RoomLimits::default() }).build();
    let (mut ada, _) = Client::join(&rooms, Joining { priority: Priority::Low, ..joining("ada") }).await;
    let (mut bob, _) = Client::join(&rooms, Joining { priority: Priority::High, ..joining("bob") }).await;
    *store.delay.lock().unwrap() = Duration::from_secs(5);
    for id in ["a1", "a2", "a3"] {
        ada.say(message(id, "low")).await;
    }
    sleep(Duration::from_millis(10)).await;
    bob.say(message("b1", "high")).await;
    let error = ada.until("error").await;
    assert_eq!((&error["event_id"], &error["error"]["code"]), (&json!("e-a3"), &json!("overloaded")));
    let order = [
        bob.until("message.created").await,
        bob.until("message.created").await,
        bob.until("message.created").await,
    ];
    assert_eq!(order.map(|event| event["message"]["id"].clone()), ["a1", "b1", "a2"].map(|id| json!(id)));
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_killed_comes_back_as_it_was_and_ends_what_was_in_mid_stream() {
    let store = Arc::new(Moody::default());
    let (responder, answers) = Scripted::new(1);
    let killed = rooms(&store).responder(responder).build();
    let (mut ada, _) = Client::join(&killed, joining("ada")).await;
    ada.say(json!({"type": "message.create", "id": "q", "text": "why?", "assistant": true})).await;
    answers[0].send(text("Because")).await.unwrap();
    ada.until("answer.delta").await;
    ada.say(json!({"type": "read", "seq": 1})).await;
    ada.say(message("q2", "@assistant and why not?")).await;
    ada.until("ack").await;
    // Longer than it takes until the state beside the events is saved.
    sleep(Duration::from_secs(3)).await;
    let position = ada.position.clone();
    // Cut off in the midst, as by a kill: the store does nothing any more for what is in flight.
    store.fails.store(true, Ordering::Relaxed);
    killed.shutdown(Duration::ZERO).await;
    assert_eq!(ada.close().await, CloseCode::ShuttingDown);
    store.fails.store(false, Ordering::Relaxed);

    let (responder, _answers) = Scripted::new(1);
    let restarted = rooms(&store).responder(responder).build();
    let back = Joining { position: Some(position.clone()), ..joining("ada") };
    let (mut ada, joined) = Client::join(&restarted, back).await;
    assert_eq!(joined["resumed"], true);
    assert_eq!(joined["reads"], json!([{"client": "ada", "seq": 1}]));
    let done = ada.until("answer.done").await;
    assert_eq!((&done["status"], &done["text"]), (&json!("interrupted"), &json!("Because")));
    assert_eq!((&done["epoch"], &done["seq"]), (&json!(position.epoch), &json!(position.seq + 1)));
    let notice = ada.until("notice").await;
    assert_eq!((&notice["code"], &notice["messages"]), (&json!("restarted"), &json!(["q2"])));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_closed_and_a_reader_that_has_gone_is_noticed() {
    let rooms = Rooms::builder().build();
    let few = Limits { frames: 8, bytes: 1 << 20 };
    let (mut slow, _) = Client::join(&rooms, Joining { limits: few, ..joining("slow") }).await;
    let (mut ada, _) = Client::join(&rooms, joining("ada")).await;
    for number in 0..20 {
        ada.say(message(&format!("m{number}"), "hello")).await;
    }
    assert_eq!(ada.until("presence.left").await["client"], "slow");
    assert_eq!(slow.close().await, CloseCode::Slow);
    let (gone, _) = Client::join(&rooms, joining("gone")).await;
    let Connection { incoming, outgoing } = gone.connection;
    drop(outgoing);
    assert_eq!(ada.until("presence.left").await["client"], "gone", "though its sending end is still there");
    drop(incoming);
}

#[tokio::test(start_paused = true)]
async fn typing_expires_by_itself_and_bad_events_are_named_until_there_are_too_many() {
    let rooms = Rooms::builder().build();
    let (mut ada, _) = Client::join(&rooms, joining("ada")).await;
    let (bob, _) = Client::join(&rooms, joining("bob")).await;
    bob.say(json!({"type": "typing.start"})).await;
    assert_eq!(ada.until("typing.updated").await["typing"], true);
    let since = Instant::now();
    assert_eq!(ada.until("typing.updated").await["typing"], false);
    assert_eq!(since.elapsed().as_secs(), 6);
    ada.connection.incoming.send(Inbound::Binary { bytes: 9 }).await.unwrap();
    assert_eq!(ada.until("error").await["error"]["code"], "binary");
    ada.say(json!({"type": "session.update", "event_id": "x"})).await;
    let error = ada.until("error").await;
    assert_eq!((&error["event_id"], &error["error"]["code"]), (&json!("x"), &json!("unknown_type")));
    ada.say(message("ok", "still here")).await;
    ada.until("ack").await;
    for _ in 0..20 {
        let _ = ada.connection.incoming.send(Inbound::NotUtf8).await;
    }
    assert_eq!(ada.close().await, CloseCode::TooManyErrors);
}

#[tokio::test(start_paused = true)]
async fn joins_rooms_and_members_are_bounded_and_names_are_checked() {
    let limits = RoomLimits { rooms: 2, members: 2, joins_per_second: 10, ..RoomLimits::default() };
    let rooms = Rooms::builder().limits(limits).build();
    let _ada = Client::join(&rooms, joining("ada")).await;
    let other = Joining { principal: Principal::new("other"), ..joining("ada") };
    assert!(matches!(rooms.join("lobby", other).await, Err(JoinError::NameTaken { .. })));
    let _bob = Client::join(&rooms, joining("bob")).await;
    assert_eq!(rooms.join("lobby", joining("eve")).await.unwrap_err(), JoinError::Full { members: 2 });
    rooms.join("second", joining("eve")).await.unwrap();
    assert_eq!(rooms.join("third", joining("eve")).await.unwrap_err(), JoinError::TooManyRooms { rooms: 2 });
    assert!(matches!(
        rooms.join("a/b", joining("eve")).await,
        Err(JoinError::InvalidName { what: "room", .. })
    ));
    assert!(ClientName::new("").is_err() && ClientName::new("a b").is_err());
    let mut refused = 0;
    for _ in 0..1000 {
        match rooms.join("lobby", joining("eve")).await {
            Err(JoinError::TooFast { retry_after }) => {
                assert!(retry_after <= Duration::from_millis(100));
                refused += 1;
            }
            outcome => assert!(outcome.is_err()),
        }
    }
    assert!((980..1000).contains(&refused), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_room_that_nobody_is_in_goes_and_comes_back_with_its_history() {
    let rooms = Rooms::builder().build();
    let (mut ada, _) = Client::join(&rooms, joining("ada")).await;
    ada.say(message("one", "hello")).await;
    ada.until("ack").await;
    let position = ada.position.clone();
    drop(ada);
    advance(Duration::from_secs(1)).await;
    sleep(Duration::from_secs(58)).await;
    assert_eq!(rooms.stats().rooms, 1);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(rooms.stats().rooms, 0, "it has gone");
    let (_, joined) = Client::join(&rooms, Joining { position: Some(position), ..joining("ada") }).await;
    assert_eq!((&joined["resumed"], &joined["last"]), (&json!(true), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_read_refuses_joins_and_nothing_is_made_up() {
    let store = Arc::new(Moody::default());
    let rooms = rooms(&store).build();
    store.fails.store(true, Ordering::Relaxed);
    let error = rooms.join("lobby", joining("ada")).await.unwrap_err();
    assert_eq!(error.to_string(), "the room's history cannot be read: the disk is full");
    store.fails.store(false, Ordering::Relaxed);
    Client::join(&rooms, joining("ada")).await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_answer_and_keeps_its_end_and_announcements_come_first() {
    let store = Arc::new(Moody::default());
    let (responder, answers) = Scripted::new(1);
    let rooms = rooms(&store).responder(responder).build();
    let (mut ada, _) = Client::join(&rooms, joining("ada")).await;
    ada.say(message("q", "@assistant why?")).await;
    answers[0].send(text("Be")).await.unwrap();
    ada.until("answer.delta").await;
    rooms.announce("the server is updated").await;
    assert_eq!(ada.until("notice").await["code"], "announcement");
    *store.delay.lock().unwrap() = Duration::from_secs(1);
    assert_eq!(rooms.shutdown(Duration::from_secs(5)).await, 0);
    let done = ada.until("answer.done").await;
    assert_eq!((&done["status"], &done["text"]), (&json!("interrupted"), &json!("Be")));
    assert_eq!(ada.close().await, CloseCode::ShuttingDown);
    let kept = store.inner.load("lobby").await.unwrap().unwrap();
    assert!(kept.events.last().unwrap().json.contains("answer.done"));
    *store.delay.lock().unwrap() = Duration::from_secs(60);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_hold_the_shutdown() {
    let store = Arc::new(Moody::default());
    let rooms = rooms(&store).build();
    let (mut ada, _) = Client::join(&rooms, joining("ada")).await;
    *store.delay.lock().unwrap() = Duration::from_secs(3600);
    ada.say(message("one", "hello")).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rooms.shutdown(Duration::from_secs(5)).await, 1, "one room was cut off");
    assert_eq!(ada.close().await, CloseCode::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_fails_closes_its_connections_and_is_opened_again() {
    let store = Arc::new(Moody::default());
    // It panics when asked for an answer.
    let (responder, _) = Scripted::new(0);
    let rooms = rooms(&store).responder(responder).build();
    let (mut ada, _) = Client::join(&rooms, joining("ada")).await;
    ada.say(message("q", "@assistant why?")).await;
    ada.until("ack").await;
    let position = ada.position.clone();
    assert_eq!(ada.close().await, CloseCode::Internal);
    let (mut ada, joined) =
        Client::join(&rooms, Joining { position: Some(position), ..joining("ada") }).await;
    assert_eq!(joined["resumed"], true);
    assert_eq!(ada.until("answer.done").await["status"], "interrupted");
    assert_eq!(rooms.shutdown(Duration::from_secs(5)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn rooms_that_nobody_holds_any_more_close() {
    let rooms = Rooms::builder().build();
    let (mut ada, _) = Client::join(&rooms, joining("ada")).await;
    drop(rooms);
    assert_eq!(ada.close().await, CloseCode::ShuttingDown);
}
