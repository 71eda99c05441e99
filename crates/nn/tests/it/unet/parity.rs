//! The same numbers as diffusers, from the same checkpoints.

use nn::{Unet, UnetConfig, UnetMiddle, guidance_embedding};

use super::fixture::{self, Sample, pass, store};

#[test]
fn every_layout_has_a_fixture_and_each_is_measured_well_enough() {
    let names: Vec<String> = fixture::all().into_iter().map(|fixture| fixture.name).collect();
    assert_eq!(names, ["headless", "inpainting", "lcm", "sd1", "sd2", "sdxl", "uneven"]);
    for fixture in fixture::all() {
        assert!(fixture.noise < fixture.tolerance / 10.0, "{}: noise {}", fixture.name, fixture.noise);
    }
}

#[test]
fn a_configuration_without_the_defaults_means_the_same() {
    for fixture in fixture::all() {
        let sparse = UnetConfig::from_diffusers(&fixture.config_sparse).unwrap();
        assert_eq!(fixture.config(), sparse, "{}", fixture.name);
    }
}

/// The worst pixel, a vector of its channels.
fn apart(got: &[f32], sample: &Sample) -> f64 {
    let pixels = sample.height * sample.width;
    assert_eq!(got.len(), sample.output.len() * pixels);
    let pixel = |place: usize| {
        let got: Vec<f32> = got.iter().skip(place).step_by(pixels).copied().collect();
        let wanted: Vec<f32> = sample.output.iter().map(|plane| plane[place]).collect();
        crate::fixture::relative(&got, &wanted)
    };
    (0..pixels).map(pixel).fold(0.0, f64::max)
}

#[test]
fn samples_become_what_diffusers_makes_of_them() {
    for fixture in fixture::all() {
        let unet = fixture.unet();
        for sample in &fixture.samples {
            let pass = pass(&unet, &[sample.input()]);
            let apart = apart(pass.output(0), sample);
            assert!(
                apart <= fixture.tolerance,
                "{}: {}x{} at {}: {apart:.1e} apart",
                fixture.name,
                sample.width,
                sample.height,
                sample.timestep
            );
        }
    }
}

#[test]
fn a_guidance_scale_is_embedded_as_diffusers_does() {
    let fixture = fixture::named("lcm");
    let scales: Vec<(f32, &Vec<f32>)> = fixture
        .samples
        .iter()
        .filter_map(|sample| Some((sample.scale?, sample.guidance.as_ref()?)))
        .collect();
    assert_eq!(scales.len(), 2);
    for (scale, wanted) in scales {
        let got = guidance_embedding(scale, fixture.config().guidance_size.unwrap());
        assert!(crate::fixture::relative(&got, wanted) < 1e-5, "{got:?}, not {wanted:?}");
    }
}

#[test]
fn parameters_are_counted() {
    for fixture in fixture::all() {
        let stored: usize = fixture.tensors().values().map(|tensor| tensor.elem_count()).sum();
        assert_eq!(fixture.config().parameters(), stored as u64, "{}", fixture.name);
    }
}

#[test]
fn the_configuration_of_stable_diffusion_1_is_all_defaults_but_one() {
    let config = UnetConfig::from_diffusers(
        &serde_json::json!({"_class_name": "UNet2DConditionModel", "cross_attention_dim": 768}),
    );
    let config = config.unwrap();
    assert_eq!(config.parameters(), 859_520_964);
    assert_eq!(config.middle, UnetMiddle::Transformer { layers: 1 });
    assert_eq!((config.time_size, config.halvings()), (1280, 3));
    let attending: Vec<bool> = config.levels.iter().map(|level| !level.up_layers.is_empty()).collect();
    assert_eq!(attending, [true, true, true, false]);
}

#[test]
fn maps_of_one_pixel_may_be_stored_as_matrices_and_the_other_way_round() {
    for name in ["sd1", "sd2"] {
        let fixture = fixture::named(name);
        let mut tensors = fixture.tensors();
        let mut turned = 0;
        for (name, tensor) in &mut tensors {
            if name.ends_with("proj_in.weight") || name.ends_with("proj_out.weight") {
                let (outputs, inputs) = (tensor.dims()[0], tensor.dims()[1]);
                *tensor = match tensor.rank() {
                    2 => tensor.reshape((outputs, inputs, 1, 1)).unwrap(),
                    _ => tensor.reshape((outputs, inputs)).unwrap(),
                };
                turned += 1;
            }
        }
        assert!(turned > 4);
        let unet = Unet::load(fixture.config(), &store(tensors)).unwrap();
        let sample = &fixture.samples[0];
        assert!(apart(pass(&unet, &[sample.input()]).output(0), sample) <= fixture.tolerance);
    }
}
