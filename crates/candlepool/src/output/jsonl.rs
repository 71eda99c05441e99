//! One JSON object a line: `{"index": 0, "embedding": [...]}`, with `id` where the input has one; `error` where it failed.

use super::{Record, Sink, append_values};

/// The lines' way out.
#[derive(Debug)]
pub(crate) struct JsonLines {
    sink: Sink,
    buffer: Vec<u8>,
}

impl JsonLines {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, buffer: Vec::new() }
    }

    pub(super) async fn write(&mut self, record: Record<'_>) -> anyhow::Result<()> {
        self.buffer.clear();
        append_object(&mut self.buffer, &record)?;
        self.buffer.push(b'\n');
        self.sink.write(&self.buffer).await
    }

    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush().await
    }

    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.sink.flush().await
    }
}

/// One result as an object.
pub(super) fn append_object(line: &mut Vec<u8>, record: &Record<'_>) -> anyhow::Result<()> {
    line.extend_from_slice(format!("{{\"index\":{}", record.index).as_bytes());
    if let Some(id) = record.id {
        line.extend_from_slice(b",\"id\":");
        line.extend_from_slice(id.get().as_bytes());
    }
    match record.values {
        Ok(values) => {
            line.extend_from_slice(b",\"embedding\":");
            append_values(line, values)?;
        }
        Err(error) => {
            line.extend_from_slice(b",\"error\":");
            serde_json::to_writer(&mut *line, error)?;
        }
    }
    line.push(b'}');
    Ok(())
}
