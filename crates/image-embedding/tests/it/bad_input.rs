//! Inputs that cannot be served, and odd ones that can: a clear line for each, and the pool goes on.

use image_embedding::{EncodedImage, Error, ImageEmbedding, Limits};
use pool_core::Error as PoolError;

use crate::fixture::{bytes, picture, pool};

fn invalid(error: &Error) -> String {
    assert!(matches!(error.pool(), Some(PoolError::Invalid { .. })), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n') && !message.is_empty(), "{message:?}");
    message
}

/// A PNG's signature and header, of so many pixels, with nothing behind.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_that_are_none_are_refused_and_the_pool_lives() {
    let jpeg = bytes("landscape-420.jpg");
    let whole = bytes("landscape.png");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no bytes", Vec::new(), "empty"),
        ("a text", b"a text that is called picture.png".to_vec(), "JPEG"),
        ("an SVG", b"<svg xmlns=\"http://www.w3.org/2000/svg\"><rect/></svg>".to_vec(), "SVG"),
        ("a truncated JPEG", jpeg[..jpeg.len() / 2].to_vec(), "JPEG"),
        ("a truncated PNG", whole[..whole.len() / 2].to_vec(), "PNG"),
        ("a PNG bomb", png(60_000, 60_000), "pixels"),
        ("a header alone", png(10, 10), "PNG"),
    ];
    for name in ["clip", "dinov2"] {
        let pool = pool(name).await;
        let before = pool.embed_image(picture("square.png")).await.unwrap();
        for (what, bytes, wanted) in &cases {
            let error = pool.embed_image(bytes.clone()).await.unwrap_err();
            let message = invalid(&error);
            assert!(message.contains(wanted), "{what}: {message}");
            let list = [picture("square.png"), EncodedImage::new(bytes.clone()), picture("square.png")];
            let error = pool.embed_all(list).await.unwrap_err();
            assert!(matches!(error, Error::Item { index: 1, .. }), "{what}: {error:?}");
            assert_eq!(error.to_string(), format!("input 1: {message}"));
        }
        assert_eq!(pool.embed_image(picture("square.png")).await.unwrap(), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_pictures_are_seen() {
    for name in ["clip", "siglip", "dinov2-interpolated"] {
        let pool = pool(name).await;
        for file in ["odd/one.png", "odd/long.png", "odd/animated.gif"] {
            let vector = pool.embed_image(picture(file)).await.unwrap();
            let length: f32 = vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5, "{name}: {file}: {length}");
        }
        // Of an animation, the first picture counts.
        let animated = pool.embed_image(picture("odd/animated.gif")).await.unwrap();
        let still = pool.embed_image(picture("odd/still.gif")).await.unwrap();
        assert_eq!(animated, still);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_own_limits_hold() {
    let pool = pool("clip").await;
    let small = Limits { pixels: 60 * 37, ..Limits::default() };
    let image = EncodedImage::with_limits(bytes("landscape.png"), small);
    let message = invalid(&pool.embed_image(image).await.unwrap_err());
    assert!(message.contains("61x37"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_are_refused_where_there_is_no_space_for_them() {
    let pool = pool("dinov2").await;
    let wanted = "a dinov2 model sees pictures only; texts need CLIP or SigLIP";
    assert_eq!(invalid(&pool.embed_text("a cat").await.unwrap_err()), wanted);
    let image = picture("square.png");
    assert_eq!(invalid(&pool.classify(&image, ["a cat"]).await.unwrap_err()), wanted);
    let mixed: [image_embedding::Input; 2] = [image.into(), "a cat".into()];
    let error = pool.embed_all(mixed).await.unwrap_err();
    assert_eq!(error.to_string(), format!("input 1: {wanted}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_mean_nothing_are_refused() {
    let pool = pool("clip").await;
    let image = || picture("square.png");
    let none: [&str; 0] = [];
    let error = pool.classify(image(), none).await.unwrap_err();
    assert_eq!(invalid(&error), "there are no labels to classify by; give at least one");
    let error = pool.classify(image(), ["a"]).template("a photo").await.unwrap_err();
    assert_eq!(invalid(&error), "the template \"a photo\" has no {} for the label to stand at");
    let error = pool.embed_text("a".repeat(70_000)).await.unwrap_err();
    let wanted = "the text has 70000 bytes; at most 65536 are taken, of which the model reads 77 tokens";
    assert_eq!(invalid(&error), wanted);
    assert_eq!(pool.embed_all(Vec::<EncodedImage>::new()).await.unwrap(), []);
    // Long, and cut: the end token stays.
    assert_eq!(pool.embed_text("the cat ".repeat(1000)).await.unwrap().tokens, 77);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_without_a_tokenizer_sees_pictures_and_says_why_it_reads_no_texts() {
    let folder = crate::fixture::copy("clip");
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let pool = ImageEmbedding::load(folder.path()).await.unwrap();
    assert!(!pool.info().texts);
    let wanted = crate::fixture::pool("clip").await.embed_image(picture("square.png")).await.unwrap();
    assert_eq!(pool.embed_image(picture("square.png")).await.unwrap(), wanted);
    let message = invalid(&pool.embed_text("a cat").await.unwrap_err());
    assert!(message.starts_with("the checkpoint has no tokenizer.json"), "{message}");
}
