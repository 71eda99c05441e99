use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::process::{PATIENCE, candlepool, checkpoint, failed, memory_of, run, run_with, stderr, stdout};

fn model() -> String {
    checkpoint("pool-mean").display().to_string()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

fn assert_close(a: &[f32], b: &[f32]) {
    assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} and {b:?}");
}

/// An array as NumPy's format describes it: rows, columns, numbers.
fn read_npy(bytes: &[u8]) -> (usize, usize, Vec<f32>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let (rows, columns) = shape.split_once(", ").unwrap();
    let data = &bytes[10 + length..];
    let values =
        data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect::<Vec<_>>();
    let (rows, columns) = (rows.parse().unwrap(), columns.parse().unwrap());
    assert_eq!(values.len(), rows * columns);
    assert_eq!((10 + length) % 64, 0);
    (rows, columns, values)
}

#[tokio::test]
async fn every_format_has_the_same_numbers() {
    let model = model();
    let texts = ["first text", "", "third: 中文 🙂"];
    let arguments = |format: &'static str| {
        [&["embed", "--model", &model, "--format", format][..], &texts[..]]
            .concat()
            .iter()
            .map(|a| (*a).to_owned())
            .collect::<Vec<_>>()
    };
    let go = |arguments: Vec<String>| async move {
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let output = go(arguments("json")).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document["model"], model);
    assert_eq!(document.as_object().unwrap().len(), 2);
    let embeddings: Vec<Vec<f32>> = document["embeddings"].as_array().unwrap().iter().map(floats).collect();
    assert_eq!(embeddings.len(), 3);

    let output = go(arguments("jsonl")).await;
    for (index, line) in stdout(&output).lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["index"], index);
        assert!(line.get("id").is_none());
        assert_close(&floats(&line["embedding"]), &embeddings[index]);
    }
    assert_eq!(stdout(&output).lines().count(), 3);

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.npy");
    let mut npy = arguments("npy");
    npy.extend(["--out".to_owned(), out.display().to_string()]);
    let output = go(npy).await;
    assert!(output.status.success() && output.stdout.is_empty(), "{}", stderr(&output));
    let (rows, columns, values) = read_npy(&std::fs::read(&out).unwrap());
    assert_eq!((rows, columns), (3, embeddings[0].len()));
    assert_close(&values, &embeddings.concat());

    // Standard output that is a file can be gone back in, one that is a pipe cannot.
    let redirected = std::fs::File::create(folder.path().join("stdout.npy")).unwrap();
    let status = candlepool().args(arguments("npy")).stdout(redirected).status().await.unwrap();
    assert!(status.success());
    assert_eq!(read_npy(&std::fs::read(folder.path().join("stdout.npy")).unwrap()).0, 3);
    let told = failed(&go(arguments("npy")).await, 2).to_owned();
    assert!(told.contains("use --out FILE"), "{told}");
    for before in ["", "kept as it is"] {
        let path = folder.path().join("appended");
        std::fs::write(&path, before).unwrap();
        let appended = std::fs::File::options().append(true).open(&path).unwrap();
        let child =
            candlepool().args(arguments("npy")).stdout(appended).stderr(Stdio::piped()).spawn().unwrap();
        let told = failed(&child.wait_with_output().await.unwrap(), 2).to_owned();
        assert!(told.contains("opened for appending"), "{told}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn dimensions_cut_and_wrong_ones_are_wrong_usage() {
    let model = model();
    let output = run(&["embed", "--model", &model, "--dimensions", "5", "text"]).await;
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(floats(&document["embeddings"][0]).len(), 5);
    for wrong in ["0", "25", "100000"] {
        let told =
            failed(&run(&["embed", "--model", &model, "--dimensions", wrong, "text"]).await, 2).to_owned();
        assert!(told.contains("has 1 to 24"), "{told}");
    }
}

#[tokio::test]
async fn an_item_that_fails_leaves_the_rest_and_the_status_is_1() {
    let model = model();
    let input =
        b"\"good\"\n{\"id\": 7, \"text\": \"named\"}\n\n{\"id\": \"x\"}\n\"b\xffad\"\n{\"text\": \"last\"}\n";
    let arguments = ["embed", "--model", &model, "--input", "-", "--input-format", "jsonl", "--format"];
    let output = run_with(&[&arguments[..], &["jsonl"]].concat(), input).await;
    let told = failed(&output, 1);
    assert!(told.contains("3 of 6 items failed"), "{told}");
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["index"], index);
        assert_eq!(line["error"].is_string(), [2, 3, 4].contains(&index), "{line}");
        assert_eq!(line["embedding"].is_array(), ![2, 3, 4].contains(&index), "{line}");
    }
    assert_eq!((&lines[1]["id"], &lines[3]["id"]), (&Value::from(7), &Value::from("x")));

    let output = run_with(&[&arguments[..], &["json"]].concat(), input).await;
    failed(&output, 1);
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    let nulls: Vec<bool> = document["embeddings"].as_array().unwrap().iter().map(Value::is_null).collect();
    assert_eq!(nulls, [false, false, true, true, true, false]);
    assert_eq!(document["errors"].as_array().unwrap().len(), 3);
    assert_eq!(document["errors"][0]["index"], 2);

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.npy");
    let npy = [&arguments[..], &["npy", "--out", out.to_str().unwrap()]].concat();
    let output = run_with(&npy, &[b"nope\n", &input[..]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    let (rows, columns, values) = read_npy(&std::fs::read(&out).unwrap());
    let failed: Vec<bool> =
        values.chunks(columns).map(|row| row.iter().all(|value| value.is_nan())).collect();
    assert_eq!((rows, failed), (7, vec![true, false, false, true, true, true, false]));
    assert!(stderr(&output).starts_with("{\"index\":0,\"error\":"), "{}", stderr(&output));
}

#[tokio::test]
async fn lines_are_texts_and_an_empty_input_is_an_empty_answer() {
    let model = model();
    let output = run_with(&["embed", "--model", &model, "--input", "-"], b"one\r\n\n{\"text\": 1}").await;
    assert!(output.status.success(), "{}", stderr(&output));
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document["embeddings"].as_array().unwrap().len(), 3);
    let direct = run(&["embed", "--model", &model, "one", "", "{\"text\": 1}"]).await;
    let direct: Value = serde_json::from_str(stdout(&direct)).unwrap();
    for index in 0..3 {
        assert_close(&floats(&document["embeddings"][index]), &floats(&direct["embeddings"][index]));
    }
    let output = run_with(&["embed", "--model", &model, "--input", "-"], b"").await;
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document["embeddings"], serde_json::json!([]));
    let output = run_with(&["embed", "--model", &model, "--input", "-", "--format", "jsonl"], b"").await;
    assert!(output.status.success() && output.stdout.is_empty());
}

#[tokio::test]
async fn results_come_while_the_input_is_still_open() {
    let mut command = candlepool();
    command.args(["embed", "--model", &model(), "--format", "jsonl", "--input", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for index in 0..3 {
        stdin.write_all(b"a text\n").await.unwrap();
        let line =
            tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("no result").unwrap().unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["index"], index);
    }
    drop(stdin);
    assert!(lines.next_line().await.unwrap().is_none());
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn the_input_is_not_overwritten_and_an_old_output_outlives_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("texts.txt");
    std::fs::write(&file, "one\n").unwrap();
    let file = file.to_str().unwrap();
    failed(&run(&["embed", "--model", &model(), "--input", file, "--out", file]).await, 2);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "one\n");
    failed(&run(&["embed", "--model", "no/such/folder", "--out", file, "text"]).await, 1);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "one\n");
    failed(&run(&["embed", "--model", &model(), "--input", "no/such/file"]).await, 1);
    failed(&run(&["embed", "--model", &model(), "--input", folder.path().to_str().unwrap()]).await, 1);
    failed(&run(&["embed", "--model", &model(), "--out", "no/such/folder/out", "text"]).await, 1);
}

/// The texts that are hard to get right, against what sentence-transformers makes of them.
#[tokio::test]
async fn minilm_agrees_with_sentence_transformers_on_hard_texts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let model = root.join("target/models/all-MiniLM-L6-v2");
    if !model.is_dir() {
        let told = format!("{} is not there: run `cargo xtask models`", model.display());
        assert!(
            std::env::var_os("CANDLEPOOL_REQUIRE_MODELS").is_none_or(|required| required != "1"),
            "{told}"
        );
        writeln!(std::io::stderr(), "SKIPPED: {told}").unwrap();
        return;
    }
    let fixtures = root.join("crates/text-embedding/tests/fixtures");
    let reference = std::fs::read(fixtures.join("hard_texts.json")).unwrap();
    let reference: Value = serde_json::from_slice(&reference).unwrap();
    let texts = fixtures.join("hard_texts.jsonl");
    let output =
        run(&["embed", "--model", model.to_str().unwrap(), "--input", texts.to_str().unwrap()]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    let embeddings = document["embeddings"].as_array().unwrap();
    assert!(cases.len() >= 40 && embeddings.len() == cases.len());
    for (case, embedding) in cases.iter().zip(embeddings) {
        let (wanted, found) = (floats(&case["embedding"]), floats(embedding));
        assert_eq!(wanted.len(), found.len());
        let apart = wanted.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{}: {apart}", case["id"]);
    }
}

/// The peak of memory must not follow the size of the input: twenty times the lines, about the same peak.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_long_file_streams_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let peak = |lines: usize| {
        let path = folder.path().join(format!("{lines}.jsonl"));
        async move {
            let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
            let mut text = String::new();
            for line in 0..lines {
                text.clear();
                writeln!(text, "{{\"id\": {line}, \"text\": \"text number {line} of many\"}}").unwrap();
                file.write_all(text.as_bytes()).unwrap();
            }
            file.into_inner().unwrap();
            let mut command = candlepool();
            let model = checkpoint("static").display().to_string();
            command.args([
                "embed",
                "--model",
                &model,
                "--format",
                "jsonl",
                "--input",
                path.to_str().unwrap(),
            ]);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let process = child.id().unwrap();
            let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
            let (mut count, mut peak) = (0, 0);
            while let Some(line) = out.next_line().await.unwrap() {
                if count % 1000 == 0 || count + 1 == lines {
                    assert!(
                        line.starts_with(&format!("{{\"index\":{count},\"id\":{count},\"embedding\":[")),
                        "{line}"
                    );
                    peak = memory_of(process, "VmHWM").unwrap_or(peak);
                }
                count += 1;
            }
            assert_eq!(count, lines);
            let ended = tokio::time::timeout(Duration::from_secs(30), child.wait()).await.unwrap().unwrap();
            assert!(ended.success());
            peak
        }
    };
    let (short, long) = (peak(10_000).await, peak(200_000).await);
    assert!(long < short + 20 * 1024, "10,000 lines took {short} KiB, 200,000 took {long} KiB");
}

#[tokio::test]
async fn an_id_is_repeated_as_it_was_written() {
    let model = model();
    let ids = ["123456789012345678901234567890", "-0.10", "1e400", "\"a\\u0062\""];
    let input: String = ids.iter().map(|id| format!("{{\"id\": {id}, \"text\": \"text\"}}\n")).collect();
    let arguments = ["--input", "-", "--input-format", "jsonl"];
    let output = run_with(
        &[&["embed", "--model", &model, "--format", "jsonl"], arguments.as_slice()].concat(),
        input.as_bytes(),
    )
    .await;
    assert!(output.status.success(), "{}", stderr(&output));
    for (line, id) in stdout(&output).lines().zip(ids) {
        assert!(line.contains(&format!(",\"id\":{id},")), "{line}");
    }
    let query = ["rerank", "--model", &model, "--query", "q", "--format", "json"];
    let output = run_with(&[query.as_slice(), &arguments].concat(), input.as_bytes()).await;
    for id in ids {
        assert!(stdout(&output).contains(&format!("\"id\":{id},")), "{}", stdout(&output));
    }
}

#[tokio::test]
async fn failures_without_end_do_not_fill_the_memory() {
    let model = model();
    let input = "{}\n".repeat(1500);
    let arguments = ["embed", "--model", &model, "--input", "-", "--input-format", "jsonl"];
    let output = run_with(&arguments, input.as_bytes()).await;
    assert!(failed(&output, 1).contains("1500 of 1500 items failed"));
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document["embeddings"].as_array().unwrap().len(), 1500);
    assert_eq!(document["errors"].as_array().unwrap().len(), 1000);
    assert_eq!(document["more_errors"], 500);
}

#[tokio::test]
async fn more_texts_than_can_be_ranked_are_refused_by_their_number() {
    let model = model();
    let input = "\n".repeat(100_001);
    let output =
        run_with(&["rerank", "--model", &model, "--query", "q", "--input", "-"], input.as_bytes()).await;
    assert!(failed(&output, 1).contains("more than 100000 texts"));
}
