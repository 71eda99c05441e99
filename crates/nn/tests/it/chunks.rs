//! What a step is given: chunks of sequences, their blocks, embeddings among the tokens.

use candle_core::{DType, Device, Tensor};
use nn::{Decoder, KvCache, NnError, Precision, Rows, SequenceChunk, Span};

use crate::fixture::{self, relative};
use crate::sequence::{Shelf, at_once};

fn decoder(name: &str) -> Decoder {
    fixture::named(name).decoder(Precision::default())
}

#[test]
fn logits_come_for_the_rows_that_were_asked_for_in_the_order_of_the_chunks() {
    let fixture = fixture::named("llama3");
    let decoder = fixture.decoder(Precision::default());
    let wanted = at_once(&decoder, &fixture.tokens);
    let width = decoder.config().vocab_size;
    let mut shelf = Shelf::new(&decoder, 4, 64);
    let mut sequences = [shelf.sequence(20), shelf.sequence(20), shelf.sequence(20)];
    let [first, second, third] = &mut sequences;
    let tokens = &fixture.tokens;
    let logits = shelf.step(&mut [
        (first, &tokens[..9], Rows::Last),
        (second, &tokens[..5], Rows::None),
        (third, &tokens[..3], Rows::All),
    ]);
    let rows: Vec<&[f32]> = logits.chunks_exact(width).collect();
    assert_eq!(rows.len(), 4);
    for (row, position) in rows.iter().zip([8, 0, 1, 2]) {
        let apart = relative(row, &wanted[position * width..][..width]);
        assert!(apart < 1e-5, "position {position}: {apart:.1e} apart");
    }
    assert!(shelf.step(&mut []).is_empty());
}

#[test]
fn two_sequences_share_the_blocks_of_a_prefix_and_part_by_a_copy() {
    for name in ["llama3", "gemma2"] {
        let fixture = fixture::named(name);
        let decoder = fixture.decoder(Precision::default());
        let (prefix, rest) = fixture.tokens.split_at(10);
        let mut shelf = Shelf::new(&decoder, 4, 64);
        let mut first = shelf.sequence(30);
        let mut second = shelf.sequence(30);
        shelf.feed(&mut first, prefix, Rows::None);
        // Two full blocks are shared; the third is half full, and each needs one of its own.
        for group in 0..first.tables.len() {
            let (from, to) = (first.tables[group][2], second.tables[group][2]);
            second.tables[group][..2].copy_from_slice(&first.tables[group][..2]);
            shelf.cache.copy_block(group, from, to).unwrap();
        }
        second.length = prefix.len();
        let other: Vec<u32> = rest.iter().take(8).map(|token| (token + 1) % 67).collect();
        let logits = shelf.step(&mut [(&mut first, &rest[..8], Rows::All), (&mut second, &other, Rows::All)]);
        let width = decoder.config().vocab_size;
        for (logits, continuation) in logits.chunks_exact(8 * width).zip([&rest[..8], &other]) {
            let alone = at_once(&decoder, &[prefix, continuation].concat());
            let apart = relative(logits, &alone[prefix.len() * width..]);
            assert!(apart < 1e-5, "{name}: {apart:.1e} apart");
        }
    }
}

#[test]
fn blocks_before_the_window_are_never_looked_at() {
    // Mistral's fixture has a window of 9 in all layers.
    let fixture = fixture::named("mistral");
    let decoder = fixture.decoder(Precision::default());
    let wanted = at_once(&decoder, &fixture.tokens);
    let width = decoder.config().vocab_size;
    let mut shelf = Shelf::new(&decoder, 4, 64);
    let mut sequence = shelf.sequence(fixture.tokens.len());
    for (position, token) in fixture.tokens.iter().enumerate() {
        let first_visible = shelf.cache.layout().groups[0].first_visible(position);
        for entry in &mut sequence.tables[0][..first_visible / 4] {
            *entry = u32::MAX;
        }
        let logits = shelf.feed(&mut sequence, &[*token], Rows::Last);
        let apart = relative(&logits, &wanted[position * width..][..width]);
        assert!(apart < 1e-5, "position {position}: {apart:.1e} apart");
    }
    assert!(sequence.tables[0][..6].iter().all(|entry| *entry == u32::MAX));
}

#[test]
fn embeddings_stand_in_for_tokens() {
    let fixture = fixture::named("qwen3");
    let decoder = fixture.decoder(Precision::default());
    let tokens = &fixture.tokens[..12];
    let table = &fixture.tensors()["model.embed_tokens.weight"];
    let middle = table.index_select(&Tensor::new(&tokens[4..9], &Device::Cpu).unwrap(), 0).unwrap();
    let inputs = [Span::Tokens(&tokens[..4]), Span::Embeddings(&middle), Span::Tokens(&tokens[9..])];
    let mut cache = KvCache::new(&decoder.config().cache_layout(4), &[3]).unwrap();
    let chunk = SequenceChunk { inputs: &inputs, start: 0, tables: &[&[2, 0, 1]], logits: Rows::All };
    assert_eq!(chunk.tokens(), 12);
    assert_eq!(decoder.forward(&[chunk], &mut cache).unwrap(), at_once(&decoder, tokens));
}

#[test]
fn given_embeddings_are_not_scaled() {
    let fixture = fixture::named("gemma2");
    let decoder = fixture.decoder(Precision::default());
    let tokens = &fixture.tokens[..5];
    let table = &fixture.tensors()["model.embed_tokens.weight"];
    let rows = table.index_select(&Tensor::new(tokens, &Device::Cpu).unwrap(), 0).unwrap();
    let scaled = (rows * f64::from(decoder.config().embedding_scale)).unwrap();
    let mut cache = KvCache::new(&decoder.config().cache_layout(16), &[1, 1]).unwrap();
    let inputs = [Span::Embeddings(&scaled)];
    let chunk = SequenceChunk { inputs: &inputs, start: 0, tables: &[&[0], &[0]], logits: Rows::All };
    let apart = relative(&decoder.forward(&[chunk], &mut cache).unwrap(), &at_once(&decoder, tokens));
    assert!(apart < 1e-5, "{apart:.1e} apart");
}

/// A chunk of the token 1 with one of its parts changed.
fn chunk<'a>(inputs: &'a [Span<'a>], start: usize, tables: &'a [&'a [u32]]) -> SequenceChunk<'a> {
    SequenceChunk { inputs, start, tables, logits: Rows::Last }
}

#[test]
fn chunks_that_do_not_fit_are_refused_in_one_line_before_anything_is_written() {
    let decoder = decoder("llama3");
    let mut cache = KvCache::new(&decoder.config().cache_layout(4), &[3]).unwrap();
    let wide = Tensor::zeros((2, 35), DType::F32, &Device::Cpu).unwrap();
    let half = Tensor::zeros((2, 36), DType::F16, &Device::Cpu).unwrap();
    let one = [Span::Tokens(&[1])];
    let (wide, half) = ([Span::Embeddings(&wide)], [Span::Embeddings(&half)]);
    let cases: [(Vec<SequenceChunk<'_>>, &str); 11] = [
        (vec![chunk(&[], 0, &[&[0]])], "chunk 0: it has no inputs"),
        (vec![chunk(&[Span::Tokens(&[])], 0, &[&[0]])], "chunk 0: it has no inputs"),
        (
            vec![chunk(&[Span::Tokens(&[66, 67])], 0, &[&[0]])],
            "chunk 0: token 67 is outside the vocabulary of 67",
        ),
        (vec![chunk(&one, 192, &[&[0]])], "chunk 0: it ends at position 193, the model's context is 192"),
        (
            vec![chunk(&one, usize::MAX, &[&[0]])],
            "chunk 0: it ends at position 18446744073709551615, the model's context is 192",
        ),
        (vec![chunk(&one, 0, &[&[0], &[1]])], "chunk 0: 2 block tables for 1 groups"),
        (vec![chunk(&one, 4, &[&[0]])], "chunk 0: 1 blocks in group 0, 5 positions fill 2"),
        (
            vec![chunk(&one, 0, &[&[0]]), chunk(&one, 5, &[&[3, 1]])],
            "chunk 1: there is no block 3 in group 0, it has 3",
        ),
        (
            vec![chunk(&one, 0, &[&[2]]), chunk(&one, 4, &[&[0, 2]])],
            "chunk 1: block 2 of group 0 would be written twice in one step",
        ),
        (vec![chunk(&wide, 0, &[&[0]])], "chunk 0: embeddings of the shape [2, 35], rows of 36 fit"),
        (vec![chunk(&half, 0, &[&[0]])], "chunk 0: embeddings must be f32 on the CPU"),
    ];
    for (chunks, wanted) in cases {
        let error = decoder.forward(&chunks, &mut cache).unwrap_err();
        assert!(matches!(error, NnError::InvalidCall(_)));
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn the_cache_of_another_model_is_refused() {
    let decoder = decoder("llama3");
    let other = fixture::named("gemma2").decoder(Precision::default());
    let mut cache = KvCache::new(&other.config().cache_layout(4), &[3, 3]).unwrap();
    let error = decoder.forward(&[chunk(&[Span::Tokens(&[1])], 0, &[&[0], &[0]])], &mut cache).unwrap_err();
    assert_eq!(error.to_string(), "the cache was laid out for another model");
}
