//! Rooms' history in a file: [`SqliteHistory`].
//!
//! Owns the file, its schema, and what its failures are called. It knows nothing of rooms but their names, and of events but
//! their numbers. All that touches the file runs in the lane for reading and writing; no runtime thread ever waits for a disk.
//!
//! # What is kept when
//!
//! The file is in WAL mode with `synchronous = FULL`: a commit is written *and flushed* before anybody is told of it. So what
//! was acknowledged survives the death of the process (`SIGKILL`; `NORMAL` would do for that), and also that of the machine, as
//! far as its disk means what it says when it is flushed. What this costs is shared: the appends that arrive while one commit is
//! being flushed make up the next one together, however many rooms they are of.
//!
//! # Whose the file is
//!
//! It is locked for one process, and for one [`SqliteHistory`] in it: two servers with one history would make two orders of the
//! same room. The lock goes with the process, however that ends.

mod failure;
mod file;
mod records;
mod sqlite;

pub use sqlite::SqliteHistory;
