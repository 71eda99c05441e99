//! The same trajectories as diffusers, within the fixtures' tolerance of each sample's norm (`tests/fixtures/README.md`).

use serde::Deserialize;

use super::*;
use crate::noise::Generator;

#[derive(Deserialize)]
struct Fixture {
    tolerance: f64,
    seed: u64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    config: Value,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    steps: usize,
    strength: Option<f64>,
    shortened: Option<f64>,
    timesteps: Vec<f32>,
    initial_sigma: f32,
    first: Vec<f32>,
    samples: Vec<Vec<f32>>,
    renoised: Option<Vec<f32>>,
}

/// Pictures in each run.
const SAMPLES: usize = 2;

/// The distance of two samples beside the wanted one's norm, the worst picture's.
fn apart(got: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let length = wanted.len() / SAMPLES;
    let picture = |(got, wanted): (&[f32], &[f32])| {
        let sum = |numbers: &mut dyn Iterator<Item = f64>| {
            numbers.map(|number| number * number).sum::<f64>().sqrt()
        };
        let difference = sum(&mut got.iter().zip(wanted).map(|(a, b)| f64::from(*a) - f64::from(*b)));
        difference / sum(&mut wanted.iter().map(|number| f64::from(*number)))
    };
    let worst = got.chunks(length).zip(wanted.chunks(length)).map(picture).fold(0.0, |worst, apart| {
        // Not `max`, which passes over what is no number.
        if apart <= worst { worst } else { apart }
    });
    assert!(!worst.is_nan());
    worst
}

fn begun(config: &SchedulerConfig, run: &Run) -> Scheduler {
    match (run.strength, run.shortened) {
        (Some(strength), _) => Scheduler::with_strength(config, run.steps, strength),
        (None, Some(strength)) => Scheduler::with_shortened(config, run.steps, strength),
        (None, None) => Scheduler::new(config, run.steps),
    }
    .unwrap()
}

/// The worst distance of one run, from the first sample to the last.
fn follow(config: &SchedulerConfig, run: &Run, seed: u64, place: &str) -> f64 {
    let mut scheduler = begun(config, run);
    let timesteps = scheduler.timesteps().to_vec();
    let near = |(got, wanted): (&f32, &f32)| (got - wanted).abs() <= 1e-5 * wanted.abs().max(1.0);
    assert_eq!(timesteps.len(), run.timesteps.len(), "{place}");
    assert!(timesteps.iter().zip(&run.timesteps).all(near), "{place}: {timesteps:?} for {:?}", run.timesteps);
    assert!(near((&scheduler.initial_sigma(), &run.initial_sigma)), "{place}");
    let (picture, noise) = (ramp(0.9, run.first.len()), ramp(2.3, run.first.len()));
    let mut sample: Vec<f32> = if run.strength.is_some() || run.shortened.is_some() {
        scheduler.add_noise(&picture, &noise)
    } else {
        noise.iter().map(|number| number * scheduler.initial_sigma()).collect()
    };
    let mut worst = apart(&sample, &run.first);
    let mut generator = Generator::new(seed);
    let dtype = scheduler.noise_dtype(NoiseDtype::F32);
    for (evaluation, wanted) in run.samples.iter().enumerate() {
        assert_eq!(scheduler.evaluated(), evaluation);
        let output = model(&scheduler.scale_input(&sample), timesteps[evaluation], evaluation);
        sample = scheduler.step(&output, &sample, SAMPLES, &mut |count| generator.normal(count, dtype));
        worst = worst.max(apart(&sample, wanted));
    }
    assert_eq!(scheduler.evaluated(), timesteps.len());
    if let Some(wanted) = &run.renoised {
        worst = worst.max(apart(&scheduler.add_noise_at(1, &picture, &noise), wanted));
    }
    worst
}

fn check(class: &str, algorithm: &str, cases: usize) {
    let path = format!("{}/tests/fixtures/schedulers/{class}.json", env!("CARGO_MANIFEST_DIR"));
    let fixture: Fixture = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!((fixture.cases.len(), fixture.tolerance), (cases, 1e-4));
    let mut told = Vec::new();
    for case in &fixture.cases {
        let config =
            SchedulerConfig::from_diffusers(&case.config).unwrap().with_algorithm(algorithm).unwrap();
        for run in &case.runs {
            let place = format!("{class} {}, {} steps", case.name, run.steps);
            let apart = follow(&config, run, fixture.seed, &place);
            if apart > fixture.tolerance {
                told.push(format!("{place}: {apart:.1e} apart"));
            }
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn ddim() {
    check("DDIMScheduler", "ddim", 11);
}

#[test]
fn pndm() {
    check("PNDMScheduler", "pndm", 8);
}

#[test]
fn euler() {
    check("EulerDiscreteScheduler", "euler", 14);
}

#[test]
fn euler_ancestral() {
    check("EulerAncestralDiscreteScheduler", "euler_a", 7);
}

#[test]
fn dpm() {
    check("DPMSolverMultistepScheduler", "dpm++2m", 24);
}

#[test]
fn lcm() {
    check("LCMScheduler", "lcm", 6);
}

#[test]
fn unipc() {
    check("UniPCMultistepScheduler", "unipc", 17);
}

#[test]
fn pndm_evaluates_more_often_than_it_steps() {
    let evaluations = |more, steps| {
        let config = SchedulerConfig::from_diffusers(&config("PNDMScheduler", more)).unwrap();
        Scheduler::new(&config, steps).unwrap().timesteps().len()
    };
    assert_eq!([1, 2, 25].map(|steps| evaluations(json!({"skip_prk_steps": true}), steps)), [1, 3, 26]);
    assert_eq!([4, 25].map(|steps| evaluations(json!({}), steps)), [13, 34]);
}

#[test]
fn trailing_steps_are_as_many_as_asked_for() {
    // Of 1000 timesteps, numpy's `arange` gives one too many for 62 numbers of steps; diffusers evaluates timestep -1 then.
    for steps in [61, 103, 457] {
        let fields = json!({"timestep_spacing": "trailing"});
        let config = SchedulerConfig::from_diffusers(&config("EulerDiscreteScheduler", fields)).unwrap();
        let scheduler = Scheduler::new(&config, steps).unwrap();
        assert_eq!(scheduler.timesteps().len(), steps);
        assert!(scheduler.timesteps()[steps - 1] >= 0.0);
    }
}

#[test]
fn stochastic_solvers_draw_in_f32_whatever_the_checkpoint_has() {
    let dtype = |class, more| {
        let config = SchedulerConfig::from_diffusers(&config(class, more)).unwrap();
        Scheduler::new(&config, 4).unwrap().noise_dtype(NoiseDtype::F16)
    };
    let stochastic = json!({"algorithm_type": "sde-dpmsolver++"});
    assert_eq!(dtype("DPMSolverMultistepScheduler", stochastic), NoiseDtype::F32);
    assert_eq!(dtype("DPMSolverMultistepScheduler", json!({})), NoiseDtype::F16);
    assert_eq!(dtype("EulerAncestralDiscreteScheduler", json!({})), NoiseDtype::F16);
}

#[test]
fn each_picture_is_bounded_by_itself() {
    let config = config("DDIMScheduler", json!({"thresholding": true, "sample_max_value": 1000.0}));
    let config = SchedulerConfig::from_diffusers(&config).unwrap();
    let step = |sample: &[f32], samples| {
        let mut scheduler = Scheduler::new(&config, 10).unwrap();
        scheduler.step(&model(sample, 1.0, 0), sample, samples, &mut no_noise)
    };
    let quiet: Vec<f32> = ramp(0.9, 8).iter().map(|number| number / 50.0).collect();
    let loud: Vec<f32> = quiet.iter().map(|number| number * 500.0).collect();
    let both = [quiet.clone(), loud].concat();
    // The model's output goes by place, so only the first picture's can be told from a run of its own.
    assert_eq!(step(&both, 2)[..8], step(&quiet, 1)[..]);
    assert_ne!(step(&both, 1)[..8], step(&quiet, 1)[..]);
}
