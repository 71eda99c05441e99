//! The report's three forms.

mod json;
mod sarif;
mod text;

use super::finding::Finding;

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One finding a paragraph, for people.
    Text,
    /// An array of objects.
    Json,
    /// SARIF 2.1.0, for code hosts and editors.
    Sarif,
}

/// The whole report, ready to print.
pub(crate) fn render(format: Format, findings: &[Finding]) -> serde_json::Result<String> {
    match format {
        Format::Text => Ok(text::render(findings)),
        Format::Json => json::render(findings),
        Format::Sarif => Ok(sarif::render(findings)),
    }
}
