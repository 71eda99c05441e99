//! Pictures drawn by a tiny Stable Diffusion of random weights, whole, in pieces and from other pictures.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{Request, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use imaging::{EncodedImage, Format, Image, Limits};
use serde_json::{Value, json};
use tokio::sync::RwLockReadGuard;
use tower::ServiceExt as _;

use super::{Answer, MACHINE, NO_KEYS, Server, post};

const GENERATIONS: &str = "/v1/images/generations";
const EDITS: &str = "/v1/images/edits";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../text-to-image/tests/fixtures")
}

/// What diffusers drew with one of the tiny models.
fn reference(model: &str, run: &str) -> Value {
    let expected = std::fs::read(fixtures().join("pipelines").join(model).join("expected.json")).unwrap();
    let mut expected: Value = serde_json::from_slice(&expected).unwrap();
    let runs = expected["runs"].as_array_mut().unwrap();
    runs.iter_mut().find(|candidate| candidate["name"] == run).unwrap().take()
}

/// A server with the tiny models `sd1` and `inpaint`.
/// A server with its part of the machine.
struct Drawing {
    server: Server,
    _part: RwLockReadGuard<'static, ()>,
}

impl Deref for Drawing {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

async fn server() -> Drawing {
    let part = MACHINE.read().await;
    Drawing { server: with_limit(1 << 20).await, _part: part }
}

async fn with_limit(body: usize) -> Server {
    let model = |name: &str| {
        let source = fixtures().join("pipelines").join(name);
        format!("[models.{name}]\nmodality = \"text-to-image\"\nsource = {source:?}\n")
    };
    Server::with(NO_KEYS, body, &(model("sd1") + &model("inpaint"))).await
}

impl Server {
    async fn draw(&self, more: Value) -> Answer {
        let mut request = json!({"model": "sd1", "prompt": "a cat", "steps": 2, "seed": 7});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post(GENERATIONS, request.to_string()).await
    }

    async fn edit(&self, form: Form) -> Answer {
        self.send(form.request()).await
    }
}

/// A form as clients send it.
#[derive(Clone)]
struct Form(Vec<u8>);

impl Form {
    fn new() -> Self {
        let form = [("model", "sd1"), ("prompt", "a cat"), ("steps", "4"), ("seed", "7")];
        form.into_iter().fold(Self(Vec::new()), |form, (name, text)| form.text(name, text))
    }

    fn text(self, name: &str, text: &str) -> Self {
        self.part(&format!("name=\"{name}\""), text.as_bytes())
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.part(&format!("name=\"{name}\"; filename=\"a.png\""), content)
    }

    fn image(self) -> Self {
        self.file("image", &waves())
    }

    fn part(mut self, name: &str, content: &[u8]) -> Self {
        let head = format!("--limit\r\nContent-Disposition: form-data; {name}\r\n\r\n");
        self.0.extend([head.as_bytes(), content, b"\r\n"].concat());
        self
    }

    fn request(mut self) -> Request<Body> {
        self.0.extend(b"--limit--\r\n");
        let request = Request::post(EDITS).header("content-type", "multipart/form-data; boundary=limit");
        request.body(self.0.into()).unwrap()
    }
}

fn waves() -> Vec<u8> {
    std::fs::read(fixtures().join("pictures/waves.png")).unwrap()
}

/// The files of an answer.
#[track_caller]
fn files(answer: &Answer) -> Vec<Vec<u8>> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    let data = body["data"].as_array().unwrap();
    data.iter().map(|datum| STANDARD.decode(datum["b64_json"].as_str().unwrap()).unwrap()).collect()
}

fn decoded(file: &[u8]) -> Image {
    imaging::decode(file, &Limits::default()).unwrap()
}

/// Checks pictures against the reference's, of which every so many numbers are kept.
#[track_caller]
fn check(files: &[Vec<u8>], run: &Value) {
    let mut numbers = Vec::new();
    for file in files {
        let picture = decoded(file);
        assert_eq!((&json!(picture.width()), &json!(picture.height())), (&run["width"], &run["height"]));
        for channel in 0..3 {
            numbers.extend(
                picture.pixels().iter().skip(channel).step_by(3).map(|level| f64::from(*level) / 255.0),
            );
        }
    }
    let wanted: Vec<f64> =
        run["picture"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    let found: Vec<f64> = numbers.into_iter().step_by(5).collect();
    assert_eq!(found.len(), wanted.len());
    let most = found.iter().zip(&wanted).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f64::max);
    assert!(most <= 1.0 / 255.0, "{}: {most} apart", run["name"]);
}

/// The events of a stream: their names and what is in them.
#[track_caller]
fn events(text: &str) -> Vec<(String, Value)> {
    let events = text.split_terminator("\n\n");
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap_or_else(|| panic!("{event}"));
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        assert_eq!(data["type"], name);
        (name, data)
    };
    events.map(event).collect()
}

#[tokio::test]
async fn a_picture_is_the_references() {
    let server = server().await;
    for name in ["dpm++2m-8", "euler_a-two", "odd-size"] {
        let run = reference("sd1", name);
        let mut request = json!({
            "prompt": run["prompt"], "steps": run["steps"], "guidance": run["guidance"], "seed": run["seed"],
            "scheduler": run["scheduler"], "n": run["pictures"],
            "size": format!("{}x{}", run["width"], run["height"]),
        });
        if run["negative"].is_string() {
            request["negative_prompt"] = run["negative"].clone();
        }
        let answer = server.draw(request).await;
        check(&files(&answer), &run);
        let body = answer.json();
        let size = format!("{}x{}", run["width"], run["height"]);
        assert_eq!(
            (&body["size"], &body["output_format"], &body["background"], &body["seed"]),
            (&json!(size), &json!("png"), &json!("opaque"), &run["seed"])
        );
        assert!(body["created"].as_u64().unwrap() > 1_700_000_000);
        assert!(body["usage"]["input_tokens"].as_u64().unwrap() > 2);
    }
}

#[tokio::test]
async fn a_seed_that_was_drawn_is_told_and_gives_the_same_picture() {
    let server = server().await;
    let first = server.draw(json!({"seed": null})).await;
    let again = server.draw(json!({"seed": first.json()["seed"]})).await;
    assert_eq!(files(&first), files(&again));
    assert_ne!(files(&first), files(&server.draw(json!({"seed": null})).await));
}

#[tokio::test]
async fn pictures_are_written_as_they_are_asked_for() {
    let server = server().await;
    let png = files(&server.draw(json!({})).await).remove(0);
    assert!(png.windows(10).any(|bytes| bytes == b"parameters"), "the file does not say how it was drawn");
    let webp = files(&server.draw(json!({"output_format": "webp"})).await).remove(0);
    assert_eq!(decoded(&png), decoded(&webp));
    let jpeg = async |quality: u32| {
        let asked = json!({"output_format": "jpeg", "output_compression": quality, "size": "64x64"});
        files(&server.draw(asked).await).remove(0)
    };
    let (coarse, fine) = (jpeg(10).await, jpeg(100).await);
    assert!(coarse.len() < fine.len(), "{} and {}", coarse.len(), fine.len());
    for (file, format) in [(&png, Format::Png), (&webp, Format::WebP), (&fine, Format::Jpeg)] {
        assert_eq!(EncodedImage::from(&**file).header().unwrap().format, format);
    }
}

#[tokio::test]
async fn what_cannot_be_obeyed_is_refused_by_name() {
    let server = server().await;
    let invalid = "invalid_value";
    let unknown = "unknown_parameter";
    for (more, code, param) in [
        (json!({"size": "7x7"}), invalid, "size"),
        (json!({"size": "0x8"}), invalid, "size"),
        (json!({"size": "large"}), invalid, "size"),
        (json!({"size": "100000x100000"}), invalid, "size"),
        (json!({"steps": 0}), invalid, "steps"),
        (json!({"steps": 1001}), invalid, "steps"),
        (json!({"guidance": "NaN"}), invalid, "guidance"),
        (json!({"guidance": 1e39}), invalid, "guidance"),
        (json!({"n": 0}), invalid, "n"),
        (json!({"n": 11}), invalid, "n"),
        (json!({"seed": 1.5}), invalid, "seed"),
        (json!({"scheduler": "heun"}), invalid, "scheduler"),
        (json!({"response_format": "url"}), invalid, "response_format"),
        (json!({"output_format": "gif"}), invalid, "output_format"),
        (json!({"output_compression": 101}), invalid, "output_compression"),
        (json!({"output_compression": 50}), invalid, "output_compression"),
        (json!({"background": "transparent"}), invalid, "background"),
        (json!({"quality": "hd"}), invalid, "quality"),
        (json!({"moderation": "high"}), invalid, "moderation"),
        (json!({"partial_images": 4, "stream": true}), invalid, "partial_images"),
        (json!({"prompt": 5}), invalid, "prompt"),
        (json!({"style": "vivid"}), unknown, "style"),
        (json!({"strength": 0.5}), unknown, "strength"),
    ] {
        for stream in [false, true] {
            let mut more = more.clone();
            more["stream"] = stream.into();
            let answer = server.draw(more.clone()).await;
            let message = answer.refused(400, code);
            assert_eq!(answer.json()["error"]["param"], param, "{more}: {message}");
            for leaked in ["usize", "u32", "struct ", "enum "] {
                assert!(!message.contains(leaked), "{message}");
            }
        }
    }
    let message = server.draw(json!({"size": "7x7"})).await.refused(400, invalid);
    assert!(message.contains("7x7") && message.contains('4'), "no word of what would do: {message}");
    server.draw(json!({"partial_images": 2})).await.refused(400, invalid);
    server.post(GENERATIONS, json!({"model": "sd1"}).to_string()).await.refused(400, "missing_parameter");
    server.draw(json!({"model": "nobody"})).await.refused(404, "model_not_found");
    server.draw(json!({"model": "tiny"})).await.refused(400, "wrong_model");
    let message = server.draw(json!({"model": "inpaint"})).await.refused(400, invalid);
    assert!(message.contains("a picture and a mask"), "{message}");
    server.embed(json!({"model": "sd1", "input": "a"})).await.refused(400, "wrong_model");
    let chat = json!({"model": "sd1", "messages": [{"role": "user", "content": "a"}]});
    let message = server.post("/v1/chat/completions", chat.to_string()).await.refused(400, "wrong_model");
    assert!(message.contains(GENERATIONS), "{message}");
    server.post("/v1/images/variations", "{}").await.refused(404, "unknown_route");
    server.get(GENERATIONS).await.refused(405, "method_not_allowed");
    assert_eq!(server.draw(json!({})).await.status, 200, "it lives");
}

#[tokio::test]
async fn a_stream_tells_of_each_step_and_ends_with_the_pictures() {
    let server = server().await;
    let asked = json!({"steps": 8, "n": 2, "scheduler": "ddim"});
    let whole = files(&server.draw(asked.clone()).await);
    for partial_images in [0, 2] {
        let mut asked = asked.clone();
        asked["stream"] = true.into();
        asked["partial_images"] = partial_images.into();
        let answer = server.draw(asked).await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{}", answer.text);
        assert_eq!(answer.header("x-accel-buffering"), Some("no"));
        let events = events(&answer.text);
        let of = |kind: &str| -> Vec<&Value> {
            let kind = format!("image_generation.{kind}");
            events.iter().filter(|(name, _)| *name == kind).map(|(_, event)| event).collect()
        };
        let steps: Vec<Value> =
            of("progress").iter().map(|event| json!([event["step"], event["steps"]])).collect();
        assert_eq!(steps, (1..=8).map(|step| json!([step, 8])).collect::<Vec<_>>());
        let partial = of("partial_image");
        assert_eq!(partial.len(), partial_images);
        for (index, event) in partial.iter().enumerate() {
            assert_eq!(event["partial_image_index"], index);
            let file = STANDARD.decode(event["b64_json"].as_str().unwrap()).unwrap();
            let preview = decoded(&file);
            assert_eq!(event["size"], format!("{}x{}", preview.width(), preview.height()));
        }
        let completed = of("completed");
        let pictures =
            completed.iter().map(|event| STANDARD.decode(event["b64_json"].as_str().unwrap()).unwrap());
        assert_eq!(pictures.collect::<Vec<_>>(), whole);
        assert_eq!(events.len(), 8 + partial_images + 2, "{}", answer.text);
        for event in completed {
            assert_eq!((&event["output_format"], &event["quality"]), (&json!("png"), &json!("auto")));
            assert_eq!((&event["seed"], &event["size"]), (&json!(7), &json!("32x32")));
            assert!(event["usage"]["total_tokens"].is_u64() && event["created_at"].is_u64());
        }
    }
}

#[tokio::test]
async fn an_edited_picture_is_the_references() {
    let server = server().await;
    let mask = std::fs::read(fixtures().join("pictures/mask.png")).unwrap();
    for (model, name) in [
        ("sd1", "edit"),
        ("sd1", "inpaint"),
        ("sd1", "inpaint-strength"),
        ("inpaint", "own"),
        ("inpaint", "strength"),
    ] {
        let run = reference(model, name);
        let mut form = Form(Vec::new())
            .text("model", model)
            .text("size", &format!("{}x{}", run["width"], run["height"]))
            .text("prompt", run["prompt"].as_str().unwrap())
            .text("n", &run["pictures"].to_string())
            .text("response_format", "b64_json");
        for field in ["steps", "guidance", "seed", "strength"] {
            form = form.text(field, &run[field].to_string());
        }
        if let Some(scheduler) = run["scheduler"].as_str() {
            form = form.text("scheduler", scheduler);
        }
        if run["mask"].is_string() {
            form = form.file("mask", &mask);
        }
        check(&files(&server.edit(form.image()).await), &run);
    }
}

/// A bitmap of 32 by 32 with alpha: transparent in its left half.
fn half_transparent() -> Vec<u8> {
    // A bitmap of 32 bits with a V4 header, whose masks say where alpha is.
    let pixel = |column: usize| if column < 16 { [9, 9, 9, 0] } else { [9, 9, 9, 255] };
    bitmap(32, |_, column| pixel(column))
}

fn half_white() -> Vec<u8> {
    let pixel = |column: usize| if column < 16 { 255 } else { 0 };
    bitmap(24, |_, column| [pixel(column), pixel(column), pixel(column), 0])
}

/// A bitmap of 32 by 32 pixels with 24 bits, or 32 with alpha.
fn bitmap(bits: u16, pixel: impl Fn(usize, usize) -> [u8; 4]) -> Vec<u8> {
    let (header, alpha): (u32, u32) = (108, if bits == 32 { 3 } else { 0 });
    let mut file = b"BM".to_vec();
    for number in [0, 0, 14 + header, header, 32, 32, 1 | u32::from(bits) << 16, alpha, 0, 0, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    for mask in [0xff_0000_u32, 0xff00, 0xff, 0xff00_0000] {
        file.extend(mask.to_le_bytes());
    }
    file.resize(14 + header as usize, 0);
    for row in (0..32).rev() {
        for column in 0..32 {
            let [red, green, blue, alpha] = pixel(row, column);
            file.extend(&[blue, green, red, alpha][..usize::from(bits / 8)]);
        }
    }
    file
}

#[tokio::test]
async fn transparent_and_white_are_the_same_mask() {
    let server = server().await;
    let edited =
        async |mask: &[u8]| files(&server.edit(Form::new().image().file("mask", mask)).await).remove(0);
    let (transparent, white) = (edited(&half_transparent()).await, edited(&half_white()).await);
    assert_eq!(transparent, white);
    let all = files(&server.edit(Form::new().image().text("strength", "1")).await).remove(0);
    assert_ne!(transparent, all, "the mask masked nothing");
}

#[tokio::test]
async fn a_picture_is_edited_in_pieces() {
    let server = server().await;
    let form = Form::new().image().text("strength", "0.5").text("scheduler", "ddim");
    let whole = files(&server.edit(form.clone()).await).remove(0);
    let answer = server.edit(form.text("stream", "true").text("partial_images", "1")).await;
    let events = events(&answer.text);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.strip_prefix("image_edit.").unwrap()).collect();
    assert_eq!(names, ["progress", "partial_image", "progress", "completed"]);
    assert_eq!(STANDARD.decode(events[3].1["b64_json"].as_str().unwrap()).unwrap(), whole);
}

#[tokio::test]
async fn forms_that_make_no_sense_are_refused() {
    let server = server().await;
    let invalid = "invalid_value";
    for (form, code, param) in [
        (Form::new(), "missing_parameter", "image"),
        (Form::new().file("image", b""), invalid, "image"),
        (Form::new().file("image", b"<svg/>"), invalid, "image"),
        (Form::new().file("image", &waves()[..60]), invalid, "image"),
        (Form::new().image().image(), invalid, "image"),
        (Form::new().file("image[]", &waves()).file("image[]", &waves()), invalid, "image"),
        (Form::new().image().file("mask", b"text"), invalid, "mask"),
        (Form::new().image().file("mask", &waves()[..60]), invalid, "mask"),
        (Form::new().image().text("strength", "1.5"), invalid, "strength"),
        (Form::new().image().text("strength", "NaN"), invalid, "strength"),
        (Form::new().image().text("n", "0"), invalid, "n"),
        (Form::new().image().text("n", "two"), invalid, "n"),
        (Form::new().image().text("size", "7x7"), invalid, "size"),
        (Form::new().image().text("guidance", "NaN"), invalid, "guidance"),
        (Form::new().image().text("stream", "yes"), invalid, "stream"),
        (Form::new().image().text("steps", "5"), invalid, "steps"),
        (Form::new().image().text("input_fidelity", "high"), "unknown_parameter", "input_fidelity"),
        (Form(Vec::new()).image().text("prompt", "a"), "missing_parameter", "model"),
    ] {
        let told = String::from_utf8_lossy(&form.0).replace("\r\n", " ");
        let answer = server.edit(form).await;
        let message = answer.refused(400, code);
        assert_eq!(answer.json()["error"]["param"], param, "{told}: {message}");
    }
    server.post(EDITS, json!({"model": "sd1"}).to_string()).await.refused(400, "unsupported_content_type");
    let bare =
        Request::post(EDITS).header("content-type", "multipart/form-data").body(Body::from("a")).unwrap();
    server.send(bare).await.refused(400, "unsupported_content_type");
    let mut foreign = Form::new().image().request();
    foreign.headers_mut().insert("origin", "https://example.org".parse().unwrap());
    server.send(foreign).await.refused(403, "origin_not_allowed");
    let cut = Request::post(EDITS).header("content-type", "multipart/form-data; boundary=limit");
    server.send(cut.body(Body::from(Form::new().image().0)).unwrap()).await.refused(400, "invalid_form");
    let mut bomb = half_transparent();
    bomb[18..26].copy_from_slice(&[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]);
    let message = server.edit(Form::new().image().file("mask", &bomb)).await.refused(400, invalid);
    assert!(message.contains("65535x65535"), "{message}");
    assert_eq!(server.edit(Form::new().image()).await.status, 200, "it lives");
    assert_eq!(server.edit(Form::new().file("image[]", &waves())).await.status, 200, "a list of one");
    let small = with_limit(2000).await;
    small.edit(Form::new().image().file("mask", &half_white())).await.refused(413, "request_too_large");
}

/// A stream of which nobody has read more than its head.
async fn unread(server: &Server, steps: usize, timeout: &str) -> Response<Body> {
    // Warm, so that the first step is there in time.
    assert_eq!(server.draw(json!({})).await.status, 200);
    let body = json!({"model": "sd1", "prompt": "a cat", "stream": true, "steps": steps, "scheduler": "ddim", "size": "64x64"});
    let request = post(GENERATIONS).header("x-request-timeout", timeout);
    let response =
        server.router.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

async fn rest(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_deadline_ends_a_drawing_in_its_middle() {
    let server = server().await;
    // The stream ends by itself at the deadline, long before so many steps are done.
    let response = unread(&server, 900, "5").await;
    let text = rest(response).await;
    let last: Value = serde_json::from_str(text.trim_end().rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "deadline_exceeded", "{last}");
    let request = json!({"model": "sd1", "prompt": "a cat", "steps": 500, "scheduler": "ddim"}).to_string();
    let request = post(GENERATIONS).header("x-request-timeout", "0.05").body(Body::from(request)).unwrap();
    server.send(request).await.refused(408, "deadline_exceeded");
}

#[tokio::test]
async fn a_drain_waits_for_the_end_of_a_drawing() {
    let server = server().await;
    let response = unread(&server, 40, "60").await;
    server.app.drain.begin();
    assert_eq!(server.app.drain.requests(), 1);
    let text = rest(response).await;
    assert_eq!(events(&text).last().unwrap().0, "image_generation.completed");
    assert_eq!(server.app.drain.requests(), 0);
}

#[tokio::test]
async fn a_reader_who_leaves_cancels_the_drawing_and_nobody_elses() {
    let server = server().await;
    let response = unread(&server, 500, "60").await;
    let (other, ()) = tokio::join!(server.draw(json!({"steps": 6})), async { drop(response) });
    assert_eq!(other.status, 200, "{}", other.text);
    let pools = server.get("/pools").await.json();
    let pool = pools["models"].as_array().unwrap().iter().find(|model| model["name"] == "sd1").unwrap();
    assert_eq!((&pool["jobs"]["cancelled"], &pool["jobs"]["completed"]), (&json!(1), &json!(2)), "{pool}");
    assert_eq!((&pool["queue"]["leased"], &pool["modality"]), (&json!(0), &json!("text-to-image")), "{pool}");
}
