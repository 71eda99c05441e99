//! What holds for any configuration that is read.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;

use super::*;

/// A configuration of a class with whatever it takes, and fields of the others, too.
fn any_config() -> impl Strategy<Value = Value> {
    let class = select(vec![
        "DDIMScheduler",
        "PNDMScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "LCMScheduler",
        "UniPCMultistepScheduler",
    ]);
    let training = (
        select(vec!["linear", "scaled_linear", "squaredcos_cap_v2"]),
        select(vec!["epsilon", "sample", "v_prediction"]),
        select(vec!["linspace", "leading", "trailing"]),
        select(vec![10usize, 97, 1000]),
        0usize..3,
        any::<bool>(),
    );
    let flags = proptest::collection::vec(any::<bool>(), 10);
    let solver = (
        1usize..=3,
        select(vec!["dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver"]),
        select(vec!["midpoint", "heun", "bh1", "bh2"]),
        select(vec!["zero", "sigma_min"]),
    );
    (class, training, flags, solver).prop_map(|(class, training, flags, solver)| {
        let (schedule, prediction, spacing, train, offset, zero_snr) = training;
        let (order, form, shape, last) = solver;
        json!({
            "_class_name": class,
            "beta_schedule": schedule,
            "beta_start": 0.001,
            "beta_end": 0.02,
            "prediction_type": prediction,
            "timestep_spacing": spacing,
            "num_train_timesteps": train,
            "steps_offset": offset,
            "rescale_betas_zero_snr": zero_snr,
            "clip_sample": flags[0],
            "thresholding": flags[1],
            "set_alpha_to_one": flags[2],
            "skip_prk_steps": flags[3],
            "use_karras_sigmas": flags[4],
            "lower_order_final": flags[5],
            "euler_at_final": flags[6],
            "predict_x0": flags[7],
            "disable_corrector": if flags[8] { vec![1, 2] } else { Vec::new() },
            "original_inference_steps": train / 2,
            "lambda_min_clipped": if flags[9] { json!(-1.0) } else { Value::Null },
            "solver_order": order,
            "algorithm_type": form,
            "solver_type": shape,
            "final_sigmas_type": last,
        })
    })
}

/// Takes all evaluations.
fn finish(mut scheduler: Scheduler, samples: usize) {
    let timesteps = scheduler.timesteps().to_vec();
    let mut sample: Vec<f32> =
        ramp(2.3, 8 * samples).iter().map(|number| number * scheduler.initial_sigma()).collect();
    let mut draws = 0;
    for (evaluation, timestep) in timesteps.iter().enumerate() {
        assert_eq!(scheduler.evaluated(), evaluation);
        let input = scheduler.scale_input(&sample);
        assert!(input.iter().all(|number| number.is_finite()));
        let output = model(&input, *timestep, evaluation);
        let drawn_before = draws;
        sample = scheduler.step(&output, &sample, samples, &mut |count| {
            draws += 1;
            assert_eq!(count, 8 * samples);
            ramp(0.7 + draws as f64, count)
        });
        assert!(draws <= drawn_before + 1);
        assert!(sample.iter().all(|number| number.is_finite()), "evaluation {evaluation}: {sample:?}");
    }
    assert_eq!(scheduler.step(&[0.0; 8], &[1.0; 8], 1, &mut no_noise), [1.0; 8]);
    assert_eq!(scheduler.evaluated(), timesteps.len());
}

/// How many evaluations a number of steps are.
fn evaluations(config: &Value, steps: usize) -> usize {
    match (config["_class_name"].as_str().unwrap(), config["skip_prk_steps"].as_bool().unwrap()) {
        ("PNDMScheduler", true) if steps > 1 => steps + 1,
        ("PNDMScheduler", false) => steps + 9,
        _ => steps,
    }
}

/// Trailing timesteps that are clipped are left out, all others are spread over what is left.
fn may_be(config: &Value, count: usize, wanted: usize) -> bool {
    let clipped = config["_class_name"] == "DPMSolverMultistepScheduler"
        && config["timestep_spacing"] == "trailing"
        && !config["lambda_min_clipped"].is_null();
    count == wanted || clipped && (1..wanted).contains(&count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_begins_ends_with_finite_numbers(
        document in any_config(),
        steps in 1usize..40,
        strength in 0.0f64..=1.0,
        samples in 1usize..3,
    ) {
        let Ok(config) = SchedulerConfig::from_diffusers(&document) else {
            // Refused as a whole, which `any_config` makes happen, not always.
            return Ok(());
        };
        if let Ok(scheduler) = Scheduler::new(&config, steps) {
            prop_assert!(may_be(&document, scheduler.timesteps().len(), evaluations(&document, steps)));
            finish(scheduler, samples);
        }
        if let Ok(scheduler) = Scheduler::with_strength(&config, steps, strength) {
            let taken = (steps as f64 * strength) as usize;
            let wanted = evaluations(&document, steps) - (steps - taken);
            prop_assert!(may_be(&document, scheduler.timesteps().len(), wanted));
            let noisy = scheduler.add_noise(&ramp(0.9, 8), &ramp(2.3, 8));
            prop_assert!(noisy.iter().all(|number| number.is_finite()));
            finish(scheduler, samples);
        }
    }

    #[test]
    fn timesteps_fall_within_the_training(document in any_config(), steps in 1usize..1200) {
        let Ok(config) = SchedulerConfig::from_diffusers(&document) else {
            return Ok(());
        };
        let Ok(scheduler) = Scheduler::new(&config, steps) else {
            return Ok(());
        };
        let train = document["num_train_timesteps"].as_u64().unwrap() as f32;
        let timesteps = scheduler.timesteps();
        prop_assert!(steps as f32 <= train);
        prop_assert!(timesteps.iter().all(|timestep| (0.0..train).contains(timestep)), "{timesteps:?}");
        let class = document["_class_name"].as_str().unwrap();
        // Karras' sigmas are dense at the end, where several are nearest to one timestep; PNDM visits some twice; and where the
        // end is a timestep of its own there is one more of them than the training has, or than are not clipped.
        let rounded = ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"].contains(&class)
            && (document["use_karras_sigmas"] == true
                || !document["lambda_min_clipped"].is_null()
                || steps as f32 == train);
        if class == "PNDMScheduler" || rounded {
            prop_assert!(timesteps.windows(2).all(|pair| pair[1] <= pair[0]), "{timesteps:?}");
        } else {
            prop_assert!(timesteps.windows(2).all(|pair| pair[1] < pair[0]), "{timesteps:?}");
        }
    }

    #[test]
    fn any_fields_are_read_or_refused(class in 0usize..7, name in "[a-z_]{1,30}", number in any::<f64>()) {
        // Nothing but that it returns, with one line.
        let classes = ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
            "DPMSolverMultistepScheduler", "LCMScheduler", "UniPCMultistepScheduler"];
        if let Err(error) = SchedulerConfig::from_diffusers(&config(classes[class], json!({name: number}))) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}

#[test]
fn most_configurations_are_taken() {
    // Else the properties above would say little.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let taken = (0..500).filter(|_| {
        let document = any_config().new_tree(&mut runner).unwrap().current();
        SchedulerConfig::from_diffusers(&document).is_ok_and(|config| Scheduler::new(&config, 10).is_ok())
    });
    let taken = taken.count();
    assert!(taken > 250, "{taken} of 500");
}
