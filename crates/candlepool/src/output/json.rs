//! One JSON document: `{"model": "...", "embeddings": [[...], ...]}`.
//!
//! Where items fail, each is `null` in its place, and a list `errors` of `{"index": i, "error": "..."}` follows. It can only
//! be written at the end, so it holds so many and no more; `more_errors` counts the others.

use super::{Record, Sink, append_values};

/// So many failures are told in full.
const MOST_ERRORS: u64 = 1000;

/// The document, as far as it is written.
#[derive(Debug)]
pub(crate) struct JsonDocument {
    sink: Sink,
    /// The list of failures, its brackets left out.
    errors: Vec<u8>,
    failed: u64,
    buffer: Vec<u8>,
}

impl JsonDocument {
    pub(super) async fn begin(mut sink: Sink, model: &str) -> anyhow::Result<Self> {
        let model = serde_json::to_string(model)?;
        sink.write(format!("{{\"model\":{model},\"embeddings\":[").as_bytes()).await?;
        Ok(Self { sink, errors: Vec::new(), failed: 0, buffer: Vec::new() })
    }

    pub(super) async fn write(&mut self, record: Record<'_>) -> anyhow::Result<()> {
        self.buffer.clear();
        self.buffer.extend_from_slice(if record.index == 0 { b"\n" } else { b",\n" });
        match record.values {
            Ok(values) => append_values(&mut self.buffer, values)?,
            Err(_) => {
                self.buffer.extend_from_slice(b"null");
                self.failed += 1;
                if self.failed <= MOST_ERRORS {
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
        if self.failed > MOST_ERRORS {
            let more = self.failed - MOST_ERRORS;
            self.sink.write(format!(",\"more_errors\":{more}").as_bytes()).await?;
        }
        self.sink.write(b"}\n").await?;
        self.sink.flush().await
    }
}
