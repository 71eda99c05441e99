//! Passes that pause.

use nn::{Vae, VaePass};

use super::fixture::{self, Sample, begin, bits, computed};

fn with_pauses(vae: &Vae, way: &str, sample: &Sample, every: usize) -> (VaePass, usize) {
    let mut pass = begin(vae, way, sample).unwrap();
    let (mut asked, mut pauses) = (0_usize, 0);
    while !vae.advance(&mut pass, &mut || {
        asked += 1;
        !asked.is_multiple_of(every)
    }) {
        assert!(pass.output().is_empty() && !pass.is_done());
        pauses += 1;
    }
    (pass, pauses)
}

#[test]
fn results_do_not_depend_on_pauses() {
    let fixture = fixture::named("three-blocks");
    let vae = fixture.vae();
    for (way, sample) in fixture.samples() {
        let wanted = bits(computed(&vae, way, sample).output());
        for every in [1, 3] {
            let (mut pass, pauses) = with_pauses(&vae, way, sample, every);
            assert!(pauses >= 24 / every, "{way}: {pauses} pauses");
            assert_eq!(bits(pass.output()), wanted, "{way}, a pause every {every}");
            // A pass that is done stays so, and nobody is asked.
            assert!(vae.advance(&mut pass, &mut || panic!("asked")));
            assert_eq!(bits(pass.output()), wanted);
        }
    }
}

#[test]
fn a_large_picture_pauses_within_a_convolution() {
    let fixture = fixture::named("without");
    let vae = fixture.vae();
    let (height, width) = (1280, 2048);
    let sample =
        Sample { given: vec![0.25; 6 * height * width / 4], height: height / 2, width: width / 2, ..empty() };
    let small = Sample { given: vec![0.25; 6 * 16], height: 4, width: 4, ..empty() };
    let (_, few) = with_pauses(&vae, "decode", &small, 1);
    let (pass, pauses) = with_pauses(&vae, "decode", &sample, 1);
    assert!(pauses > few, "{pauses} pauses, {few} of a small picture");
    assert_eq!(pass.size(), (height, width));
    assert!(pass.output().iter().all(|number| number.is_finite()));
    assert_eq!(bits(pass.output()), bits(computed(&vae, "decode", &sample).output()));
}

fn empty() -> Sample {
    Sample { height: 0, width: 0, given: Vec::new(), output_height: 0, output_width: 0, output: Vec::new() }
}

#[test]
fn autoencoders_are_shared_between_threads_and_passes_move_between_them() {
    fn shared<T: Send + Sync>() {}
    fn moves<T: Send>() {}
    shared::<Vae>();
    moves::<VaePass>();
}
