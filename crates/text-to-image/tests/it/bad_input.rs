//! What cannot be drawn is refused at once, in one line that says what would do.

use text_to_image::{EncodedImage, Error, Imagine, PictureFormat};

use crate::fixture;

async fn refusal(call: Imagine) -> String {
    let error = call.await.unwrap_err();
    assert!(matches!(error.pool(), Some(pool_core::Error::Invalid { .. })), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[tokio::test]
async fn parameters_out_of_range_are_refused_with_the_range() {
    let pool = fixture::load("sd1").await;
    let cat = || pool.imagine("a cat");
    let cases = [
        (cat().size(7, 7), "size is 7x7, sides must be multiples of 4: 8x8 would do"),
        (cat().size(0, 32), "size is 0x32, sides must be multiples of 4: 4x32 would do"),
        (
            cat().size(100_000, 100_000),
            "size is 100000x100000, 10000000000 pixels, and at most 4194304 are drawn: choose a smaller one",
        ),
        (cat().steps(0), "steps is 0, this model takes 1 to 1000"),
        (cat().steps(1001), "steps is 1001, this model takes 1 to 1000"),
        (
            cat().guidance(f32::NAN),
            "guidance is NaN, it must be a number from -1000 to 1000; 1 or less is none",
        ),
        (cat().pictures(0), "pictures is 0, it must be 1 to 16"),
        (
            cat().size(16_384, 256).format(PictureFormat::Webp),
            "size is 16384x256: cannot write the picture as WebP: the picture is 16384x256, and no side may be longer than 16383",
        ),
        (cat().strength(0.5), "strength is given without a picture to begin with"),
        (cat().format(PictureFormat::Jpeg { quality: 0 }), "quality is 0, it must be 1 to 100"),
    ];
    for (call, expected) in cases {
        assert_eq!(refusal(call).await, expected);
    }
    let unknown = refusal(cat().scheduler("karras")).await;
    assert!(unknown.contains("karras") && unknown.contains("euler"), "{unknown}");
    let long = refusal(pool.imagine("x".repeat(100_000))).await;
    assert!(long.starts_with("prompt has 100000 bytes"), "{long}");
    cat().steps(1).await.unwrap();
}

#[tokio::test]
async fn pictures_that_are_none_are_refused_and_the_pool_goes_on() {
    let pool = fixture::load("sd1").await;
    let image = fixture::picture("waves.png").await;
    let text = EncodedImage::new(&b"not a picture"[..]);
    let edit = || pool.edit(&image, "a cat").steps(2);
    assert!(refusal(pool.edit(text.clone(), "a cat")).await.starts_with("image: "));
    assert!(refusal(edit().mask(text)).await.starts_with("mask: "));
    for strength in [-0.1, 0.0, 1.1, f64::NAN] {
        let message = refusal(edit().strength(strength)).await;
        assert_eq!(message, format!("strength is {strength}, it must be a number above 0 and at most 1"));
    }
    assert!(refusal(edit().strength(0.1)).await.contains("strength 0.1 of 2 steps is less than one step"));
    let cut = EncodedImage::new(&image.bytes()[..image.bytes().len() / 2]);
    assert!(refusal(pool.edit(cut, "a cat").steps(2)).await.starts_with("image: "));
    edit().await.unwrap();
}

#[tokio::test]
async fn a_model_that_takes_guidance_as_a_number_refuses_what_it_would_not_read() {
    let pool = fixture::load("lcm").await;
    assert!(pool.info().distilled_guidance);
    let message = refusal(pool.imagine("a cat").negative("a dog")).await;
    assert!(message.starts_with("negative prompts are of no use"), "{message}");
}

#[tokio::test]
async fn a_picture_is_saved_whole_or_not_at_all_and_leaves_nothing_beside() {
    let pool = fixture::load("sd1").await;
    let picture = pool.imagine("a cat").steps(1).await.unwrap().pictures.remove(0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cat.png");
    std::fs::write(&path, "what was there").unwrap();
    picture.save(&path).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), *picture.bytes);
    let error = picture.save(folder.path().join("no/cat.png")).await.unwrap_err();
    assert!(error.to_string().contains("no/cat.png"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_model_for_inpainting_wants_a_picture_and_a_mask() {
    let pool = fixture::load("inpaint").await;
    assert!(pool.info().inpainting);
    let message = refusal(pool.imagine("a cat")).await;
    assert!(message.ends_with("fills in what a mask leaves out: give it a picture and a mask"), "{message}");
    let image = fixture::picture("waves.png").await;
    let message = refusal(pool.edit(image, "a cat")).await;
    assert!(message.ends_with("give it a mask, too"), "{message}");
}

#[tokio::test]
async fn outside_tokio_there_is_an_error_not_a_panic() {
    let pool = fixture::load("sd1").await;
    let call = pool.imagine("a cat").steps(1);
    let outside = std::thread::scope(|scope| {
        scope.spawn(|| futures::FutureExt::now_or_never(std::future::IntoFuture::into_future(call))).join()
    });
    assert!(matches!(outside.unwrap(), Some(Err(Error::Pool(_)))));
}
