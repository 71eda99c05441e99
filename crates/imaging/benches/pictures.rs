//! How long a picture takes: `cargo bench -p imaging`.
//!
//! Decoding a photograph-sized JPEG made of one small fixture is not representative, so what is decoded is given by its
//! path in `PICTURE`; without it the fixture is decoded.

#![expect(clippy::panic, reason = "a bench that cannot set up has nothing to go on with")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imaging::{Filter, Image, Limits, Processor, Window, decode, resize, resize_window};
use serde_json::json;

const FIXTURE: &[u8] = include_bytes!("../tests/fixtures/imaging/pictures/420.jpg");

fn decoding(criterion: &mut Criterion) {
    let content = std::env::var_os("PICTURE").map(std::fs::read).transpose();
    let content = content.unwrap_or_else(|error| panic!("PICTURE cannot be read: {error}"));
    let content = content.as_deref().unwrap_or(FIXTURE);
    let image = decode(content, &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(u64::from(image.width()) * u64::from(image.height())));
    let name = format!("{}x{}", image.width(), image.height());
    group.bench_function(name, |bencher| bencher.iter(|| decode(black_box(content), &Limits::default())));
    group.finish();
}

fn photograph() -> Image {
    let samples = (0..1_920_u32 * 1_080 * 3).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8);
    Image::new(1_920, 1_080, samples.collect()).unwrap_or_else(|error| panic!("{error}"))
}

fn resizing(criterion: &mut Criterion) {
    let image = photograph();
    let mut group = criterion.benchmark_group("resize 1920x1080");
    for (name, width, height, filter) in [
        ("398x224 bicubic", 398, 224, Filter::Bicubic),
        ("224x224 bicubic", 224, 224, Filter::Bicubic),
        ("336x336 bicubic", 336, 336, Filter::Bicubic),
        ("336x336 bilinear", 336, 336, Filter::Bilinear),
        ("336x336 lanczos", 336, 336, Filter::Lanczos3),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| resize(black_box(&image), width, height, filter))
        });
    }
    let window = Window { left: 87, top: 0, width: 224, height: 224 };
    group.bench_function("398x224, the middle", |bencher| {
        bencher.iter(|| resize_window(black_box(&image), 398, 224, window, Filter::Bicubic))
    });
    group.finish();
}

fn processing(criterion: &mut Criterion) {
    let image = photograph();
    let mut group = criterion.benchmark_group("process 1920x1080");
    for (name, config) in [
        ("CLIP", json!({"image_processor_type": "CLIPImageProcessor"})),
        (
            "LLaVA-NeXT",
            json!({"image_processor_type": "LlavaNextImageProcessor", "size": 336, "crop_size": 336}),
        ),
    ] {
        let processor = Processor::from_config(&config).unwrap_or_else(|error| panic!("{error}"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| processor.process(black_box(&image)).map(|pixels| pixels.values()))
        });
    }
    group.finish();
}

criterion_group!(benches, decoding, resizing, processing);
criterion_main!(benches);
