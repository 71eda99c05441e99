//! Pictures in requests, read by tiny models of random weights.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::text::{pieces, text_of};
use super::vision_models::{Tiny, fixtures};
use super::{Answer, NO_KEYS, Server, post, vector};
use crate::remote_images::FetchLimits;
use crate::remote_images::tests::{Server as WebServer, local_within};

/// A picture of the fixtures in a URL.
fn data_url(name: &str) -> String {
    url_of(&std::fs::read(fixtures().join("pictures").join(name).with_extension("png")).unwrap())
}

fn url_of(file: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(file))
}

fn image(url: impl Into<String>) -> Value {
    json!({"type": "image_url", "image_url": {"url": url.into()}})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// A server with a tiny LLaVA as `llava`, and where that comes from.
async fn server(more: &str) -> (Server, Tiny) {
    let tiny = Tiny::new("llava-llama");
    let model = format!("[models.llava]\nmodality = \"llava-vision\"\nsource = {:?}\n", tiny.folder.path());
    (Server::with(NO_KEYS, 1 << 20, &format!("{model}{more}")).await, tiny)
}

impl Server {
    async fn ask(&self, content: Value, more: Value) -> Answer {
        let mut request =
            json!({"model": "llava", "messages": [{"role": "user", "content": content}], "max_tokens": 12});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/v1/chat/completions", request.to_string()).await
    }
}

#[tokio::test]
async fn a_conversation_about_pictures_is_the_references_whole_and_in_pieces() {
    let (server, tiny) = server("").await;
    for conversation in tiny.conversations() {
        let mut names = conversation.names().into_iter();
        let mut messages: Value = conversation.messages().into_iter().map(Value::from).collect();
        let contents =
            messages.as_array_mut().unwrap().iter_mut().filter_map(|message| message.get_mut("content"));
        for part in contents.filter_map(Value::as_array_mut).flatten().filter(|part| part["type"] == "image")
        {
            *part = image(data_url(&names.next().unwrap()));
        }
        let greedy = conversation.ids("greedy");
        let request = |stream: bool| {
            json!({"model": "llava", "messages": messages, "max_tokens": greedy.len(), "stream": stream})
                .to_string()
        };
        let whole = server.post("/v1/chat/completions", request(false)).await;
        assert_eq!(whole.status, 200, "{}", whole.text);
        let whole = whole.json();
        assert_eq!(whole["usage"]["prompt_tokens"], conversation.ids("tokens").len());
        assert_eq!(whole["usage"]["completion_tokens"], greedy.len());
        let streamed = server.post("/v1/chat/completions", request(true)).await;
        let streamed = text_of(&pieces(&streamed), 0, "/delta/content");
        assert_eq!(whole["choices"][0]["message"]["content"], streamed);
    }
}

#[tokio::test]
async fn a_picture_seen_before_is_not_computed_again_and_none_is_taken_for_another() {
    let (server, _tiny) = server("").await;
    let ask = async |name: &str| {
        let answer = server.ask(json!([image(data_url(name)), text("What is it?")]), json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answer = answer.json();
        let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        (answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned(), cached)
    };
    let first = ask("square").await;
    let (other, cached) = ask("other-square").await;
    // What stands before the picture is less than a block.
    assert_eq!((first.1, cached), (0, 0));
    assert_ne!(first.0, other, "two pictures, one answer");
    let again = ask("square").await;
    assert!(again.1 > 0, "nothing was found in the cache");
    assert_eq!(again.0, first.0);
}

#[tokio::test]
async fn pictures_that_cannot_be_read_are_refused_and_the_model_serves_on() {
    let (server, _tiny) = server("").await;
    let whole = std::fs::read(fixtures().join("pictures/square.png")).unwrap();
    let (others, _) = clip();
    let jpeg = std::fs::read(others.join("pictures/landscape-420.jpg")).unwrap();
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    for (file, told) in [
        (&whole[..whole.len() / 2], "damaged or cut off"),
        (&jpeg[..jpeg.len() / 2], "damaged or cut off"),
        (&bomb, "claims to be 65535x65535"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture that can be read"),
        (b"a text file named .png", "is not a picture that can be read"),
        (b"", "its payload is empty"),
    ] {
        let answer = server.ask(json!([image(url_of(file)), text("What is it?")]), json!({})).await;
        answer.refused(400, "invalid_value");
        assert!(answer.text.contains(told), "{}", answer.text);
    }
    // What is odd and still a picture: one pixel, a long line, an animation.
    for odd in others.join("pictures/odd").read_dir().unwrap().map(Result::unwrap) {
        let file = std::fs::read(odd.path()).unwrap();
        let answer = server.ask(json!([image(url_of(&file)), text("What is it?")]), json!({})).await;
        assert_eq!(answer.status, 200, "{}: {}", odd.path().display(), answer.text);
    }
    for (content, code, told) in [
        (json!([image("data:image/png;base64,?")]), "invalid_value", "its base64 is broken"),
        (json!([image("file:///etc/passwd")]), "invalid_value", "does not begin with data:"),
        (json!([image("http://example.org/a.png")]), "invalid_image_url", "set images.remote"),
        (json!([text("a <image> b"), image(data_url("square"))]), "invalid_value", "stands for a picture"),
    ] {
        let answer = server.ask(content, json!({})).await;
        answer.refused(400, code);
        assert!(answer.text.contains(told), "{}", answer.text);
    }
    let answer = server.ask(json!([image(data_url("square")), text("What is it?")]), json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn models_of_other_modalities_read_no_pictures() {
    let (server, _tiny) = server("").await;
    let image = json!({"image": data_url("square")});
    let embeddings = json!({"model": "tiny", "input": [image]}).to_string();
    server.post("/v1/embeddings", embeddings).await.refused(400, "wrong_model");
    let llava = json!({"model": "llava", "input": [image]}).to_string();
    server.post("/v1/embeddings", llava).await.refused(400, "wrong_model");
    let completion = json!({"model": "llava", "prompt": [image]}).to_string();
    let answer = server.post("/v1/completions", completion).await;
    answer.refused(400, "invalid_value");
    assert!(answer.text.contains("/v1/chat/completions"), "{}", answer.text);
    // Text alone it goes on with.
    let completion = json!({"model": "llava", "prompt": "a", "max_tokens": 2}).to_string();
    assert_eq!(server.post("/v1/completions", completion).await.status, 200);
}

#[tokio::test]
async fn urls_are_fetched_where_that_is_allowed_and_from_public_addresses_only() {
    let (server, _tiny) = server("[images]\nremote = true\n").await;
    for host in ["127.0.0.1:9", "localhost:9", "[::1]:9", "169.254.169.254", "10.0.0.1"] {
        let url = format!("http://{host}/picture.png");
        let answer = server.ask(json!([image(url), text("What is it?")]), json!({})).await;
        answer.refused(400, "invalid_image_url");
        assert!(answer.text.contains("is not a public address"), "{}", answer.text);
    }
    let many = vec![image("http://10.0.0.1/a.png"); 33];
    let answer = server.ask(json!(many), json!({})).await;
    answer.refused(400, "invalid_image_url");
    assert!(answer.text.contains("at most 32 are fetched"), "{}", answer.text);
}

#[tokio::test]
async fn a_fetched_picture_is_one_like_another() {
    let tiny = Tiny::new("llava-llama");
    let model = format!("[models.llava]\nmodality = \"llava-vision\"\nsource = {:?}\n", tiny.folder.path());
    let limits = FetchLimits { bytes: 1 << 20, timeout: Duration::from_secs(20) };
    let server = Server::fetching(NO_KEYS, 1 << 20, &model, Some(local_within(limits))).await;
    let web = WebServer::start().await;
    let ask = async |url: String| server.ask(json!([image(url), text("What is it?")]), json!({})).await;
    let said = |answer: &Answer| answer.json()["choices"][0]["message"]["content"].clone();
    let (given, fetched) = (ask(data_url("square")).await, ask(web.url("/square.png")).await);
    assert!(given.status == 200 && fetched.status == 200, "{}", fetched.text);
    assert_eq!(said(&given), said(&fetched));
    for (path, code, told) in [
        ("/picture", "invalid_value", "is not a picture that can be read"),
        ("/nothing", "invalid_image_url", "picture 1: 127.0.0.1 answered 404"),
    ] {
        let answer = ask(web.url(path)).await;
        answer.refused(400, code);
        assert!(answer.text.contains(told), "{}", answer.text);
    }
    let request =
        json!({"model": "llava", "messages": [{"role": "user", "content": [image(web.url("/never"))]}]});
    let late =
        post("/v1/chat/completions").header("x-request-timeout", "0.2").body(request.to_string().into());
    server.send(late.unwrap()).await.refused(408, "deadline_exceeded");
}

#[tokio::test]
async fn a_picture_may_not_have_more_pixels_than_the_operator_allows() {
    let (server, _tiny) = server("[images]\nmax_pixels = 100\n").await;
    let answer = server.ask(json!([image(data_url("square"))]), json!({})).await;
    answer.refused(400, "invalid_value");
    assert!(answer.text.contains("at most 100 pixels"), "{}", answer.text);
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_a_picture_leaves_nothing_behind() {
    let (server, _tiny) = server("").await;
    let content = json!([image(data_url("square")), image(data_url("other-square")), text("What are they?")]);
    for wait in [0, 1, 3, 10, 30] {
        let asked = server.ask(content.clone(), json!({"max_tokens": 500, "ignore_eos": true}));
        let _ = tokio::time::timeout(Duration::from_millis(wait), asked).await;
    }
    for _ in 0..200 {
        let pools: Value = serde_json::from_str(&server.get("/pools").await.text).unwrap();
        let llava =
            pools["models"].as_array().unwrap().iter().find(|model| model["name"] == "llava").unwrap();
        if llava["queue"]["waiting"] == 0 && llava["queue"]["leased"] == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("jobs are left: {}", server.get("/pools").await.text);
}

/// Where image-embedding's fixtures are, and what the reference says of their tiny CLIP.
fn clip() -> (PathBuf, Value) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image-embedding/tests/fixtures");
    let expected = std::fs::read(fixtures.join("checkpoints/clip/expected.json")).unwrap();
    (fixtures, serde_json::from_slice(&expected).unwrap())
}

/// The cosine of two vectors.
fn cosine(one: &[f32], other: &Value) -> f64 {
    let other: Vec<f64> = serde_json::from_value(other.clone()).unwrap();
    let length =
        |vector: &mut dyn Iterator<Item = f64>| vector.map(|number| number * number).sum::<f64>().sqrt();
    let product: f64 = one.iter().zip(&other).map(|(one, other)| f64::from(*one) * other).sum();
    let lengths =
        length(&mut one.iter().map(|number| f64::from(*number))) * length(&mut other.iter().copied());
    product / lengths
}

#[tokio::test]
async fn pictures_and_texts_have_the_references_vectors_in_one_space() {
    let (fixtures, expected) = clip();
    let more = format!(
        "[models.clip]\nmodality = \"image-embedding\"\nsource = {:?}\n",
        fixtures.join("checkpoints/clip")
    );
    let server = Server::with(NO_KEYS, 1 << 20, &more).await;
    let file =
        |case: &Value| std::fs::read(fixtures.join("pictures").join(case["file"].as_str().unwrap())).unwrap();
    let (pictures, texts) = (&expected["pictures"], &expected["texts"]);
    // Pictures and texts in turn, each in the slot it was sent in.
    let (mut input, mut wanted) = (Vec::new(), Vec::new());
    for (picture, text) in pictures.as_array().unwrap().iter().zip(texts.as_array().unwrap()) {
        input.push(json!({"image": url_of(&file(picture))}));
        input.push(text["text"].clone());
        wanted.extend([&picture["embedding"], &text["embedding"]]);
    }
    let answer = server.embed(json!({"model": "clip", "input": input})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), input.len());
    for (index, wanted) in wanted.iter().enumerate() {
        let cosine = cosine(&vector(&answer, index), wanted);
        assert!(cosine > 0.999_999, "input {index}: {cosine}");
    }
    assert!(answer.json()["usage"]["prompt_tokens"].as_u64().unwrap() > input.len() as u64);

    let dimensions = vector(&answer, 0).len();
    let request = |more: Value| {
        let mut request = json!({"model": "clip", "input": "a cat"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let same = server.embed(request(json!({"dimensions": dimensions}))).await;
    assert_eq!(same.status, 200, "{}", same.text);
    for (more, code, param) in [
        (json!({"dimensions": dimensions - 1}), "invalid_value", "dimensions"),
        (json!({"input": ["a", [1, 2]]}), "invalid_value", "input"),
        (json!({"input": [[1, 2]]}), "wrong_model", "input[0]"),
        (json!({"input": ["a", {"image": url_of(b"<svg/>")}]}), "invalid_value", "input[1]"),
        (json!({"input": ["a", {"image": "http://10.0.0.1/a.png"}]}), "invalid_image_url", "input[1]"),
    ] {
        let answer = server.embed(request(more)).await;
        answer.refused(400, code);
        assert_eq!(answer.json()["error"]["param"], param, "{}", answer.text);
    }
    let rerank = json!({"model": "clip", "query": "a", "documents": ["b"]}).to_string();
    server.post("/v1/rerank", rerank).await.refused(400, "wrong_model");
}
