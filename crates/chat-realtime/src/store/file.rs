use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::failure::Failure;
use crate::room::StoreError;

/// "Cndl", by which such a file is known.
const APPLICATION: i32 = 0x436e_646c;
/// The schema below. Whoever changes it raises this, and brings older files up to it where `prepare` refuses them.
const VERSION: i32 = 1;

/// `first_seq` is the seq of the oldest event kept, or of the next one where none is: it outlives the events.
const SCHEMA: &str = "
    CREATE TABLE rooms (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch TEXT NOT NULL,
        first_seq INTEGER NOT NULL,
        state TEXT
    ) STRICT;
    CREATE TABLE events (
        room INTEGER NOT NULL REFERENCES rooms (id),
        seq INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (room, seq)
    ) STRICT;
";

/// How long a predecessor may take to let go of the file.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much of the log stays on the disk once it has been written into the file, in bytes.
const LOG: i64 = 16 << 20;

/// Opens the file, or makes it; takes its lock; sees that it is whole and of this program and version.
pub(super) fn open(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut connection = Connection::open_with_flags(path, flags)?;
    // Where it may only be read, it has been opened all the same, and would fail in ways that say less.
    if connection.is_readonly("main")? {
        let read_only = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        return Err(rusqlite::Error::SqliteFailure(read_only, None).into());
    }
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    known(&mut connection, path)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        match row.get::<_, String>(0)? {
            mode if mode == "wal" => Ok(()),
            _ => Err(rusqlite::Error::InvalidQuery),
        }
    })?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG)?;
    // A handle that is just dropped must not flush anything; whatever is in the log is found there.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Nobody else changes the schema, so statements are kept; it has no more than these.
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// An exclusive transaction takes the lock, and with the locking mode above it is never let go.
fn known(connection: &mut Connection, path: &Path) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    let (application, version) = (number("application_id")?, number("user_version")?);
    match (application, version) {
        (0, 0) if tables == 0 => {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        (APPLICATION, VERSION) => whole(&transaction)?,
        (APPLICATION, _) => {
            return Err(StoreError::new(format!(
                "cannot open the history: {} has version {version} of the history's format, and this program knows {VERSION}; \
                 use the program that wrote it, or name another file",
                path.display()
            ))
            .into());
        }
        _ => {
            return Err(StoreError::new(format!(
                "cannot open the history: {} is a database of another program; name another file",
                path.display()
            ))
            .into());
        }
    }
    Ok(transaction.commit()?)
}

/// Reads the whole file once: what is broken is found now, and not when somebody comes back to a room.
fn whole(connection: &Connection) -> Result<(), Failure> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(Failure::Damaged(verdict)) }
}
