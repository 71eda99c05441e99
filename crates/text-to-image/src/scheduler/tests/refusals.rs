//! What is refused, and by which words.

use super::*;

fn read(class: &str, more: Value) -> Result<SchedulerConfig, String> {
    SchedulerConfig::from_diffusers(&config(class, more)).map_err(|error| error.to_string())
}

fn refusal(class: &str, more: Value) -> String {
    let message = read(class, more).unwrap_err();
    assert!(!message.contains('\n'), "{message}");
    message
}

const CLASSES: [&str; 7] = [
    "DDIMScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "LCMScheduler",
    "UniPCMultistepScheduler",
];

#[test]
fn other_classes_are_refused_by_name() {
    assert_eq!(
        refusal("HeunDiscreteScheduler", json!({})),
        "scheduler _class_name \"HeunDiscreteScheduler\" is not supported: DDIMScheduler, PNDMScheduler, \
         EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, DPMSolverMultistepScheduler, LCMScheduler, \
         UniPCMultistepScheduler"
    );
    let nameless = SchedulerConfig::from_diffusers(&json!({})).unwrap_err().to_string();
    assert!(nameless.starts_with("scheduler _class_name null is not supported"), "{nameless}");
    let list = SchedulerConfig::from_diffusers(&json!([1])).unwrap_err().to_string();
    assert_eq!(list, "the scheduler's configuration is [1], it must be an object");
    let other = read("DDIMScheduler", json!({})).unwrap().with_algorithm("heun").unwrap_err().to_string();
    assert_eq!(other, "scheduler \"heun\" is not supported: ddim, pndm, euler, euler_a, dpm++2m, lcm, unipc");
}

#[test]
fn what_changes_steps_and_is_not_obeyed_is_refused_by_name() {
    let dpm = "DPMSolverMultistepScheduler";
    let unipc = "UniPCMultistepScheduler";
    let euler = "EulerDiscreteScheduler";
    let cases = [
        (euler, json!({"interpolation_type": "log_linear"})),
        (euler, json!({"timestep_type": "continuous", "prediction_type": "v_prediction"})),
        (euler, json!({"use_exponential_sigmas": true})),
        (euler, json!({"use_beta_sigmas": true})),
        (euler, json!({"final_sigmas_type": "sigma_max"})),
        (dpm, json!({"use_exponential_sigmas": true})),
        (dpm, json!({"use_beta_sigmas": true})),
        (dpm, json!({"use_lu_lambdas": true})),
        (dpm, json!({"use_flow_sigmas": true})),
        (dpm, json!({"use_dynamic_shifting": true})),
        (dpm, json!({"variance_type": "learned_range"})),
        (dpm, json!({"prediction_type": "flow_prediction"})),
        (dpm, json!({"algorithm_type": "dpmsolver3"})),
        (dpm, json!({"solver_type": "trapezoid"})),
        (dpm, json!({"sigma_min": 0.1, "use_karras_sigmas": true})),
        (unipc, json!({"use_exponential_sigmas": true})),
        (unipc, json!({"use_beta_sigmas": true})),
        (unipc, json!({"use_flow_sigmas": true})),
        (unipc, json!({"use_dynamic_shifting": true})),
        (unipc, json!({"shift_terminal": 0.1})),
        (unipc, json!({"solver_p": {"_class_name": "DDIMScheduler"}})),
        (unipc, json!({"solver_type": "bh3"})),
        ("PNDMScheduler", json!({"prediction_type": "sample"})),
        ("EulerAncestralDiscreteScheduler", json!({"prediction_type": "sample"})),
    ];
    for (class, fields) in cases {
        let message = refusal(class, fields.clone());
        let (name, rest) = message.split_once(' ').unwrap();
        assert!(fields.get(name).is_some() && rest.contains(" is not supported: "), "{class}: {message}");
    }
    for class in CLASSES {
        for (name, value) in [
            ("beta_schedule", json!("sigmoid")),
            ("prediction_type", json!("score")),
            ("noise_offset", json!(0.1)),
            ("prediction_type", json!(1)),
        ] {
            let message = refusal(class, json!({name: value}));
            assert!(message.starts_with(&format!("{name} {value} is not supported: ")), "{class}: {message}");
        }
        if class != "LCMScheduler" {
            let message = refusal(class, json!({"timestep_spacing": "karras"}));
            assert!(
                message.starts_with("timestep_spacing \"karras\" is not supported: "),
                "{class}: {message}"
            );
        }
    }
}

#[test]
fn what_is_switched_off_or_of_another_class_is_passed_over() {
    let nothing = json!({
        "_diffusers_version": "0.42.1",
        "noise_offset": null,
        "use_beta_sigmas": false,
        "use_flow_sigmas": false,
        "use_lu_lambdas": null,
        "flow_shift": 1.0,
        "time_shift_type": "exponential",
        "variance_type": "fixed_small",
        "skip_prk_steps": true,
        "original_inference_steps": 50,
        "solver_p": null,
        "disable_corrector": [],
        "trained_betas": null,
    });
    for class in CLASSES {
        read(class, nothing.clone()).unwrap();
    }
}

#[test]
fn fields_of_the_wrong_kind_are_told() {
    let cases = [
        (json!({"beta_end": "0.1"}), "beta_end is \"0.1\", it must be a number"),
        (json!({"num_train_timesteps": 1}), "num_train_timesteps is 1, it must be 2 to 100000"),
        (
            json!({"num_train_timesteps": 1e12}),
            "num_train_timesteps is 1000000000000.0, it must be a whole number",
        ),
        (json!({"steps_offset": -1}), "steps_offset is -1, it must be a whole number"),
        (json!({"solver_order": 4}), "solver_order is 4, it must be 1 to 3"),
        (json!({"thresholding": 1}), "thresholding is 1, it must be true or false"),
        (json!({"sample_max_value": 0.0}), "sample_max_value is 0, it must be above 0"),
        (
            json!({"thresholding": true, "dynamic_thresholding_ratio": 1.5}),
            "dynamic_thresholding_ratio is 1.5, it must be 0 to 1",
        ),
        (json!({"trained_betas": [0.1]}), "trained_betas are 1, num_train_timesteps says 1000"),
        (json!({"trained_betas": 0.1}), "trained_betas is 0.1, it must be a list of numbers"),
        (json!({"lambda_min_clipped": "low"}), "lambda_min_clipped is \"low\", it must be a number"),
    ];
    for (fields, wanted) in cases {
        assert_eq!(refusal("DPMSolverMultistepScheduler", fields), wanted);
    }
    let message = refusal("UniPCMultistepScheduler", json!({"disable_corrector": [-1]}));
    assert_eq!(message, "disable_corrector is [-1], it must be a list of whole numbers");
    let message = refusal("DDIMScheduler", json!({"clip_sample_range": -1.0}));
    assert_eq!(message, "clip_sample_range is -1, it must be above 0");
}

#[test]
fn betas_by_which_a_picture_does_not_fade_are_refused() {
    for fields in [
        json!({"beta_start": 0.0, "beta_end": 0.0}),
        json!({"beta_start": -0.1}),
        json!({"beta_schedule": "linear", "beta_end": 1.5}),
        json!({"beta_schedule": "linear", "beta_start": 0.9, "beta_end": 0.9}),
        json!({"num_train_timesteps": 2, "trained_betas": [0.1, 0.0]}),
        json!({"num_train_timesteps": 2, "trained_betas": [0.1, 1.0]}),
    ] {
        for class in CLASSES {
            let message = refusal(class, fields.clone());
            assert!(message.starts_with("these betas (beta_schedule, beta_start "), "{class}: {message}");
        }
    }
}

fn begin(class: &str, more: Value, steps: usize) -> String {
    let message = Scheduler::new(&read(class, more).unwrap(), steps).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn numbers_of_steps_that_cannot_be_are_refused_with_the_number() {
    for class in CLASSES {
        assert_eq!(begin(class, json!({}), 0), "steps is 0, this model takes 1 to 1000");
        assert_eq!(begin(class, json!({}), 1001), "steps is 1001, this model takes 1 to 1000");
        assert!(begin(class, json!({}), usize::MAX).starts_with("steps is 18446744073709551615"));
    }
    assert_eq!(
        begin("LCMScheduler", json!({}), 51),
        "51 steps are more than the 50 (original_inference_steps 50 times strength 1) that this model was distilled into; \
         ask for fewer"
    );
    assert_eq!(
        begin("PNDMScheduler", json!({}), 3),
        "3 steps are too few for PNDM with skip_prk_steps false, it takes at least 4"
    );
    assert_eq!(
        begin("DDIMScheduler", json!({"steps_offset": 1}), 1000),
        "1000 steps with steps_offset 1 begin at timestep 1000, the model was trained on 0 to 999; ask for fewer steps"
    );
}

#[test]
fn strengths_that_cannot_be_are_refused() {
    let ddim = read("DDIMScheduler", json!({})).unwrap();
    let refused = |steps, strength| Scheduler::with_strength(&ddim, steps, strength).unwrap_err().to_string();
    assert_eq!(refused(10, 1.5), "strength is 1.5, it must be 0 to 1");
    assert_eq!(refused(10, f64::NAN), "strength is NaN, it must be 0 to 1");
    assert_eq!(refused(10, 0.05), "strength 0.05 of 10 steps is less than one step; ask for more of either");
    assert_eq!(refused(0, 0.5), "steps is 0, this model takes 1 to 1000");
    let shortened = |name, strength| {
        let config = ddim.with_algorithm(name).unwrap();
        Scheduler::with_shortened(&config, 4, strength).unwrap_err().to_string()
    };
    assert_eq!(shortened("lcm", -0.1), "strength is -0.1, it must be 0 to 1");
    assert!(shortened("lcm", 0.06).starts_with("4 steps are more than the 3 "));
    assert_eq!(
        shortened("euler", 0.5),
        "4 steps within 0.5 of the original ones are asked for, and only the scheduler lcm has original steps"
    );
}

#[test]
fn steps_that_would_divide_by_nothing_are_refused() {
    // Diffusers makes infinities or NaN of all of these.
    let karras = json!({
        "use_karras_sigmas": true,
        "final_sigmas_type": "sigma_min",
        "lower_order_final": false,
        "solver_order": 3,
    });
    let cases = [
        ("DDIMScheduler", json!({"rescale_betas_zero_snr": true, "timestep_spacing": "trailing"}), 4, 1),
        ("LCMScheduler", json!({"rescale_betas_zero_snr": true}), 4, 1),
        ("DPMSolverMultistepScheduler", json!({}), 1000, 1),
        ("UniPCMultistepScheduler", karras, 20, 20),
        ("UniPCMultistepScheduler", json!({"lower_order_final": false}), 20, 20),
        ("UniPCMultistepScheduler", json!({"predict_x0": false}), 20, 20),
    ];
    for (class, fields, steps, place) in cases {
        let wanted = format!("with {steps} steps this scheduler has no finite step ");
        let message = begin(class, fields.clone(), steps);
        assert!(message.starts_with(&wanted), "{class} {fields}: {message}");
        if place > 1 {
            assert!(message.starts_with(&format!("{wanted}{place}:")), "{class} {fields}: {message}");
        }
    }
    for form in ["dpmsolver", "sde-dpmsolver"] {
        let message = refusal("DPMSolverMultistepScheduler", json!({"algorithm_type": form}));
        assert!(message.starts_with("final_sigmas_type \"zero\" with algorithm_type dpmsolver"), "{message}");
    }
}

#[test]
fn what_python_writes_for_infinity_is_read() {
    let text = r#"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "_note": "a \"-Infinity"}"#;
    SchedulerConfig::from_json(text).unwrap();
    let other = r#"{"_class_name": "DPMSolverMultistepScheduler", "beta_end": -Infinity}"#;
    let message = SchedulerConfig::from_json(other).unwrap_err().to_string();
    assert_eq!(message, "beta_end is \"-Infinity\", it must be a number");
    let message = SchedulerConfig::from_json("{").unwrap_err().to_string();
    assert!(message.starts_with("the scheduler's configuration is no JSON: "), "{message}");
}

#[test]
fn old_configurations_of_stable_diffusion_are_corrected() {
    let old = read("DDIMScheduler", json!({})).unwrap();
    let corrected = old.corrected_for_stable_diffusion(false).unwrap();
    let first = |config: &SchedulerConfig| Scheduler::new(config, 4).unwrap().timesteps()[0];
    assert_eq!((first(&old), first(&corrected)), (750.0, 751.0));
    let large = |config: &SchedulerConfig| {
        let mut scheduler = Scheduler::new(config, 4).unwrap();
        scheduler.step(&[0.0; 4], &[5.0; 4], 1, &mut no_noise)[0]
    };
    // Cut to 1, or not.
    assert!(large(&old) < 1.0 && large(&corrected) > 5.0, "{} {}", large(&old), large(&corrected));
    let pndm = read("PNDMScheduler", json!({})).unwrap();
    let count = |inpainting| {
        let config = pndm.corrected_for_stable_diffusion(inpainting).unwrap();
        Scheduler::new(&config, 10).unwrap().timesteps().len()
    };
    assert_eq!((count(false), count(true)), (19, 11));
    let other = pndm.corrected_for_stable_diffusion(true).unwrap().with_algorithm("ddim").unwrap();
    assert_eq!((first(&other), other.name()), (751.0, "ddim"));
}
