//! Passes that pause, and lose pictures on their way.

use nn::{Pixels, TextPass, TextTower, TowerOutputs, VisionPass, VisionTransformer};

use super::fixture::{self, Picture, bits};

fn outputs(layers: usize) -> TowerOutputs {
    TowerOutputs { embedding: true, ..TowerOutputs::hidden([0, layers, 1]) }
}

/// Every number that a pass hands out of a picture.
fn all(pass: &VisionPass, picture: usize) -> Vec<u32> {
    let hidden = (0..3).flat_map(|place| pass.hidden(picture, place)).copied();
    bits(&hidden.chain(pass.embedding(picture).iter().copied()).collect::<Vec<f32>>())
}

fn alone(tower: &VisionTransformer, picture: &Picture) -> Vec<u32> {
    let mut pass = tower.begin(&[picture.pixels()]).unwrap();
    assert!(tower.advance(&mut pass, &mut || true));
    all(&pass, 0)
}

#[test]
fn results_do_not_depend_on_pauses_or_on_the_pictures_beside() {
    for name in ["clip", "siglip", "dinov2", "dinov2-registers"] {
        let fixture = fixture::named(name);
        let tower = fixture.vision(outputs(fixture.vision_config().layers));
        // Enough for several pieces of a layer.
        let count =
            320 / fixture.pictures.iter().map(|picture| picture.height * picture.width / 64).max().unwrap();
        let pictures: Vec<&Picture> = fixture.pictures.iter().cycle().take(count.max(7)).collect();
        let pixels: Vec<Pixels<'_>> = pictures.iter().map(|picture| picture.pixels()).collect();
        let wanted: Vec<Vec<u32>> = pictures.iter().map(|picture| alone(&tower, picture)).collect();
        for every in [1, 2, 5, usize::MAX] {
            let mut pass = tower.begin(&pixels).unwrap();
            let (mut asked, mut pauses) = (0_usize, 0);
            while !tower.advance(&mut pass, &mut || {
                asked += 1;
                !asked.is_multiple_of(every)
            }) {
                assert!(pauses > 0 || pass.hidden(0, 0).is_empty());
                pauses += 1;
            }
            assert!(
                every == usize::MAX || pauses > 2 * fixture.vision_config().layers / every,
                "{pauses} pauses"
            );
            for (number, wanted) in wanted.iter().enumerate() {
                assert_eq!(&all(&pass, number), wanted, "{name}: picture {number}, a pause every {every}");
            }
        }
    }
}

#[test]
fn a_picture_may_leave_at_any_point() {
    let fixture = fixture::named("dinov2");
    let tower = fixture.vision(outputs(fixture.vision_config().layers));
    let pictures: Vec<&Picture> = fixture.pictures.iter().cycle().take(12).collect();
    let pixels: Vec<Pixels<'_>> = pictures.iter().map(|picture| picture.pixels()).collect();
    let wanted: Vec<Vec<u32>> = pictures.iter().map(|picture| alone(&tower, picture)).collect();
    for leaves in [0, 4, 11] {
        for pieces in 0.. {
            let mut pass = tower.begin(&pixels).unwrap();
            let mut left = pieces;
            let done = pieces > 0
                && tower.advance(&mut pass, &mut || {
                    left -= 1;
                    left > 0
                });
            pass.remove(leaves);
            while !tower.advance(&mut pass, &mut || false) {}
            assert_eq!(pass.pictures(), 11);
            let stayed = (0..12).filter(|number| *number != leaves);
            for (number, stayed) in stayed.enumerate() {
                assert_eq!(all(&pass, number), wanted[stayed], "picture {stayed} after {pieces} pieces");
            }
            if done {
                break;
            }
        }
    }
}

#[test]
fn a_pass_that_all_have_left_is_done() {
    let fixture = fixture::named("clip");
    let tower = fixture.vision(TowerOutputs::embedding());
    for pieces in 0..6 {
        let mut pass = tower.begin(&[fixture.pictures[0].pixels()]).unwrap();
        (0..pieces).for_each(|_| assert!(!tower.advance(&mut pass, &mut || false)));
        pass.remove(0);
        assert!(tower.advance(&mut pass, &mut || false));
        assert_eq!(pass.pictures(), 0);
    }
    assert!(tower.advance(&mut tower.begin(&[]).unwrap(), &mut || false));
}

fn text_bits(pass: &TextPass, text: usize) -> Vec<u32> {
    bits(&[pass.hidden(text, 0), pass.embedding(text)].concat())
}

fn text_alone(tower: &TextTower, text: &[u32]) -> Vec<u32> {
    let mut pass = tower.begin(&[text]).unwrap();
    assert!(tower.advance(&mut pass, &mut || true));
    text_bits(&pass, 0)
}

#[test]
fn texts_pause_and_leave_likewise() {
    for name in ["clip", "siglip"] {
        let fixture = fixture::named(name);
        let tower = fixture.text(TowerOutputs { embedding: true, ..TowerOutputs::hidden([1]) });
        let texts: Vec<&[u32]> = fixture.texts.iter().map(|text| &*text.tokens).collect();
        for pieces in 0..5 {
            let mut pass = tower.begin(&texts).unwrap();
            (0..pieces).for_each(|_| _ = tower.advance(&mut pass, &mut || false));
            pass.remove(1);
            while !tower.advance(&mut pass, &mut || false) {}
            assert_eq!(pass.texts(), texts.len() - 1);
            for (number, stayed) in (0..texts.len()).filter(|number| *number != 1).enumerate() {
                assert_eq!(text_bits(&pass, number), text_alone(&tower, texts[stayed]), "{name}: {stayed}");
            }
        }
    }
}

#[test]
fn towers_are_shared_between_threads_and_passes_move_between_them() {
    fn shared<T: Send + Sync>() {}
    fn moves<T: Send>() {}
    shared::<VisionTransformer>();
    shared::<TextTower>();
    moves::<VisionPass>();
    moves::<TextPass>();
}
