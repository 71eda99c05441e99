//! Downloading: progress, cuts, resumption, damage, several at once.

use super::*;

#[tokio::test]
async fn a_first_download_tells_its_progress_and_a_second_asks_nobody() {
    let (server, _cache, options) = hub(repo()).await;
    let heard = Heard::default();
    let files = resolve_with("hf:owner/name", &options, &heard).await.unwrap();
    let expected =
        ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json", "tokenizer.json"];
    assert_eq!(files.names().collect::<Vec<_>>(), expected);
    assert_eq!(files.revision(), COMMIT);
    assert_eq!(Weights::open(&files).unwrap().total_bytes(), 1_200_000);

    let planned = heard.planned.lock().unwrap().clone();
    let total: u64 = expected.iter().map(|name| files.get(name).unwrap().size()).sum();
    assert_eq!((planned.iter().map(|p| p.0).sum::<usize>(), planned.iter().map(|p| p.1).sum()), (5, total));
    let mut finished = heard.finished.lock().unwrap().clone();
    finished.sort();
    assert_eq!(finished, expected);
    let received = heard.received.lock().unwrap()["model.safetensors"].clone();
    let size = weights().len() as u64;
    assert!(received.len() > 2 && received.is_sorted() && received.iter().all(|(_, total)| *total == size));
    assert_eq!(received.last(), Some(&(size, size)));

    // One list and one request a file, since the list says sizes and hashes; the large one twice, as it is redirected.
    let seen = server.take_seen();
    assert_eq!(seen.len(), 1 + 5 + 1, "{seen:#?}");
    assert!(seen.iter().all(|request| request.method == Method::GET && request.range.is_none()));

    let again = Heard::default();
    let second = resolve_with("hf:owner/name", &options, &again).await.unwrap();
    assert_eq!(second.names().collect::<Vec<_>>(), expected);
    assert!(server.take_seen().is_empty());
    assert!(again.planned.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_mirror_that_lists_names_only_is_asked_for_each_file() {
    let (server, _cache, options) = hub(repo()).await;
    server.list_names_only();
    let files = resolve("hf:owner/name", &options).await.unwrap();
    assert_eq!(Weights::open(&files).unwrap().total_bytes(), 1_200_000);
    assert_eq!(server.take_seen().iter().filter(|request| request.method == Method::HEAD).count(), 5);
    // The hash of a large file is that of its content, not of the redirection.
    assert!(blobs(&options).join(etag("model.safetensors", &weights())).exists());
}

#[tokio::test]
async fn a_download_cut_off_goes_on_where_it_stopped() {
    let (server, _cache, options) = hub(repo()).await;
    server.fail("model.safetensors", [Fault::Cut(400_000), Fault::Cut(400_000), Fault::Cut(0)]);
    let files = resolve("hf:owner/name", &options).await.unwrap();
    assert_eq!(Weights::open(&files).unwrap().total_bytes(), 1_200_000);
    let ranges: Vec<_> = server.take_seen().into_iter().filter(|r| r.at_store).map(|r| r.range).collect();
    let range = |from: usize| Some(format!("bytes={from}-"));
    assert_eq!(ranges, [None, range(400_000), range(800_000), range(800_000)]);
    assert!(!incomplete(&options).exists());
}

#[tokio::test]
async fn a_later_run_resumes_and_nothing_half_written_is_loaded() {
    let (server, _cache, mut options) = hub(repo()).await;
    options.retries = 0;
    server.fail("model.safetensors", [Fault::Cut(500_000)]);
    let size = weights().len();
    let error = refusal("hf:owner/name", &options).await;
    assert!(
        error.starts_with(&format!(
            "the download of model.safetensors from owner/name stopped at 500000 of {size} bytes: "
        )) && error.ends_with("; run it again to resume"),
        "{error}"
    );
    assert_eq!(std::fs::metadata(incomplete(&options)).unwrap().len(), 500_000);
    let pointer = options.cache.join("models--owner--name/snapshots").join(COMMIT).join("model.safetensors");
    assert!(!pointer.exists());

    let mut offline = options.clone();
    offline.offline = true;
    let error = refusal("hf:owner/name", &offline).await;
    assert!(
        error.starts_with("HF_HUB_OFFLINE is set and owner/name at revision main is not in the cache"),
        "{error}"
    );

    server.take_seen();
    let heard = Heard::default();
    let files = resolve_with("hf:owner/name", &options, &heard).await.unwrap();
    assert_eq!(std::fs::read(&pointer).unwrap(), weights());
    assert_eq!(Weights::open(&files).unwrap().total_bytes(), 1_200_000);
    let seen = server.take_seen();
    let asked: Vec<_> = seen.iter().filter(|request| request.at_store).map(|r| r.range.as_deref()).collect();
    assert_eq!(asked, [Some("bytes=500000-")]);
    assert_eq!(heard.received.lock().unwrap()["model.safetensors"][0], (500_000, size as u64));
}

#[tokio::test]
async fn a_part_that_does_not_fit_is_thrown_away() {
    for (fault, part) in [
        // A hub that ignores ranges, a part of another file, a part longer than the file.
        (Some(Fault::IgnoreRange), weights()[..1000].to_vec()),
        (None, vec![7; 1000]),
        (None, vec![7; weights().len() + 5]),
        (None, vec![7; weights().len()]),
    ] {
        let (server, _cache, options) = hub(repo()).await;
        std::fs::create_dir_all(blobs(&options)).unwrap();
        std::fs::write(incomplete(&options), &part).unwrap();
        server.fail("model.safetensors", fault);
        let files = resolve("hf:owner/name", &options).await.unwrap();
        let path = options.cache.join("models--owner--name/snapshots").join(COMMIT).join("model.safetensors");
        assert_eq!(std::fs::read(path).unwrap(), weights());
        assert!(files.weight_bytes() > 0 && !incomplete(&options).exists());
    }
}

#[tokio::test]
async fn damaged_bytes_are_thrown_away_and_told() {
    let (server, _cache, mut options) = hub(repo()).await;
    options.retries = 0;
    server.fail("model.safetensors", [Fault::Damage]);
    let error = refusal("hf:owner/name", &options).await;
    assert!(
        error
            .starts_with("the download of model.safetensors from owner/name is damaged: its SHA-256 is not "),
        "{error}"
    );
    assert!(!incomplete(&options).exists());
    assert!(!blobs(&options).join(etag("model.safetensors", &weights())).exists());
    resolve("hf:owner/name", &options).await.unwrap();
}

#[tokio::test]
async fn two_that_want_the_same_model_download_it_once() {
    let (server, _cache, options) = hub(repo()).await;
    server.fail("model.safetensors", [Fault::Slow(Duration::from_millis(400))]);
    let heard = [Heard::default(), Heard::default(), Heard::default()];
    let (a, b, c) = tokio::join!(
        resolve_with("hf:owner/name", &options, &heard[0]),
        resolve_with("hf:owner/name", &options, &heard[1]),
        resolve_with("hf:owner/name", &options, &heard[2]),
    );
    for files in [a, b, c] {
        assert_eq!(Weights::open(&files.unwrap()).unwrap().total_bytes(), 1_200_000);
    }
    assert_eq!(server.take_seen().iter().filter(|request| request.at_store).count(), 1);
    let waited = heard.iter().filter(|h| h.waiting.lock().unwrap().contains(&"model.safetensors".to_owned()));
    assert_eq!(waited.count(), 2);
}

#[tokio::test]
async fn a_download_given_up_half_way_leaves_what_came() {
    let (server, _cache, options) = hub(repo()).await;
    server.fail("model.safetensors", [Fault::Slow(Duration::from_secs(60))]);
    let given_up = tokio::time::timeout(Duration::from_millis(500), resolve("hf:owner/name", &options)).await;
    assert!(given_up.is_err());
    // The lock went with it.
    let files = resolve("hf:owner/name", &options).await.unwrap();
    assert_eq!(Weights::open(&files).unwrap().total_bytes(), 1_200_000);
}

#[tokio::test]
async fn resolving_may_be_spawned() {
    let (_server, _cache, options) = hub(repo()).await;
    let task = tokio::spawn(async move { resolve("hf:owner/name", &options).await });
    assert_eq!(task.await.unwrap().unwrap().revision(), COMMIT);
}
