use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::room::StoreError;

/// Why something about the file failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// What SQLite says.
    #[error(transparent)]
    Sqlite(#[from] Error),
    /// What the file has makes no sense.
    #[error("{0}")]
    Damaged(String),
    /// What was asked for makes no sense, and nothing was done: the rest of a commit is as good as it was.
    #[error("{0}")]
    Refused(String),
    /// The whole line is said already.
    #[error(transparent)]
    Told(#[from] StoreError),
}

impl Failure {
    /// One line: what, why, and what to do.
    pub(super) fn told(&self, doing: &str, path: &Path) -> StoreError {
        let path = path.display();
        let line = match self {
            Self::Told(error) => return error.clone(),
            Self::Refused(what) => format!("cannot {doing}: {what}"),
            Self::Damaged(what) => damaged(doing, &path, what),
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => format!(
                    "cannot {doing}: {path} is not a SQLite database; name another file, or move this one away"
                ),
                Some(ErrorCode::DatabaseCorrupt) => damaged(doing, &path, &error),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => format!(
                    "cannot {doing}: another process uses {path}; end it, or name another file for this one"
                ),
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => format!(
                    "cannot {doing}: {path} may not be written; let this process write the file and its folder"
                ),
                Some(ErrorCode::DiskFull) => {
                    format!("cannot {doing}: there is no room left for {path}; free some, then try again")
                }
                Some(ErrorCode::CannotOpen) => format!(
                    "cannot {doing}: {path} cannot be opened; its folder must be there and be writable, and it must be a file"
                ),
                Some(ErrorCode::SystemIoFailure) => {
                    format!("cannot {doing}: {path} cannot be read or written ({error}); look at the disk")
                }
                _ if unreadable(error) => damaged(doing, &path, &error),
                _ => format!("cannot {doing}: {path}: {error}"),
            },
        };
        StoreError::new(line.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// A value is not of the kind that this program writes.
fn unreadable(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
    )
}

fn damaged(doing: &str, path: &impl std::fmt::Display, what: &impl std::fmt::Display) -> String {
    format!(
        "cannot {doing}: {path} is damaged ({what}); put a copy in its place, or move it away to begin anew"
    )
}
