//! Passes that pause, and samples beside each other.

use nn::{Unet, UnetInput, UnetPass};

use super::fixture::{self, bits, pass};

#[test]
fn results_do_not_depend_on_pauses() {
    for fixture in fixture::all() {
        let unet = fixture.unet();
        let input = fixture.samples[0].input();
        let wanted = bits(pass(&unet, &[input]).output(0));
        for every in [1, 2, 7] {
            let mut pass = unet.begin(&[input]).unwrap();
            let (mut asked, mut pauses) = (0_usize, 0);
            while !unet.advance(&mut pass, &mut || {
                asked += 1;
                !asked.is_multiple_of(every)
            }) {
                assert!(pass.output(0).is_empty());
                pauses += 1;
            }
            assert!(pauses > 20 / every, "{}: {pauses} pauses", fixture.name);
            assert_eq!(bits(pass.output(0)), wanted, "{}: a pause every {every}", fixture.name);
            // What is done stays so.
            assert!(unet.advance(&mut pass, &mut || false));
            assert_eq!(bits(pass.output(0)), wanted);
        }
    }
}

#[test]
fn results_do_not_depend_on_the_samples_beside() {
    for fixture in fixture::all() {
        let unet = fixture.unet();
        let first = &fixture.samples[0];
        // Each with a timestep of its own, a context of its own length, and what else there is of the fixture's samples.
        let inputs: Vec<UnetInput<'_>> = (0..5)
            .map(|number| {
                let other = fixture.samples[number % fixture.samples.len()].input();
                let width = fixture.config().context_size;
                let tokens = first.context.len() / width;
                let timestep = 900.0 - 200.5 * number as f32;
                let context = &first.context[..(tokens - number.min(tokens - 1)) * width];
                UnetInput { timestep, context, added: other.added, guidance: other.guidance, ..first.input() }
            })
            .collect();
        let together = pass(&unet, &inputs);
        assert_eq!(together.samples(), inputs.len());
        for (number, input) in inputs.iter().enumerate() {
            let alone = bits(pass(&unet, &[*input]).output(0));
            assert_eq!(bits(together.output(number)), alone, "{}: sample {number}", fixture.name);
            let next = bits(together.output((number + 1) % inputs.len()));
            assert_ne!(alone, next, "{}: sample {number}", fixture.name);
        }
    }
}

#[test]
fn a_pass_of_nothing_is_done() {
    let unet = fixture::named("headless").unet();
    let mut pass = unet.begin(&[]).unwrap();
    assert!(unet.advance(&mut pass, &mut || false));
    assert_eq!(pass.samples(), 0);
    assert!(pass.output(0).is_empty());
}

#[test]
fn unets_are_shared_between_threads_and_passes_move_between_them() {
    fn shared<T: Send + Sync>() {}
    fn moves<T: Send>() {}
    shared::<Unet>();
    moves::<UnetPass>();
}
