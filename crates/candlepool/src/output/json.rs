//! One JSON document: `{"model": "...", "embeddings": [[...], ...]}`.
//!
//! Where items fail, each is `null` in its place, and a list `errors` of `{"index": i, "error": "..."}` follows. It can only
//! be written at the end, so it holds so many, or so many bytes, and no more; `more_errors` counts the others.

use super::{Record, Sink, append_values};

/// So many failures are told in full,
const MOST_ERRORS: u64 = 1000;
/// unless they have come to so many bytes before: each repeats its item's `id`, which may be a line long.
const MOST_BYTES: usize = 16 << 20;

/// The document, as far as it is written.
#[derive(Debug)]
pub(crate) struct JsonDocument {
    sink: Sink,
    /// The list of failures, its brackets left out.
    errors: Vec<u8>,
    told: u64,
    failed: u64,
    buffer: Vec<u8>,
}

impl JsonDocument {
    pub(super) async fn begin(mut sink: Sink, model: &str) -> anyhow::Result<Self> {
        let model = serde_json::to_string(model)?;
        sink.write(format!("{{\"model\":{model},\"embeddings\":[").as_bytes()).await?;
        Ok(Self { sink, errors: Vec::new(), told: 0, failed: 0, buffer: Vec::new() })
    }

    pub(super) async fn write(&mut self, record: Record<'_>) -> anyhow::Result<()> {
        self.buffer.clear();
        self.buffer.extend_from_slice(if record.index == 0 { b"\n" } else { b",\n" });
        match record.values {
            Ok(values) => append_values(&mut self.buffer, values)?,
            Err(_) => {
                self.buffer.extend_from_slice(b"null");
                self.failed += 1;
                if self.told < MOST_ERRORS && self.errors.len() < MOST_BYTES {
                    self.told += 1;
                    self.errors.extend_from_slice(if self.errors.is_empty() { b"\n" } else { b",\n" });
                    super::jsonl::append_object(&mut self.errors, &record)?;
                }
            }
        }
        self.sink.write(&self.buffer).await
    }

    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.sink.write(b"\n]").await?;
        if !self.errors.is_empty() {
            self.sink.write(b",\"errors\":[").await?;
            self.sink.write(&self.errors).await?;
            self.sink.write(b"\n]").await?;
        }
        if self.failed > self.told {
            let more = self.failed - self.told;
            self.sink.write(format!(",\"more_errors\":{more}").as_bytes()).await?;
        }
        self.sink.write(b"}\n").await?;
        self.sink.flush().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    /// The document after so many failures, each of an item with such an id.
    async fn document(failures: u64, id: &str) -> Value {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sink = Sink::open(Some(file.path())).await.unwrap();
        let mut document = JsonDocument::begin(sink, "m").await.unwrap();
        let id = RawValue::from_string(format!("\"{id}\"")).unwrap();
        for index in 0..failures {
            document.write(Record { index, id: Some(&id), values: Err("wrong") }).await.unwrap();
        }
        assert!(document.errors.len() < 2 * MOST_BYTES, "{} bytes are held", document.errors.len());
        document.end().await.unwrap();
        serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_failures_that_are_held_have_a_bound_in_number_and_in_bytes() {
        for (failures, id, told) in
            [(3, "x".to_owned(), 3), (1003, "x".to_owned(), 1000), (40, "x".repeat(1 << 20), 16)]
        {
            let document = document(failures, &id).await;
            assert_eq!(document["embeddings"].as_array().unwrap().len() as u64, failures);
            let errors = document["errors"].as_array().unwrap();
            assert_eq!(errors.len() as u64, told);
            assert_eq!((&errors[1]["index"], &errors[1]["error"]), (&1.into(), &"wrong".into()));
            let more = failures - told;
            assert_eq!(document.get("more_errors").and_then(Value::as_u64).unwrap_or_default(), more);
        }
    }
}
