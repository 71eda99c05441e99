use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::super::log::agree;
use super::*;

/// A room that knows messages and resuming, and nothing else.
#[derive(Clone)]
struct Room {
    events: Arc<Mutex<Vec<String>>>,
    news: broadcast::Sender<String>,
    /// This event is kept from those who are live.
    withheld: Option<u64>,
}

impl Room {
    async fn open(withheld: Option<u64>) -> (String, broadcast::Sender<String>, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let room = Self { events: Arc::default(), news: broadcast::channel(1024).0, withheld };
        let news = room.news.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = listener.accept().await.unwrap().0;
                connections.spawn(room.clone().serve(stream));
            }
        });
        (address, news, tasks)
    }

    #[allow(clippy::result_large_err, reason = "the handshake's callback has this form")]
    async fn serve(self, stream: TcpStream) {
        let mut query = String::new();
        let seen = |request: &Request, response: Response| {
            query = request.uri().query().unwrap_or_default().to_owned();
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, seen).await.unwrap();
        let from = query.rsplit_once("seq=").map_or(0, |(_, seq)| seq.parse::<usize>().unwrap());
        let (past, mut news) = {
            let events = self.events.lock().unwrap();
            (events[from..].to_vec(), self.news.subscribe())
        };
        let last = from + past.len();
        let joined =
            json!({"type": "room.joined", "epoch": "e", "seq": from, "last": last, "resumed": from > 0});
        let mut sent = vec![joined.to_string()];
        sent.extend(past);
        for text in sent {
            if socket.send(Message::text(text)).await.is_err() {
                return;
            }
        }
        loop {
            tokio::select! {
                text = news.recv() => {
                    let text = text.unwrap();
                    if text == "end" {
                        let frame = CloseFrame { code: 3008.into(), reason: "slow".into() };
                        drop(socket.close(Some(frame)).await);
                        return;
                    }
                    if socket.send(Message::text(text)).await.is_err() { return; }
                }
                frame = socket.next() => {
                    let Some(Ok(Message::Text(text))) = frame else { return };
                    let (id, seq) = self.say(&text);
                    // The acknowledgement comes after the event itself, as its number says.
                    while let Ok(text) = news.try_recv() {
                        drop(socket.send(Message::text(text)).await);
                    }
                    let ack = json!({"type": "ack", "epoch": "e", "seq": seq, "event_id": id});
                    if socket.send(Message::text(ack.to_string())).await.is_err() { return; }
                }
            }
        }
    }

    /// The id of what was said, and the newest seq.
    fn say(&self, text: &str) -> (String, usize) {
        let said: serde_json::Value = serde_json::from_str(text).unwrap();
        let id = said["id"].as_str().unwrap().to_owned();
        let mut events = self.events.lock().unwrap();
        if !events.iter().any(|event| event.contains(&format!("\"{id}\""))) {
            let seq = events.len() as u64 + 1;
            let message = json!({"id": id, "text": said["text"]});
            let event =
                json!({"type": "message.created", "epoch": "e", "seq": seq, "message": message}).to_string();
            events.push(event.clone());
            if self.withheld != Some(seq) {
                drop(self.news.send(event));
            }
        }
        (id, events.len())
    }
}

fn people(address: &str, count: u64) -> (watch::Sender<Course>, JoinSet<Result<Stay>>) {
    let (tell, course) = watch::channel(Course::default());
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let kind = Kind::Speaks { every: Duration::from_millis(300), bytes: 10 };
        let (address, room, began) = (address.to_owned(), "r".to_owned(), Instant::now());
        let person = Person { number, address, room, kind, cut_one_in: 2, began };
        tasks.spawn(person.stay(course.clone()));
    }
    (tell, tasks)
}

#[tokio::test]
async fn people_who_are_cut_off_come_back_and_have_all_that_was_said() {
    let (address, _news, _room) = Room::open(None).await;
    let (tell, mut tasks) = people(&address, 4);
    for round in 0..4 {
        sleep(Duration::from_millis(500)).await;
        tell.send_modify(|course| course.round = round);
    }
    sleep(Duration::from_millis(500)).await;
    tell.send_modify(|course| course.over = true);
    let mut stays = Vec::new();
    while let Some(stay) = tasks.join_next().await {
        stays.push(stay.unwrap().unwrap());
    }
    let said: u64 = stays.iter().map(|stay| stay.said).sum();
    let resumed: u64 = stays.iter().map(|stay| stay.resumed).sum();
    assert_eq!(agree(stays.iter().map(|stay| ("somebody", &stay.log))).unwrap() as u64, said);
    assert!(said >= 20 && resumed >= 6, "{said} messages, {resumed} resumed");
    assert!(stays.iter().all(|stay| !stay.delays.is_empty()));
}

#[tokio::test]
async fn an_event_that_is_left_out_is_noticed() {
    let (address, _news, _room) = Room::open(Some(3)).await;
    let (_tell, mut tasks) = people(&address, 2);
    let error = tasks.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(format!("{error:#}").contains("has seq"), "{error:#}");
}

#[tokio::test]
async fn a_slow_reader_knows_what_it_was_closed_with() {
    let (address, news, _room) = Room::open(None).await;
    let (_tell, course) = watch::channel(Course::default());
    let began = Instant::now();
    let room = "r".to_owned();
    let slow = Person { number: 1, address, room, kind: Kind::Slow, cut_one_in: 2, began };
    let slow = tokio::spawn(slow.stay(course));
    while news.receiver_count() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    news.send("end".to_owned()).unwrap();
    let stay = slow.await.unwrap().unwrap();
    assert_eq!((stay.closed, stay.frames), (Some(3008), 1));
}
