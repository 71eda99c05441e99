//! Against a plain reference in doubles, and against the distribution it says.

use proptest::prelude::*;

use super::random::uniform;
use super::sampler::{Sampler, Unsampled};
use super::{SamplingParams, logprobs};

/// The probabilities that a token is drawn with, by the definitions, in doubles, over the whole vocabulary.
fn reference(logits: &[f32], params: &SamplingParams, prompt: &[u32], answer: &[u32]) -> Vec<f64> {
    let mut logits: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    for token in 0..logits.len() as u32 {
        let logit = &mut logits[token as usize];
        let count = answer.iter().filter(|other| **other == token).count() as f64;
        let penalty = f64::from(params.repetition_penalty);
        if prompt.contains(&token) || count > 0.0 {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
        *logit -= f64::from(params.frequency_penalty) * count;
        *logit -= f64::from(params.presence_penalty) * f64::from(u8::from(count > 0.0));
        *logit += params
            .logit_bias
            .iter()
            .filter(|(of, _)| *of == token)
            .map(|(_, bias)| f64::from(*bias))
            .sum::<f64>();
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    let temperature = f64::from(params.temperature);
    if temperature == 0.0 {
        let mut only = vec![0.0; logits.len()];
        only[order[0]] = 1.0;
        return only;
    }
    order.truncate(params.top_k.unwrap_or(usize::MAX));
    let softmax = |order: &[usize]| -> Vec<f64> {
        let weights: Vec<f64> =
            order.iter().map(|at| ((logits[*at] - logits[order[0]]) / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect()
    };
    let mut sum = 0.0;
    let reaches = |p: &f64| {
        sum += p;
        sum >= f64::from(params.top_p)
    };
    let kept = softmax(&order).iter().position(reaches).map_or(order.len(), |last| last + 1);
    if params.top_p < 1.0 {
        order.truncate(kept);
    }
    let probabilities = softmax(&order);
    let kept = probabilities.iter().filter(|p| **p >= f64::from(params.min_p) * probabilities[0]).count();
    order.truncate(kept);
    let mut all = vec![0.0; logits.len()];
    for (at, p) in order.iter().zip(softmax(&order)) {
        all[*at] = p;
    }
    all
}

fn sampler(params: &SamplingParams, prompt: &[u32], answer: &[u32]) -> Sampler {
    let mut sampler = Sampler::new(params.clone(), prompt.iter().copied());
    answer.iter().for_each(|token| sampler.note(*token));
    sampler
}

fn params() -> impl Strategy<Value = SamplingParams> {
    let shape = (
        prop_oneof![Just(0.0_f32), 0.05..2.0_f32],
        prop::option::of(1..12_usize),
        0.05..=1.0_f32,
        0.0..0.6_f32,
    );
    let penalties =
        (0.5..2.0_f32, -2.0..2.0_f32, -2.0..2.0_f32, prop::collection::vec((0..12_u32, -5.0..5.0_f32), 0..3));
    (shape, penalties, any::<u64>()).prop_map(
        |((temperature, top_k, top_p, min_p), (repetition, frequency, presence, bias), seed)| {
            SamplingParams {
                temperature,
                top_k,
                top_p,
                min_p,
                repetition_penalty: repetition,
                frequency_penalty: frequency,
                presence_penalty: presence,
                logit_bias: bias,
                seed,
                logprobs: None,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_token_drawn_is_the_references(
        params in params(),
        logits in prop::collection::vec(-6.0..6.0_f32, 12),
        prompt in prop::collection::vec(0..12_u32, 0..6),
        answer in prop::collection::vec(0..12_u32, 0..6),
        position in 0..1000_usize,
        choice in 0..4_u32,
    ) {
        let probabilities = reference(&logits, &params, &prompt, &answer);
        let sampler = sampler(&params, &prompt, &answer);
        let mut row = logits.clone();
        sampler.penalise(&mut row);
        let token = sampler.draw(&row, position, choice, &mut Vec::new()).unwrap() as usize;
        // The draw as the reference has it, in the vocabulary's order.
        let drawn = uniform(params.seed, position as u64, choice);
        let upto: f64 = probabilities[..token].iter().sum();
        let margin = 1e-5;
        if params.temperature == 0.0 {
            let most = probabilities.iter().position(|p| *p == 1.0).unwrap();
            // Single precision may part two that are equal but for rounding.
            prop_assert!(token == most || (row[token] - row[most]).abs() < 1e-5);
        } else if probabilities[token] > 0.0 {
            prop_assert!(upto <= drawn + margin && drawn <= upto + probabilities[token] + margin,
                "{token} has {upto}..{} and {drawn} was drawn", upto + probabilities[token]);
        } else {
            // Only where the edge of what is kept hangs on rounding.
            let least = probabilities.iter().copied().filter(|p| *p > 0.0).fold(1.0, f64::min);
            prop_assert!(least < 1.0 || logits.len() == 1, "{token} is never drawn: {probabilities:?}");
            prop_assert!(is_at_an_edge(&logits, &params, &prompt, &answer, token), "{token} is never drawn");
        }
    }
}

/// Whether a hair's breadth in top-p, min-p or the logits would let a token in.
fn is_at_an_edge(
    logits: &[f32],
    params: &SamplingParams,
    prompt: &[u32],
    answer: &[u32],
    token: usize,
) -> bool {
    let mut wider = params.clone();
    wider.top_p = (params.top_p + 1e-5).min(1.0);
    wider.min_p = (params.min_p - 1e-5).max(0.0);
    let mut higher = logits.to_vec();
    higher[token] += 1e-4;
    reference(&higher, &wider, prompt, answer)[token] > 0.0
}

/// Chi-square over many positions: the statistic and its degrees of freedom.
fn chi_square(params: &SamplingParams, logits: &[f32], draws: usize) -> (f64, usize) {
    let sampler = sampler(params, &[], &[]);
    let expected = reference(logits, params, &[], &[]);
    let mut counts = vec![0_usize; logits.len()];
    let mut weights = Vec::new();
    for position in 0..draws {
        counts[sampler.draw(logits, position, 0, &mut weights).unwrap() as usize] += 1;
    }
    let mut statistic = 0.0;
    for (count, p) in counts.iter().zip(&expected) {
        assert!(*p > 0.0 || *count == 0, "a token was drawn that never should be");
        if *p > 0.0 {
            statistic += (*count as f64 - p * draws as f64).powi(2) / (p * draws as f64);
        }
    }
    (statistic, expected.iter().filter(|p| **p > 0.0).count() - 1)
}

#[test]
fn draws_follow_the_distribution() {
    let logits: Vec<f32> = (0..10).map(|at| (at as f32 * 0.37).sin() * 2.0).collect();
    let plain = SamplingParams::default();
    let cases = [
        SamplingParams { seed: 1, ..plain.clone() },
        SamplingParams { seed: 2, temperature: 0.5, ..plain.clone() },
        SamplingParams { seed: 3, temperature: 1.7, top_k: Some(6), ..plain.clone() },
        SamplingParams { seed: 4, top_p: 0.8, ..plain.clone() },
        SamplingParams { seed: 5, min_p: 0.2, ..plain.clone() },
        SamplingParams { seed: u64::MAX, temperature: 0.9, top_k: Some(8), top_p: 0.9, min_p: 0.1, ..plain },
    ];
    for params in cases {
        let (statistic, freedom) = chi_square(&params, &logits, 40_000);
        // Beyond mean plus four standard deviations about one time in ten thousand.
        let limit = freedom as f64 + 4.0 * (2.0 * freedom as f64).sqrt() + 4.0;
        assert!(statistic < limit, "{statistic} with {freedom} degrees of freedom: {params:?}");
    }
}

#[test]
fn neighbouring_positions_choices_and_seeds_are_independent() {
    let logits = [0.0_f32; 4];
    for apart in 0..3 {
        // Pairs of draws fall evenly into 16 cells.
        let mut cells = [0_usize; 16];
        for position in 0..16_000 {
            let draw = |seed, position, choice| {
                let params = SamplingParams { seed, ..SamplingParams::default() };
                sampler(&params, &[], &[]).draw(&logits, position, choice, &mut Vec::new()).unwrap() as usize
            };
            let other = match apart {
                0 => draw(7, position + 1, 0),
                1 => draw(7, position, 1),
                _ => draw(8, position, 0),
            };
            cells[draw(7, position, 0) * 4 + other] += 1;
        }
        let statistic: f64 = cells.iter().map(|count| (*count as f64 - 1000.0).powi(2) / 1000.0).sum();
        assert!(statistic < 15.0 + 4.0 * 30.0_f64.sqrt(), "{statistic}");
    }
}

#[test]
fn rows_that_nothing_can_be_drawn_from_are_told() {
    let sampler = sampler(&SamplingParams::default(), &[], &[]);
    let draw = |logits: &[f32]| sampler.draw(logits, 0, 0, &mut Vec::new());
    assert_eq!(draw(&[0.0, f32::NAN]), Err(Unsampled::NotANumber));
    assert_eq!(draw(&[0.0, f32::INFINITY]), Err(Unsampled::NotANumber));
    assert_eq!(draw(&[f32::NEG_INFINITY; 3]), Err(Unsampled::NothingAllowed));
    assert_eq!(draw(&[f32::NEG_INFINITY, 1.0]), Ok(1));
}

#[test]
fn a_draw_does_not_hang_on_what_was_drawn_before() {
    let params = SamplingParams { seed: 9, ..SamplingParams::default() };
    let sampler = sampler(&params, &[], &[]);
    let mut weights = Vec::new();
    // Rows of several lengths, one after another in the same working memory.
    for position in 0..300 {
        let logits: Vec<f32> = (0..2 + position * 7 % 40).map(|at| (at * position) as f32 % 5.0).collect();
        let fresh = sampler.draw(&logits, position, 0, &mut Vec::new());
        assert_eq!(sampler.draw(&logits, position, 0, &mut weights), fresh);
    }
}

#[test]
fn no_penalty_and_no_bias_makes_a_logit_infinite() {
    let logits = [f32::MAX, f32::MIN, 3e38, f32::NEG_INFINITY, 1.0];
    for (repetition_penalty, other) in [(0.01, -2.0), (100.0, 2.0), (1.0, -2.0), (1.0, 2.0)] {
        let bias = -50.0 * other;
        let params = SamplingParams {
            repetition_penalty,
            frequency_penalty: other,
            presence_penalty: other,
            logit_bias: (0..5).map(|token| (token, bias)).collect(),
            ..SamplingParams::default()
        };
        params.check(5).unwrap();
        let sampler = sampler(&params, &[0, 1, 2, 3, 4], &[0, 1, 2, 3, 3]);
        let mut row = logits;
        sampler.penalise(&mut row);
        for (token, (before, after)) in logits.iter().zip(&row).enumerate() {
            assert_eq!(before.is_finite(), after.is_finite(), "token {token} has {after}: {params:?}");
        }
        assert!(sampler.draw(&row, 0, 0, &mut Vec::new()).is_ok());
    }
}

#[test]
fn logarithms_are_the_models_own() {
    let logits = [1.0_f32, 3.0, 2.0, 3.0];
    let told = logprobs(&logits, 2, 3);
    let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    let expected = |logit: f32| (f64::from(logit) - total.ln()) as f32;
    assert!((told.own - expected(2.0)).abs() < 1e-6);
    assert_eq!(told.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 3, 2]);
    assert!(
        told.top.iter().all(|(token, logprob)| (logprob - expected(logits[*token as usize])).abs() < 1e-6)
    );
    assert!(logprobs(&logits, 0, 0).top.is_empty());
    assert_eq!(logprobs(&logits, 0, 20).top.len(), 4);
}

#[test]
fn what_is_out_of_range_is_refused_by_name() {
    let plain = SamplingParams::default;
    let cases = [
        (
            SamplingParams { temperature: -0.5, ..plain() },
            "temperature is -0.5; accepted: a number from 0 to 2",
        ),
        (SamplingParams { temperature: f32::NAN, ..plain() }, "temperature is NaN"),
        (SamplingParams { top_p: 0.0, ..plain() }, "top_p is 0; accepted: a number above 0, to 1"),
        (SamplingParams { top_k: Some(0), ..plain() }, "top_k is 0; accepted: at least 1"),
        (SamplingParams { min_p: 1.5, ..plain() }, "min_p is 1.5"),
        (
            SamplingParams { repetition_penalty: 1e-38, ..plain() },
            "repetition_penalty is 0.00000000000000000000000000000000000001; accepted: a number from 0.01 to 100",
        ),
        (SamplingParams { repetition_penalty: 101.0, ..plain() }, "repetition_penalty is 101"),
        (SamplingParams { repetition_penalty: f32::INFINITY, ..plain() }, "repetition_penalty is inf"),
        (
            SamplingParams { frequency_penalty: 3.0, ..plain() },
            "frequency_penalty is 3; accepted: a number from -2 to 2",
        ),
        (SamplingParams { presence_penalty: -3.0, ..plain() }, "presence_penalty is -3"),
        (
            SamplingParams { logprobs: Some(21), ..plain() },
            "top_logprobs is 21; accepted: a number from 0 to 20",
        ),
        (SamplingParams { logit_bias: vec![(3, 200.0)], ..plain() }, "logit_bias is 200"),
        (
            SamplingParams { logit_bias: vec![(30, 1.0)], ..plain() },
            "logit_bias is for token 30; accepted: token ids from 0 to 9",
        ),
    ];
    for (params, expected) in cases {
        let error = params.check(10).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
    assert!(plain().check(10).is_ok());
}
