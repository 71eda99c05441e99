//! With `deterministic`, a sequence's logits are the same to the last bit whatever is computed beside it.

use nn::{Decoder, Precision, Rows};

use crate::fixture;
use crate::sequence::{Sequence, Shelf, at_once, bits};

const PRECISION: Precision = Precision { activations: nn::Activations::Quantised, deterministic: true };

#[test]
fn alone_in_chunks_and_in_a_batch_all_bits_are_the_same() {
    for fixture in fixture::all() {
        let decoder = fixture.decoder(PRECISION);
        assert_same_bits(&fixture.name, &decoder, &fixture.tokens);
    }
}

/// That a text's logits do not depend on how it is computed.
pub(crate) fn assert_same_bits(name: &str, decoder: &Decoder, tokens: &[u32]) {
    let wanted = bits(&at_once(decoder, tokens));
    for size in [1, 7] {
        assert!(bits(&in_chunks(decoder, tokens, size)) == wanted, "{name}: other bits in chunks of {size}");
    }
    assert!(bits(&among_others(decoder, tokens)) == wanted, "{name}: other bits in a batch");
}

fn in_chunks(decoder: &Decoder, tokens: &[u32], size: usize) -> Vec<f32> {
    let mut shelf = Shelf::new(decoder, 4, 64);
    let mut sequence = shelf.sequence(tokens.len());
    tokens.chunks(size).flat_map(|chunk| shelf.feed(&mut sequence, chunk, Rows::All)).collect()
}

/// In chunks of varying length, beside one sequence that decodes and one that is prefilled.
fn among_others(decoder: &Decoder, tokens: &[u32]) -> Vec<f32> {
    let mut shelf = Shelf::new(decoder, 4, 64);
    let vocabulary = decoder.config().vocab_size as u32;
    let mut decoding = shelf.sequence(40);
    let mut prefilled = shelf.sequence(80);
    let mut sequence = shelf.sequence(tokens.len());
    let (mut logits, mut rest) = (Vec::new(), tokens);
    for size in [3, 1, 9, 2, 5].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        logits.extend(step(&mut shelf, &mut decoding, &mut prefilled, &mut sequence, chunk, vocabulary));
    }
    logits
}

fn step(
    shelf: &mut Shelf<'_>,
    decoding: &mut Sequence,
    prefilled: &mut Sequence,
    sequence: &mut Sequence,
    chunk: &[u32],
    vocabulary: u32,
) -> Vec<f32> {
    let token = [(decoding.length as u32 * 7 + 1) % vocabulary];
    let prompt: Vec<u32> = (0..6).map(|n| (prefilled.length as u32 * 5 + n) % vocabulary).collect();
    let width = vocabulary as usize;
    let parts = &mut [
        (decoding, &token[..], Rows::Last),
        (sequence, chunk, Rows::All),
        (prefilled, &prompt[..], Rows::None),
    ];
    shelf.step(parts)[width..].to_vec()
}
