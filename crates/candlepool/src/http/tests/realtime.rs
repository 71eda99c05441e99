//! WebSockets over real connections: who may open one, and how all of them end. What is said is scripted.

use std::net::SocketAddr;

use axum::extract::State;
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use chat_realtime::delivery::{Class, CloseCode, Connection, Frame, Inbound, outbox};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::super::envelope::{Terms, envelope};
use super::super::realtime::Upgrade;
use super::super::{Connections, Listening};
use super::*;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A session that sends back what it hears, and ends as sessions do.
async fn echo(State(app): State<App>, Extension(terms): Extension<Terms>, upgrade: Upgrade) -> Response {
    let (upgrade, admitted) = match app.sockets.admit(&terms, upgrade) {
        Ok(admitted) => admitted,
        Err(response) => return *response,
    };
    let (sender, outgoing) = outbox(chat_realtime::delivery::Limits::default());
    let (incoming, mut received) = mpsc::channel(4);
    let closing = app.sockets.closing();
    let who = terms.caller.name().to_owned();
    app.sockets.own(async move {
        let say = |text: String| sender.send(Frame { text: text.into(), class: Class::Kept });
        let _ = say(who);
        let code = loop {
            tokio::select! {
                inbound = received.recv() => match inbound {
                    Some(Inbound::Text(text)) => { let _ = say(String::from_utf8_lossy(&text).into_owned()); }
                    Some(other) => { let _ = say(format!("{other:?}")); }
                    None => break CloseCode::Normal,
                },
                () = closing.cancelled() => {
                    let _ = say("cancelled".to_owned());
                    break CloseCode::ShuttingDown;
                }
            }
        };
        sender.close(code);
        code
    });
    app.sockets.carry(upgrade, Some(admitted), Connection { incoming, outgoing })
}

struct Listener {
    server: Server,
    address: SocketAddr,
    connections: Arc<Connections>,
    _accepting: JoinSet<()>,
}

async fn listen(keys: &str, more: &str) -> Listener {
    listen_with(keys, more, Duration::from_secs(30)).await
}

/// One whose HTTP answers may be held up for so long.
async fn listen_with(keys: &str, more: &str, write_timeout: Duration) -> Listener {
    let server = Server::with(keys, 1 << 20, more).await;
    let enveloped = middleware::from_fn_with_state(Arc::clone(&server.app), envelope);
    let router =
        Router::new().route("/v1/realtime", get(echo)).layer(enveloped).with_state(Arc::clone(&server.app));
    let listening = Listening::bind("127.0.0.1:0").await.unwrap();
    let address = listening.address();
    let connections = Arc::new(Connections::new(100, Duration::from_secs(30), write_timeout));
    let mut accepting = JoinSet::new();
    let accepts = Arc::clone(&connections);
    accepting.spawn(async move { accepts.accept(&listening, router).await });
    Listener { server, address, connections, _accepting: accepting }
}

impl Listener {
    /// Opens a socket with these headers; or the answer's status, code and message.
    async fn open(
        &self,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Client, Option<String>), (u16, String)> {
        let mut request = format!("ws://{}/v1/realtime{query}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((client, response)) => {
                let chosen = response.headers().get("sec-websocket-protocol");
                Ok((client, chosen.map(|chosen| chosen.to_str().unwrap().to_owned())))
            }
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), String::from_utf8(body).unwrap()))
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn text(client: &mut Client) -> String {
    let message = tokio::time::timeout(Duration::from_secs(30), client.next()).await.expect("it is silent");
    message.unwrap().unwrap().into_text().unwrap().to_string()
}

async fn close_code(client: &mut Client) -> u16 {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(30), client.next()).await.expect("it stays open");
        if let Message::Close(frame) = next.unwrap().unwrap() {
            return frame.unwrap().code.into();
        }
    }
}

#[tokio::test]
async fn a_key_is_taken_by_each_way_that_clients_send_it() {
    let listener = listen("sk-one name=ours\nsk-two name=theirs\n", "").await;
    let protocol = "sec-websocket-protocol";
    for (query, headers, chosen) in [
        ("", vec![("authorization", "Bearer sk-one")], None),
        ("", vec![("authorization", "Bearer sk-one"), (protocol, "realtime")], Some("realtime")),
        ("", vec![(protocol, "realtime, openai-insecure-api-key.sk-one")], Some("realtime")),
        ("", vec![(protocol, "openai-insecure-api-key.sk-one,realtime")], Some("realtime")),
        ("?api-key=sk-one", vec![], None),
        ("?Authorization=Bearer%20sk-one", vec![], None),
        ("", vec![("api-key", "sk-one")], None),
    ] {
        let (mut client, protocol) = listener.open(query, &headers).await.unwrap();
        assert_eq!(protocol.as_deref(), chosen, "{query} {headers:?}");
        assert_eq!(text(&mut client).await, "ours");
        client.send(Message::text("hello")).await.unwrap();
        assert_eq!(text(&mut client).await, "hello");
        client.send(Message::binary(vec![1, 2, 3])).await.unwrap();
        assert_eq!(text(&mut client).await, "Binary { bytes: 3 }");
    }
    for (query, headers) in [
        ("", vec![]),
        ("", vec![(protocol, "realtime")]),
        ("", vec![(protocol, "realtime, openai-insecure-api-key.sk-three")]),
        ("?api-key=sk-three", vec![]),
        // The header is what counts where there is one.
        ("?api-key=sk-one", vec![("authorization", "Bearer sk-three")]),
    ] {
        let (status, body) = listener.open(query, &headers).await.unwrap_err();
        assert_eq!(status, 401, "{query} {headers:?}: {body}");
        assert!(body.contains("invalid_api_key") && !body.contains("sk-"), "{body}");
    }
}

#[tokio::test]
async fn a_slow_reader_is_told_so_and_not_cut_off_as_an_answer_would_be() {
    let listener = listen_with("", "", Duration::from_millis(100)).await;
    let (mut client, _) = listener.open("", &[]).await.unwrap();
    assert_eq!(text(&mut client).await, "anyone");
    // More than the system and the outbox keep.
    let long = "x".repeat(1 << 20);
    for _ in 0..32 {
        client.send(Message::text(long.clone())).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(close_code(&mut client).await, 3008);
}

#[tokio::test]
async fn a_foreign_page_opens_no_socket() {
    let listener = listen(NO_KEYS, "[server]\nallowed_origins = [\"https://app.example\"]\n").await;
    let own = format!("http://{}", listener.address);
    for origin in [own.as_str(), "https://app.example"] {
        listener.open("", &[("origin", origin)]).await.unwrap();
    }
    for headers in [
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![("sec-fetch-site", "cross-site"), ("origin", own.as_str())],
    ] {
        let (status, body) = listener.open("", &headers).await.unwrap_err();
        assert!(status == 403 && body.contains("origin_not_allowed"), "{status} {body}");
    }
    let (status, body) = listener.open("", &[("host", "rebound.example")]).await.unwrap_err();
    assert!(status == 403 && body.contains("host_not_allowed"), "{status} {body}");
    // A socket that browsers would take for spoken to is none where what they offer is not spoken.
    let (status, body) = listener.open("", &[("sec-websocket-protocol", "graphql-ws")]).await.unwrap_err();
    assert!(status == 400 && body.contains("invalid_header"), "{status} {body}");
}

#[tokio::test]
async fn sockets_are_counted_and_let_in_so_often() {
    let more = "[realtime]\nmax_connections = 4\nmax_connections_per_client = 2\njoins_per_second = 6\n";
    let listener = listen("sk-one\nsk-two\nsk-three\n", more).await;
    let one = [("authorization", "Bearer sk-one")];
    let (first, _) = listener.open("", &one).await.unwrap();
    let (_second, _) = listener.open("", &one).await.unwrap();
    let (mut third, _) = listener.open("", &one).await.unwrap();
    assert_eq!(close_code(&mut third).await, 3509);
    // A place that is given up can be had again.
    drop(first);
    let again = async {
        loop {
            let (mut client, _) = listener.open("", &one).await.ok()?;
            if text(&mut client).await == "key-1" {
                return Some(client);
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    // Where it is closed, there is no text.
    let again = tokio::time::timeout(Duration::from_secs(20), again).await;
    let _again = again.expect("the place is not free").expect("it was refused");
    let two = [("authorization", "Bearer sk-two")];
    let _fourth = listener.open("", &two).await.unwrap();
    let _fifth = listener.open("", &two).await.unwrap();
    let three = [("authorization", "Bearer sk-three")];
    let (status, body) = listener.open("", &three).await.unwrap_err();
    assert!(status == 503 && body.contains("too_many_connections"), "{status} {body}");
    let mut refused = None;
    for _ in 0..8 {
        refused = refused.or(listener.open("", &three).await.err().filter(|(status, _)| *status == 429));
    }
    assert!(refused.is_some_and(|(_, body)| body.contains("overloaded")), "it came as often as it liked");
}

#[tokio::test]
async fn a_drain_tells_every_socket_and_leaves_no_task() {
    let listener = listen(NO_KEYS, "").await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let (mut client, _) = listener.open("", &[]).await.unwrap();
        assert_eq!(text(&mut client).await, "anyone");
        clients.push(client);
    }
    // One that never answers: a connection of which nothing is read.
    let (stuck, _) = listener.open("", &[]).await.unwrap();
    assert_eq!(listener.server.app.sockets.tasks(), 22);
    let app = Arc::clone(&listener.server.app);
    app.drain.begin();
    let deadline = Instant::now() + Duration::from_secs(20);
    let closing = tokio::spawn(async move {
        app.sockets.close(deadline).await;
        app.sockets.tasks()
    });
    for client in &mut clients {
        assert_eq!(text(client).await, "cancelled");
        assert_eq!(close_code(client).await, 3001);
    }
    assert_eq!(closing.await.unwrap(), 0);
    assert!(Instant::now() < deadline, "one that does not listen held the drain up");
    let (status, body) = listener.open("", &[]).await.unwrap_err();
    assert!(status == 503 && body.contains("shutting_down"), "{status} {body}");
    listener.connections.close(Duration::from_secs(1), Instant::now() + Duration::from_secs(1)).await;
    drop(stuck);
}

#[tokio::test]
async fn what_is_no_handshake_is_told_how_to_make_one() {
    let server = Server::start().await;
    let enveloped = middleware::from_fn_with_state(Arc::clone(&server.app), envelope);
    let router: Router =
        Router::new().route("/v1/realtime", get(echo)).layer(enveloped).with_state(Arc::clone(&server.app));
    let response = router.oneshot(Request::get("/v1/realtime").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(response.headers()["sec-websocket-version"], "13");
}
