//! NumPy's array file, version 1.0: a header, then rows of little-endian f32.
//!
//! The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. Rows are written as they come,
//! and the header, which tells their number, is written again at the end. A text that failed is a row of NaN and is told
//! on standard error, so that row and text keep their numbers.

use anyhow::bail;

use super::{Record, Sink};
use crate::stderr::tell;

/// Bytes before the rows: magic, version, length, and the description, padded. A multiple of 64, as the format asks.
const HEADER: usize = 128;

/// The array, as far as it is written.
#[derive(Debug)]
pub(crate) struct NpyArray {
    sink: Sink,
    rows: u64,
    /// Known with the first row that did not fail.
    columns: Option<usize>,
    buffer: Vec<u8>,
}

impl NpyArray {
    pub(super) async fn begin(mut sink: Sink) -> anyhow::Result<Self> {
        sink.write(&header(0, 0)).await?;
        Ok(Self { sink, rows: 0, columns: None, buffer: Vec::new() })
    }

    pub(super) async fn write(&mut self, record: Record<'_>) -> anyhow::Result<()> {
        match record.values {
            Ok(values) => {
                if self.columns.is_none() {
                    self.columns = Some(values.len());
                    for _ in 0..self.rows {
                        self.row(std::iter::repeat_n(f32::NAN, values.len())).await?;
                    }
                }
                if self.columns != Some(values.len()) {
                    bail!("text {} has a vector of another length than the others", record.index);
                }
                self.row(values.iter().copied()).await?;
            }
            Err(_) => {
                let mut line = Vec::new();
                super::jsonl::append_object(&mut line, &record)?;
                tell(&String::from_utf8_lossy(&line)).await;
                if let Some(columns) = self.columns {
                    self.row(std::iter::repeat_n(f32::NAN, columns)).await?;
                }
            }
        }
        self.rows += 1;
        Ok(())
    }

    async fn row(&mut self, values: impl Iterator<Item = f32>) -> anyhow::Result<()> {
        self.buffer.clear();
        self.buffer.extend(values.flat_map(f32::to_le_bytes));
        self.sink.write(&self.buffer).await
    }

    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.sink.rewrite_beginning(&header(self.rows, self.columns.unwrap_or(0))).await
    }
}

fn header(rows: u64, columns: usize) -> Vec<u8> {
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    // What follows these two bytes; it fits, as two numbers have 40 digits at most.
    header.extend_from_slice(&((HEADER - 10) as u16).to_le_bytes());
    header.extend_from_slice(
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}").as_bytes(),
    );
    header.resize(HEADER - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_as_the_format_wants_it_however_many_rows() {
        for rows in [0, 1, u64::MAX] {
            let header = header(rows, usize::MAX);
            assert_eq!(header.len(), HEADER);
            assert_eq!(header.len() % 64, 0);
            assert_eq!(&header[..8], b"\x93NUMPY\x01\x00");
            assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])), HEADER - 10);
            let text = std::str::from_utf8(&header[10..]).unwrap();
            assert!(
                text.ends_with('\n') && text.contains(&format!("'shape': ({rows}, {})", usize::MAX)),
                "{text}"
            );
        }
    }
}
