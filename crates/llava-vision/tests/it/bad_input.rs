//! Pictures and prompts that cannot be served: a clear line for each, and the pool goes on.

use llava_vision::{Error, LlavaVision, Message, Picture};
use pool_core::Error as PoolError;
use serde_json::json;

use crate::tiny::{Tiny, about, fixtures, picture};

fn invalid(error: Error) -> String {
    assert!(matches!(error.pool(), Some(PoolError::Invalid { .. })), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n') && !message.is_empty(), "{message:?}");
    message
}

async fn lives(pool: &LlavaVision) {
    let answer = pool.describe(picture("small"), "Is it?").max_tokens(2).await.unwrap();
    assert_eq!(answer.usage.completion, 2);
}

/// A bitmap of one colour: 24 bits a pixel, rows filled up to four bytes.
fn bitmap(width: u32, height: u32) -> Vec<u8> {
    let row = (width as usize * 3).next_multiple_of(4);
    let size = 26 + row * height as usize;
    let mut file = Vec::with_capacity(size);
    file.extend_from_slice(b"BM");
    file.extend_from_slice(&(size as u32).to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&26_u32.to_le_bytes());
    file.extend_from_slice(&12_u32.to_le_bytes());
    for number in [width as u16, height as u16, 1, 24] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.resize(size, 200);
    file
}

/// A PNG whose header claims so many pixels.
fn bomb(side: u32) -> Vec<u8> {
    let mut file = std::fs::read(fixtures().join("pictures/small.png")).unwrap();
    file[16..20].copy_from_slice(&side.to_be_bytes());
    file[20..24].copy_from_slice(&side.to_be_bytes());
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_picture_is_told_in_one_line() {
    let pool = Tiny::new("next-llama").load().await.unwrap();
    let cut = std::fs::read(fixtures().join("pictures/square.png")).unwrap();
    for (bytes, told) in [
        (Vec::new(), "is not a picture that can be read"),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>".to_vec(), "is not a picture that can be read"),
        (b"a text file named .png".to_vec(), "is not a picture that can be read"),
        (bomb(60_000), "claims to be 60000x60000"),
        (cut[..cut.len() / 2].to_vec(), "is damaged or cut off"),
    ] {
        let message = invalid(pool.describe(bytes, "What is it?").max_tokens(2).await.unwrap_err());
        assert!(message.contains(told), "{message}");
        lives(&pool).await;
    }
    for (url, told) in
        [("data:image/png;base64,%%", "data"), ("http://127.0.0.1/picture.png", "not a data URL")]
    {
        let message = invalid(Picture::from_data_url(url).unwrap_err());
        assert!(message.contains(told), "{message}");
    }
    let message = invalid(Picture::open("no/such/file.png").await.unwrap_err());
    assert!(message.contains("no/such/file.png"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_of_any_shape_are_answered_about() {
    for (name, sizes) in [
        // The whole, then a grid of two tiles, 4 by 8 patches: half of them with a newline a row, none, only newlines.
        ("next-llama", [((1, 1), 16 + 4 * 5), ((30_000, 10), 16), ((10, 30_000), 16 + 4)]),
        ("llava-llama", [((1, 1), 16), ((30_000, 10), 16), ((10, 30_000), 16)]),
    ] {
        let pool = Tiny::new(name).load().await.unwrap();
        let without = pool.chat([Message::user("What is it?")]).max_tokens(2).await.unwrap().usage.prompt;
        for ((width, height), rows) in sizes {
            let call = pool.describe(bitmap(width, height), "What is it?").max_tokens(2);
            let usage = call.await.unwrap().usage;
            // The newline behind the picture.
            assert_eq!(usage.prompt, without + rows + 1, "{name}, {width}x{height}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_cannot_take_a_pictures_place() {
    let pool = Tiny::new("llava-llama").load().await.unwrap();
    let chat = |message: Message, pictures: usize| {
        pool.chat([message]).pictures(vec![picture("small"); pictures]).max_tokens(2).into_future()
    };
    let spelled = "spells <image>, which stands for a picture";
    for (message, pictures, told) in [
        (Message::user("Look: <image>"), 0, spelled),
        (Message::user("Look: <image>"), 1, spelled),
        (about(1, "Or <image>?"), 2, spelled),
        (about(1, "What is it?"), 0, "pictures given: 0, places for one (<image>) in the prompt: 1"),
        (about(1, "What is it?"), 2, "pictures given: 2, places for one (<image>) in the prompt: 1"),
        (Message::user("What is it?"), 1, "pictures given: 1, places for one (<image>) in the prompt: 0"),
        // Pieces that only the template puts together.
        (
            Message::user(json!([{"type": "text", "text": "<ima"}, {"type": "text", "text": "ge>"}])),
            0,
            "pictures given: 0, places for one (<image>) in the prompt: 1",
        ),
    ] {
        let message = invalid(chat(message, pictures).await.unwrap_err());
        assert!(message.contains(told), "{message}");
        lives(&pool).await;
    }
    let call = pool.complete("No picture: <image>.").max_tokens(2);
    assert!(
        invalid(call.await.unwrap_err())
            .contains("pictures given: 0, places for one (<image>) in the prompt: 1")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_pictures_than_the_context_holds_are_refused_at_once() {
    let pool = Tiny::new("next-llama").load().await.unwrap();
    let call = pool.chat([about(8, "So?")]).pictures(vec![picture("square"); 8]).max_tokens(2);
    let message = invalid(call.await.unwrap_err());
    assert!(message.contains("the prompt's pictures (8) have"), "{message}");
    lives(&pool).await;
}
