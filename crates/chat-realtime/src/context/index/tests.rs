use std::time::SystemTime;

use proptest::prelude::*;

use super::super::content::Draft;
use super::super::files::Opened;
use super::*;

fn key(path: &str) -> Arc<Key> {
    Arc::new(Key { root: 0, path: path.into() })
}

/// A file's content whose passages are its lines, with these vectors.
fn content(path: &str, vectors: &[[f32; 3]]) -> (Fingerprint, Arc<Content>) {
    let text: String = (0..vectors.len()).map(|line| format!("{path} line {line:04}\n")).collect();
    let stamp = super::super::files::Stamp::of(&std::fs::metadata(".").unwrap());
    let opened = Opened { stamp, at: SystemTime::now(), bytes: Some(text.into_bytes()) };
    let mut draft = Draft::new(key(path), Ok(opened), None, path.len() + 12);
    for (line, vector) in vectors.iter().enumerate() {
        draft.set(line, vector.to_vec());
    }
    assert!(draft.missing().next().is_none());
    (draft.fingerprint, Arc::new(draft.into_content()))
}

fn roots() -> Arc<[Root]> {
    Arc::from([Root { path: "/srv/notes".into(), name: "notes".to_owned() }])
}

fn found(index: &Index, query: &[f32], most: usize) -> Vec<Passage> {
    let snapshot = index.snapshot(&roots());
    let mut best = Best::new(most);
    let mut from = 0;
    while from < snapshot.contents() {
        let slice = snapshot.slice(from, 100);
        assert!(slice.end > from, "a search gets on");
        from = slice.end;
        snapshot.search(slice, query, &mut best);
    }
    snapshot.passages(best)
}

#[tokio::test(start_paused = true)]
async fn what_no_file_says_is_not_found_and_is_known_for_a_while() {
    let mut index = Index::default();
    let (fingerprint, it) = content("a", &[[1.0, 0.0, 0.0]]);
    let (a, b, now) = (key("a"), key("b"), Instant::now());
    index.insert(fingerprint, &a, Arc::clone(&it));
    assert!(index.join(fingerprint, &b));
    assert_eq!((index.passages(), index.bytes()), (1, it.bytes()), "held once for both");
    index.release(fingerprint, &a, now);
    assert_eq!(found(&index, &[1.0, 0.0, 0.0], 5)[0].path, "notes/b");
    index.release(fingerprint, &b, now);
    assert!(found(&index, &[1.0, 0.0, 0.0], 5).is_empty());
    assert_eq!(
        (index.passages(), index.bytes(), index.next_forgotten()),
        (0, it.bytes(), Some(now + KEPT_FOR))
    );
    assert!(!index.forget(now + KEPT_FOR / 2));
    assert!(index.join(fingerprint, &a), "it came again");
    assert_eq!((index.passages(), index.bytes(), index.next_forgotten()), (1, it.bytes(), None));
    index.release(fingerprint, &a, now);
    assert!(index.forget(now + KEPT_FOR) && !index.join(fingerprint, &a));
    assert_eq!(index.bytes(), 0);
}

proptest! {
    #[test]
    fn the_best_are_found_in_order(
        files in proptest::collection::vec(proptest::collection::vec([-4_i8..4, -4..4, -4..4], 1..6), 1..12),
        query in [-4_i8..4, -4..4, -4..4],
        most in 1_usize..20,
    ) {
        let float = |vector: &[i8; 3]| vector.map(f32::from);
        let query = float(&query);
        let mut index = Index::default();
        let mut all = Vec::new();
        for (number, vectors) in files.iter().enumerate() {
            let path = format!("{number:02}");
            let vectors: Vec<_> = vectors.iter().map(float).collect();
            for (line, vector) in vectors.iter().enumerate() {
                let score = query.iter().zip(vector).map(|(a, b)| a * b).sum::<f32>() + 0.0;
                all.push((score, path.clone(), line as u32 + 1));
            }
            let (fingerprint, content) = content(&path, &vectors);
            index.insert(fingerprint, &key(&path), content);
        }
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (&a.1, a.2).cmp(&(&b.1, b.2))));
        let expected: Vec<_> =
            all.into_iter().take(most).map(|(_, path, line)| (format!("notes/{path}"), (line, line))).collect();
        let found: Vec<_> =
            found(&index, &query, most).into_iter().map(|passage| (passage.path, passage.lines)).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn long_vectors_are_multiplied_to_their_ends() {
    let (a, b): (Vec<f32>, Vec<f32>) = (0..19).map(|number| (number as f32, 1.0 - number as f32)).unzip();
    let plain: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
    assert_eq!(dot(&a, &b), plain, "small whole numbers add up exactly in any order");
}
