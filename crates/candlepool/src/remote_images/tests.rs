use std::convert::Infallible;
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const PICTURE: &[u8] = b"\x89PNG and so on";
/// A picture that is one.
const SQUARE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../llava-vision/tests/fixtures/llava/pictures/square.png");

/// A server on this machine, ended with the test.
pub(crate) struct Server {
    address: SocketAddr,
    _serving: JoinHandle<()>,
}

fn found(place: &str) -> Response {
    let answer = Response::builder().status(StatusCode::FOUND).header(header::LOCATION, place);
    answer.body(Body::empty()).unwrap()
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endless = || async {
            let piece = || async { Ok::<_, Infallible>(Bytes::from_static(&[0; 1000])) };
            let pieces = futures::stream::unfold((), move |()| async move { Some((piece().await, ())) });
            Body::from_stream(pieces)
        };
        let router = Router::new()
            .route("/picture", get(|| async { PICTURE }))
            .route("/square.png", get(|| async { std::fs::read(SQUARE).unwrap() }))
            .route("/long", get(|| async { vec![0; 5000] }))
            .route("/endless", get(endless))
            .route("/never", get(std::future::pending::<()>))
            .route("/moved", get(|| async { found("/picture") }))
            .route("/round", get(|| async { found("/round") }))
            .route("/inside", get(|| async { found("http://127.0.0.2/picture") }))
            .route("/file", get(|| async { found("file:///etc/passwd") }));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, _serving: serving }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn limits() -> FetchLimits {
    FetchLimits { bytes: 4000, timeout: Duration::from_secs(20) }
}

/// As if this one address were on the public internet.
fn local() -> RemoteImages {
    local_within(limits())
}

/// The same, within other limits.
pub(crate) fn local_within(limits: FetchLimits) -> RemoteImages {
    RemoteImages::allowing(limits, |address| address == IpAddr::from([127, 0, 0, 1])).unwrap()
}

/// A budget that has room.
fn governor() -> Governor {
    Governor::new(Size(64 << 20))
}

async fn refusal(images: &RemoteImages, url: &str) -> FetchError {
    images.fetch(url, &governor()).await.expect_err(url)
}

async fn fetched(images: &RemoteImages, url: &str) -> Bytes {
    images.fetch(url, &governor()).await.unwrap_or_else(|error| panic!("{url}: {error}")).bytes
}

#[tokio::test]
async fn a_picture_is_fetched_wherever_it_has_moved_to() {
    let server = Server::start().await;
    for path in ["/picture", "/moved"] {
        assert_eq!(fetched(&local(), &server.url(path)).await, PICTURE);
    }
    // By a name, too.
    let url = format!("http://localhost:{}/picture", server.address.port());
    assert_eq!(fetched(&local(), &url).await, PICTURE);
}

#[tokio::test]
async fn nothing_on_this_machine_or_its_networks_is_asked() {
    let server = Server::start().await;
    let images = RemoteImages::new(limits()).unwrap();
    let port = server.address.port();
    for host in
        ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"]
    {
        let error = refusal(&images, &format!("http://{host}:{port}/picture")).await;
        assert!(matches!(error, FetchError::Private { .. }), "{host}: {error}");
    }
    for host in ["10.0.0.1", "169.254.169.254", "[fd00:ec2::254]"] {
        let error = refusal(&images, &format!("https://{host}/latest/meta-data")).await;
        assert!(matches!(error, FetchError::Private { .. }), "{host}: {error}");
    }
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_could_not_be_asked_for() {
    let server = Server::start().await;
    let error = refusal(&local(), &server.url("/inside")).await;
    assert!(matches!(&error, FetchError::Private { host } if host == "127.0.0.2"), "{error}");
    let error = refusal(&local(), &server.url("/file")).await;
    assert!(matches!(error, FetchError::Status { status: 302, .. }), "{error}");
    let error = refusal(&local(), &server.url("/round")).await;
    assert!(error.to_string().contains("more than 5 redirects"), "{error}");
}

#[tokio::test]
async fn what_is_too_large_is_not_read_to_its_end() {
    let server = Server::start().await;
    for path in ["/long", "/endless"] {
        let error = refusal(&local(), &server.url(path)).await;
        assert!(matches!(error, FetchError::TooLarge { most: 4000, .. }), "{path}: {error}");
    }
}

#[tokio::test]
async fn what_is_fetched_is_within_the_memory_budget() {
    let server = Server::start().await;
    let (images, governor) = (local(), Governor::new(Size(1000)));
    let error = images.fetch(&server.url("/endless"), &governor).await.unwrap_err();
    assert!(matches!(error, FetchError::NoMemory), "{error}");
    let fetched = images.fetch(&server.url("/picture"), &governor).await.unwrap();
    assert_eq!(fetched.held.bytes().get(), 2 * PICTURE.len() as u64);
}

#[tokio::test]
async fn a_name_that_nobody_waits_for_keeps_its_place_until_it_is_looked_up() {
    let names = PublicNames::new(|_| true);
    let places = names.places.clone().acquire_many_owned(LOOKUPS as u32).await.unwrap();
    let waiting = names.resolve("localhost".parse().unwrap());
    assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err(), "there was no place");
    drop(places);
    // Given up at once; the look-up goes on, and gives its place back at its end.
    let mut given_up = names.resolve("localhost".parse().unwrap());
    let begun = futures::future::poll_fn(|context| Poll::Ready(given_up.as_mut().poll(context).is_pending()));
    assert!(begun.await, "it was looked up without a thread");
    drop(given_up);
    names.lookups.close();
    names.lookups.wait().await;
    assert_eq!(names.places.available_permits(), LOOKUPS);
}

#[tokio::test]
async fn who_does_not_answer_is_not_waited_for() {
    let server = Server::start().await;
    let mut images = local();
    images.limits.timeout = Duration::from_millis(200);
    let error = refusal(&images, &server.url("/never")).await;
    assert_eq!(error.to_string(), "127.0.0.1 did not give the picture within 0.2 s; send it as a data: URL");
    // Nor is one whose turn does not come.
    let all = images.places.clone().acquire_many_owned(PLACES as u32).await.unwrap();
    let error = refusal(&images, &server.url("/picture")).await;
    assert!(matches!(error, FetchError::Busy), "{error}");
    drop(all);
    assert_eq!(fetched(&images, &server.url("/picture")).await, PICTURE);
}

#[tokio::test]
async fn what_is_no_picture_on_the_web_is_told_so() {
    let server = Server::start().await;
    let error = refusal(&local(), &server.url("/nothing")).await;
    assert_eq!(error.to_string(), "127.0.0.1 answered 404; check the URL");
    for (url, wanted) in [
        ("ftp://example.org/a.png", "ftp: is none of http:, https: and data:"),
        ("file:///etc/passwd", "file: is none of http:, https: and data:"),
        ("a.png", "it cannot be read"),
        ("http://", "it cannot be read"),
        ("", "it cannot be read"),
    ] {
        let error = refusal(&local(), url).await.to_string();
        assert!(error.contains(wanted) && error.lines().count() == 1, "{url}: {error}");
    }
    let error = refusal(&local(), "http://127.0.0.1:1/a.png").await;
    assert!(matches!(error, FetchError::Failed { .. }), "{error}");
}
