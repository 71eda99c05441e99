//! DINOv2-small with trained weights (`cargo xtask models`): what is alike is near.

use std::io::Write;
use std::path::{Path, PathBuf};

use image_embedding::{EncodedImage, ImageEmbedding};

/// A trained model, if it has been fetched. Where `CANDLEPOOL_REQUIRE_MODELS` is 1 it must have been.
fn trained(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let folder = target.join("models").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var("CANDLEPOOL_REQUIRE_MODELS").is_ok_and(|value| value == "1");
    assert!(!required, "{} is not there; run cargo xtask models", folder.display());
    // Not eprintln: the test harness would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {name} is not there; run cargo xtask models");
    None
}

/// The edge of a scene, and of the crops of it.
const SCENE: usize = 360;
const CROP: usize = 260;
/// Scenes there are: twelve kinds, each twice.
const SCENES: usize = 24;

/// A number from 0 to 1 for a place of a grid.
fn hash(x: f64, y: f64, seed: usize) -> f64 {
    let mixed = (x as i64).wrapping_mul(374_761_393).wrapping_add((y as i64).wrapping_mul(668_265_263));
    let mixed = mixed.wrapping_add((seed as i64).wrapping_mul(1_442_695_041)) & 0xffff_ffff;
    let mixed = (mixed ^ (mixed >> 13)).wrapping_mul(1_274_126_177) & 0xffff_ffff;
    ((mixed ^ (mixed >> 16)) & 0xffff) as f64 / 65536.0
}

/// Smooth noise: the numbers of a grid, and what is between them.
fn noise(x: f64, y: f64, seed: usize) -> f64 {
    let (left, top) = (x.floor(), y.floor());
    let smooth = |rest: f64| rest * rest * (3.0 - 2.0 * rest);
    let (right, down) = (smooth(x - left), smooth(y - top));
    let row = |y: f64| hash(left, y, seed) * (1.0 - right) + hash(left + 1.0, y, seed) * right;
    row(top) * (1.0 - down) + row(top + 1.0) * down
}

/// Clouds: noise of five sizes.
fn clouds(x: f64, y: f64, scene: usize) -> f64 {
    let sizes = [(80, 0.5), (40, 0.25), (20, 0.13), (10, 0.07), (5, 0.05)];
    sizes
        .iter()
        .map(|(size, share)| {
            share * noise(x / f64::from(*size), y / f64::from(*size), scene + *size as usize)
        })
        .sum()
}

/// How far the nearest of points is that are strewn over a grid.
fn cells(x: f64, y: f64, scene: usize) -> f64 {
    let around = [-1.0, 0.0, 1.0];
    let places = around.iter().flat_map(|right| around.iter().map(move |down| (right, down)));
    let distance = |(right, down): (&f64, &f64)| {
        let (left, top) = ((x / 40.0).floor() + right, (y / 40.0).floor() + down);
        (x / 40.0 - left - hash(left, top, scene)).hypot(y / 40.0 - top - hash(left, top, scene + 99))
    };
    places.map(distance).fold(f64::INFINITY, f64::min)
}

/// How much of the second colour there is at a place of a scene: stripes, squares, dots, rings, bricks, clouds, cells, writing,
/// marble, triangles, reeds, weave.
fn share(kind: usize, x: f64, y: f64, scene: usize) -> f64 {
    let cloud = clouds(x, y, scene);
    let one = |is: bool| f64::from(u8::from(is));
    match kind {
        0 => one(((x + y * 0.6) / 7.0).sin() > 0.0),
        1 => ((x / 24.0).floor() + (y / 24.0).floor()) % 2.0,
        2 => one((x % 36.0 - 18.0).hypot(y % 36.0 - 18.0) < 11.0),
        3 => one(((x % 120.0 - 60.0).hypot(y % 120.0 - 60.0) / 3.5).sin() > 0.0),
        4 => one(y % 22.0 >= 3.0 && (x + 22.0 * ((y / 22.0).floor() % 2.0)) % 44.0 >= 3.0),
        5 => cloud,
        6 => cells(x, y, scene),
        7 => one(hash((x / 9.0).floor(), (y / 14.0).floor(), scene) < 0.45 && y % 42.0 < 30.0),
        8 => one((x / 30.0 + 6.0 * cloud).sin().abs() < 0.15),
        9 => one(x % 40.0 + y % 40.0 < 40.0),
        10 => {
            let stem = one((x % 50.0 - 25.0 + 28.0 * (cloud - 0.5)).abs() < 5.0);
            (stem + 0.5 * one(noise(x / 3.0, y / 3.0, scene) > 0.8)).min(1.0)
        }
        _ => one((x / 5.0).sin() * (y / 5.0).sin() > 0.1 && cloud > 0.45),
    }
}

/// A scene, row by row.
fn scene(scene: usize) -> Vec<[f64; 3]> {
    let zoom = if scene < SCENES / 2 { 1.0 } else { 2.1 };
    let colour = |turn: f64, level: f64| {
        let swing = if level > 128.0 { 255.0 - level } else { level };
        [0.0, 1.0, 2.0].map(|n| {
            let hue = scene as f64 * 0.381_966 + turn + n / 3.0;
            level + swing * (std::f64::consts::TAU * hue).cos()
        })
    };
    let (dark, light) = (colour(0.0, 70.0), colour(0.45, 185.0));
    let pixel = |place: usize| {
        let (x, y) = ((place % SCENE) as f64 / zoom, (place / SCENE) as f64 / zoom);
        let share = share(scene % (SCENES / 2), x, y, scene);
        let shade = 0.7 + 0.6 * clouds(x, y, scene);
        std::array::from_fn(|n| ((dark[n] * (1.0 - share) + light[n] * share) * shade).clamp(0.0, 255.0))
    };
    (0..SCENE * SCENE).map(pixel).collect()
}

/// A part of a scene as a BMP file.
fn crop(scene: &[[f64; 3]], left: usize, top: usize) -> EncodedImage {
    let size = 3 * CROP * CROP;
    let mut bytes = b"BM".to_vec();
    let numbers = [
        54 + size as u32,
        0,
        54,
        40,
        CROP as u32,
        CROP as u32,
        1 | 24 << 16,
        0,
        size as u32,
        2835,
        2835,
        0,
        0,
    ];
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    // The lowest row first, blue first; a row is a multiple of four bytes.
    for y in (top..top + CROP).rev() {
        for pixel in &scene[y * SCENE + left..][..CROP] {
            bytes.extend([pixel[2], pixel[1], pixel[0]].map(|level| level as u8));
        }
    }
    EncodedImage::new(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_crops_of_one_scene_are_nearer_than_two_scenes() {
    let Some(folder) = trained("dinov2-small") else {
        return;
    };
    let pool = ImageEmbedding::load(folder).await.unwrap();
    let crops: Vec<EncodedImage> = (0..SCENES)
        .flat_map(|number| {
            let scene = scene(number);
            [crop(&scene, 0, 20), crop(&scene, SCENE - CROP, 60)]
        })
        .collect();
    let vectors = pool.embed_all(&crops).wait(true).await.unwrap();
    let cosine =
        |a: usize, b: usize| -> f32 { vectors[a].iter().zip(vectors[b].iter()).map(|(a, b)| a * b).sum() };
    let mut told_apart = 0;
    for one in (0..vectors.len()).step_by(2) {
        let own = cosine(one, one + 1);
        let others = |crop: usize| {
            let of_others = (0..vectors.len()).filter(move |other| other / 2 != crop / 2);
            of_others.map(|other| cosine(crop, other)).collect::<Vec<f32>>()
        };
        let all = [others(one), others(one + 1)].concat();
        let mean = all.iter().sum::<f32>() / all.len() as f32;
        assert!(own > mean, "scene {}: {own} between its crops, {mean} to others on average", one / 2);
        // Nearer than to the nearest crop of any other scene.
        told_apart += usize::from(all.iter().all(|other| own > *other));
    }
    assert!(told_apart >= 20, "{told_apart} of {SCENES} scenes are told apart");
}
