//! The cache: its layout, offline, and news.

use super::*;

#[tokio::test]
async fn the_cache_has_the_layout_that_python_shares() {
    let (_server, _cache, options) = hub(repo()).await;
    resolve("hf:owner/name", &options).await.unwrap();
    let top = options.cache.join("models--owner--name");
    assert_eq!(std::fs::read_to_string(top.join("refs/main")).unwrap(), COMMIT);
    let hash = etag("model.safetensors", &weights());
    let pointer = top.join("snapshots").join(COMMIT).join("model.safetensors");
    if cfg!(unix) {
        assert_eq!(std::fs::read_link(&pointer).unwrap(), Path::new("../../blobs").join(&hash));
        let nested = top.join("snapshots").join(COMMIT).join("1_Pooling/config.json");
        assert!(std::fs::read_link(&nested).unwrap().starts_with("../../../blobs"));
    }
    assert_eq!(std::fs::read(&pointer).unwrap(), weights());
    assert!(options.cache.join(format!(".locks/models--owner--name/{hash}.lock")).exists());
    verify_blob(&pointer).unwrap();
    std::fs::write(top.join("blobs").join(&hash), b"damaged").unwrap();
    let error = verify_blob(&pointer).unwrap_err().to_string();
    assert!(error.contains("is damaged: its SHA-256 is "), "{error}");
}

#[tokio::test]
async fn a_blob_of_the_wrong_size_is_downloaded_again() {
    let (server, _cache, options) = hub(repo()).await;
    resolve("hf:owner/name", &options).await.unwrap();
    server.take_seen();
    let blob = blobs(&options).join(etag("model.safetensors", &weights()));
    std::fs::write(&blob, &weights()[..1000]).unwrap();
    let mut offline = options.clone();
    offline.offline = true;
    let error = refusal("hf:owner/name", &offline).await;
    assert!(error.starts_with("HF_HUB_OFFLINE is set and model.safetensors of owner/name is not"), "{error}");
    let files = resolve("hf:owner/name", &options).await.unwrap();
    assert_eq!(Weights::open(&files).unwrap().total_bytes(), 1_200_000);
    assert_eq!(server.take_seen().iter().filter(|request| request.at_store).count(), 1);
}

#[tokio::test]
async fn offline_uses_the_cache_or_says_what_is_missing() {
    let (server, _cache, mut options) = hub(repo()).await;
    options.offline = true;
    let error = refusal("hf:owner/name", &options).await;
    assert_eq!(
        error,
        format!(
            "HF_HUB_OFFLINE is set and owner/name at revision main is not in the cache at {}; unset it to download",
            options.cache.display()
        )
    );
    options.offline = false;
    resolve("hf:owner/name", &options).await.unwrap();
    server.take_seen();
    options.offline = true;
    let files = resolve("hf:owner/name", &options).await.unwrap();
    assert_eq!(Weights::open(&files).unwrap().total_bytes(), 1_200_000);
    assert!(server.take_seen().is_empty());
    // Without the list of files, as after a download by other programs.
    std::fs::remove_dir_all(options.cache.join("models--owner--name/.candlepool")).unwrap();
    resolve("hf:owner/name", &options).await.unwrap();
    let pointer = options.cache.join("models--owner--name/snapshots").join(COMMIT).join("model.safetensors");
    std::fs::remove_file(pointer).unwrap();
    let error = refusal("hf:owner/name", &options).await;
    assert!(error.starts_with("hf:owner/name has no weights"), "{error}");
    assert!(server.take_seen().is_empty());
}

#[tokio::test]
async fn a_cache_whose_list_is_unknown_is_completed_from_the_hub() {
    let (server, _cache, options) = hub(repo()).await;
    resolve("hf:owner/name", &options).await.unwrap();
    let top = options.cache.join("models--owner--name");
    std::fs::remove_dir_all(top.join(".candlepool")).unwrap();
    std::fs::remove_file(top.join("snapshots").join(COMMIT).join("tokenizer.json")).unwrap();
    server.take_seen();
    resolve("hf:owner/name", &options).await.unwrap().tokenizer().unwrap();
    // The list; the blob of the tokenizer was there and only had to be linked.
    assert_eq!(server.take_seen().len(), 1);
}

#[tokio::test]
async fn pythons_list_of_files_will_do() {
    let (server, _cache, options) = hub(repo()).await;
    resolve("hf:owner/name", &options).await.unwrap();
    let top = options.cache.join("models--owner--name");
    std::fs::remove_dir_all(top.join(".candlepool")).unwrap();
    let size = weights().len();
    let tree = format!(
        r#"{{"format_version":1,"files":{{"config.json":{{"size":17,"blob_id":"aaaa"}},"model.safetensors":{{"size":134,
        "blob_id":"bbbb","lfs_sha256":"cccc","lfs_size":{size},"xet_hash":"dddd"}}}}}}"#
    );
    std::fs::create_dir(top.join("trees")).unwrap();
    std::fs::write(top.join("trees").join(format!("{COMMIT}.json")), tree).unwrap();
    server.take_seen();
    let files = resolve("hf:owner/name", &options).await.unwrap();
    assert_eq!(files.names().collect::<Vec<_>>(), ["config.json", "model.safetensors"]);
    assert!(server.take_seen().is_empty());
}

#[tokio::test]
async fn the_latest_is_looked_up_where_it_is_asked_for() {
    let (server, _cache, mut options) = hub(repo()).await;
    resolve("hf:owner/name", &options).await.unwrap();
    let mut newer = repo();
    newer.commit = "fedcba9876543210fedcba9876543210fedcba98".to_owned();
    newer.files.insert("config.json".to_owned(), br#"{"hidden_size":9}"#.to_vec().into());
    server.put("owner/name", newer.clone());
    assert_eq!(resolve("hf:owner/name", &options).await.unwrap().revision(), COMMIT);
    options.freshness = Freshness::Latest;
    server.take_seen();
    let files = resolve("hf:owner/name", &options).await.unwrap();
    assert_eq!(files.revision(), newer.commit);
    // The list and the one file that changed.
    assert_eq!(server.take_seen().len(), 2);
    drop(server);
    assert_eq!(resolve("hf:owner/name", &options).await.unwrap().revision(), newer.commit);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_named() {
    let (_server, cache, mut options) = hub(repo()).await;
    let file = cache.path().join("a-file");
    std::fs::write(&file, b"").unwrap();
    options.cache = file.clone();
    let error = refusal("hf:owner/name", &options).await;
    assert!(error.starts_with(&format!("cannot write {}", file.display())), "{error}");
    assert!(error.ends_with("make room or set HF_HUB_CACHE to another folder"), "{error}");
}
