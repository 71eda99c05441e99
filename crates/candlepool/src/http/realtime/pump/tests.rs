use std::future::pending;

use chat_realtime::delivery::{Class, Frame, Limits, Sender, outbox};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

const LIMITS: SocketLimits = SocketLimits {
    message: 1000,
    ping_interval: Duration::from_secs(25),
    pong_timeout: Duration::from_secs(10),
    write_timeout: Duration::from_secs(5),
};

/// A socket whose owner is the test.
struct Socket {
    client: WebSocketStream<DuplexStream>,
    sender: Sender,
    received: mpsc::Receiver<Inbound>,
    pump: JoinHandle<()>,
}

/// The system keeps so much of what nobody reads.
const SYSTEM: usize = 64 << 10;

async fn socket() -> Socket {
    let (near, far) = tokio::io::duplex(SYSTEM);
    let server = WebSocketStream::from_raw_socket(near, Role::Server, Some(LIMITS.socket())).await;
    let client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    let (sender, outgoing) = outbox(Limits { frames: 100, bytes: 1 << 20 });
    let (incoming, received) = mpsc::channel(4);
    let pump = tokio::spawn(pump(server, Connection { incoming, outgoing }, LIMITS));
    Socket { client, sender, received, pump }
}

fn kept(text: &str) -> Frame {
    Frame { text: text.into(), class: Class::Kept }
}

/// The close that the client is told, past everything else.
async fn closed(client: &mut WebSocketStream<DuplexStream>) -> Option<(u16, String)> {
    loop {
        match client.next().await? {
            Ok(Message::Close(frame)) => {
                return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
            }
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_go_both_ways_and_a_close_comes_after_them() {
    let Socket { mut client, sender, mut received, pump } = socket().await;
    client.send(Message::text("hello")).await.unwrap();
    assert_eq!(received.recv().await, Some(Inbound::Text(Bytes::from_static(b"hello"))));
    client.send(Message::binary(vec![0; 7])).await.unwrap();
    assert_eq!(received.recv().await, Some(Inbound::Binary { bytes: 7 }));
    client.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
    for number in 0..50 {
        sender.send(kept(&number.to_string())).unwrap();
    }
    sender.close(CloseCode::ShuttingDown);
    for number in 0..50 {
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text(number.to_string()));
    }
    assert_eq!(closed(&mut client).await, Some((3001, "the server is shutting down".to_owned())));
    assert!(client.next().await.is_none());
    pump.await.unwrap();
    assert_eq!(received.recv().await, None, "the owner hears of the end");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_is_answered_and_its_owner_told() {
    let Socket { mut client, sender, mut received, pump } = socket().await;
    client.close(None).await.unwrap();
    assert_eq!(closed(&mut client).await, None);
    pump.await.unwrap();
    assert_eq!(received.recv().await, None);
    assert_eq!(sender.closed(), Some(CloseCode::Normal));
}

#[tokio::test(start_paused = true)]
async fn a_broken_protocol_is_closed_with_its_own_code() {
    // Frames as a client masks them with zeros: text that is too long, text in no UTF-8, a reserved opcode, an unmasked frame.
    let mut long = vec![0x81, 0x80 | 127];
    long.extend(10_000_000_u64.to_be_bytes());
    long.extend([0; 4]);
    long.extend(vec![b'x'; 10_000_000]);
    for (bytes, code, reason) in [
        (long, 1009, "a message may have 1000 bytes"),
        (vec![0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28], 1007, "text must be UTF-8"),
        (vec![0x83, 0x80, 0, 0, 0, 0], 1002, "invalid opcode: 3"),
        (vec![0x81, 0x01, b'a'], 1002, "unmasked"),
    ] {
        let Socket { client, sender, mut received, pump } = socket().await;
        let (mut reader, mut writer) = tokio::io::split(client.into_inner());
        let sending = tokio::spawn(async move { writer.write_all(&bytes).await });
        let mut told = Vec::new();
        reader.read_to_end(&mut told).await.unwrap();
        assert_eq!((told[0], u16::from_be_bytes([told[2], told[3]])), (0x88, code));
        let found = String::from_utf8(told[4..].to_vec()).unwrap();
        assert!(found.to_lowercase().contains(&reason.to_lowercase()), "{found}");
        sending.await.unwrap().unwrap();
        drop(reader);
        pump.await.unwrap();
        assert_eq!(received.recv().await, None, "nothing of it was given to the owner");
        drop(sender);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_in_fragments_is_one_and_as_long_as_one_may_be() {
    let Socket { client, sender: _sender, mut received, pump } = socket().await;
    let (mut reader, mut writer) = tokio::io::split(client.into_inner());
    // Two frames: "ab" that goes on, "c" that ends it.
    writer.write_all(&[0x01, 0x82, 0, 0, 0, 0, b'a', b'b', 0x80, 0x81, 0, 0, 0, 0, b'c']).await.unwrap();
    assert_eq!(received.recv().await, Some(Inbound::Text(Bytes::from_static(b"abc"))));
    let mut fragment = vec![0x01, 0x80 | 126, 0, 200, 0, 0, 0, 0];
    fragment.extend([b'x'; 200]);
    for _ in 0..6 {
        writer.write_all(&fragment).await.unwrap();
        fragment[0] = 0x00;
    }
    let mut told = [0; 4];
    reader.read_exact(&mut told).await.unwrap();
    assert_eq!(u16::from_be_bytes([told[2], told[3]]), 1009);
    drop((reader, writer));
    pump.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_stays_and_one_that_does_not_is_closed() {
    let Socket { mut client, sender: _sender, received: _received, pump } = socket().await;
    let began = Instant::now();
    // Reading is what answers.
    for _ in 0..5 {
        assert!(matches!(client.next().await.unwrap().unwrap(), Message::Ping(_)));
    }
    let _ = client.flush().await;
    assert_eq!(began.elapsed().as_secs(), 5 * 25 + 4 * 10, "each a while after the last was answered");
    // From here on it is half open: nothing is read and nothing is sent. The last ping was answered.
    let silent = Instant::now();
    pump.await.unwrap();
    assert_eq!(
        silent.elapsed().as_secs(),
        10 + 25 + 10 + 2,
        "an answer, a pause, a ping in vain, a farewell"
    );
    // As it stands on the wire: a client that reads now would try to answer the ping first.
    let mut rest = Vec::new();
    client.get_mut().read_to_end(&mut rest).await.unwrap();
    let [high, low] = 3012_u16.to_be_bytes();
    let told = [&[0x88, 9, high, low][..], b"no pong"].concat();
    assert!(rest.ends_with(&told), "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_holds_nobody() {
    let Socket { mut client, sender, received: _received, pump } = socket().await;
    let began = Instant::now();
    let frame = kept(&"x".repeat(10_000));
    // The owner is never kept waiting; at last it is told that the reader is too slow.
    let mut sent = 0;
    let code = loop {
        match sender.send(frame.clone()) {
            Ok(()) => sent += 1,
            Err(error) => break error.0,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(code, CloseCode::Slow);
    assert!((100..150).contains(&sent), "{sent}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    pump.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5 + 5, "a write in vain, and a farewell");
    assert_eq!(closed(&mut client).await, None, "there was no room for a word");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_woke_up_after_a_write_in_vain_is_told_that_it_was_slow() {
    let Socket { mut client, sender, received: _received, pump } = socket().await;
    let frame = kept(&"x".repeat(10_000));
    while sender.send(frame.clone()).is_ok() {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(closed(&mut client).await, Some((3008, "slow reader".to_owned())));
    pump.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_told_that_it_was_slow() {
    let Socket { mut client, sender, received: _received, pump } = socket().await;
    let frame = kept(&"x".repeat(10_000));
    while sender.send(frame.clone()).is_ok() {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(closed(&mut client).await, Some((3008, "slow reader".to_owned())));
    pump.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_goes_without_a_word_has_failed() {
    let Socket { mut client, sender, received, pump } = socket().await;
    sender.send(kept("last")).unwrap();
    drop((sender, received));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("last"));
    assert_eq!(closed(&mut client).await, Some((3004, "internal error".to_owned())));
    pump.await.unwrap();
    // One that says why before it goes is believed.
    let Socket { mut client, sender, received, pump } = socket().await;
    sender.close(CloseCode::Ended);
    drop((sender, received));
    assert_eq!(closed(&mut client).await, Some((3511, "ended".to_owned())));
    pump.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_faster_than_is_read_waits() {
    let Socket { mut client, sender: _sender, mut received, pump } = socket().await;
    let flood = async {
        for _ in 0..1000 {
            client.send(Message::text("x".repeat(900))).await.unwrap();
        }
        pending::<()>().await;
    };
    // The owner reads nothing for longer than a pong may take, which is not the client's fault.
    assert!(timeout(Duration::from_secs(300), flood).await.is_err());
    assert!(!pump.is_finished());
    assert!(received.len() <= 4);
    for _ in 0..4 {
        received.recv().await.unwrap();
    }
}
