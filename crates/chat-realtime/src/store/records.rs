use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::failure::Failure;
use crate::room::{Kept, StoredEvent};

/// A change of what is kept of one room.
#[derive(Debug)]
pub(super) enum Change {
    /// These events follow, or replace what has their seq or a greater one.
    Append {
        /// The history they are of.
        epoch: String,
        /// In order, without gaps.
        events: Vec<StoredEvent>,
    },
    /// Events below this seq go.
    Trim {
        /// The first that stays.
        before_seq: u64,
    },
    /// This is the document beside the events.
    Save {
        /// JSON.
        state: Arc<str>,
    },
}

impl Change {
    /// What it does, for errors.
    pub(super) const fn doing(&self) -> &'static str {
        match self {
            Self::Append { .. } => "keep what happened",
            Self::Trim { .. } => "forget old events",
            Self::Save { .. } => "keep who has read how far",
        }
    }

    /// Makes the change, in the transaction that is open. What is refused has changed nothing.
    pub(super) fn make(&self, connection: &Connection, room: &str) -> Result<(), Failure> {
        match self {
            Self::Append { epoch, events } => append(connection, room, epoch, events),
            Self::Trim { before_seq } => trim(connection, room, *before_seq),
            Self::Save { state } => {
                let mut save = connection.prepare_cached("UPDATE rooms SET state = ?2 WHERE name = ?1")?;
                save.execute(params![room, state])?;
                Ok(())
            }
        }
    }
}

/// What the file has of a room beside its events.
struct Room {
    id: i64,
    epoch: String,
    first_seq: u64,
    state: Option<String>,
}

impl Room {
    fn find(connection: &Connection, name: &str) -> Result<Option<Self>, Failure> {
        let mut find =
            connection.prepare_cached("SELECT id, epoch, first_seq, state FROM rooms WHERE name = ?1")?;
        let room = find.query_row([name], |row| {
            Ok(Self { id: row.get(0)?, epoch: row.get(1)?, first_seq: row.get(2)?, state: row.get(3)? })
        });
        Ok(room.optional()?)
    }

    /// The seq of the next event.
    fn next_seq(&self, connection: &Connection) -> Result<u64, Failure> {
        let mut last = connection.prepare_cached("SELECT max(seq) FROM events WHERE room = ?1")?;
        let last: Option<u64> = last.query_row([self.id], |row| row.get(0))?;
        Ok(last.map_or(self.first_seq, |last| last + 1))
    }

    fn begin_at(&self, connection: &Connection, seq: u64) -> Result<(), Failure> {
        let mut begin = connection.prepare_cached("UPDATE rooms SET first_seq = ?2 WHERE id = ?1")?;
        begin.execute(params![self.id, seq])?;
        Ok(())
    }
}

/// What is kept of a room.
pub(super) fn load(connection: &Connection, name: &str) -> Result<Option<Kept>, Failure> {
    let Some(room) = Room::find(connection, name)? else { return Ok(None) };
    let mut query =
        connection.prepare_cached("SELECT seq, at_ms, json FROM events WHERE room = ?1 ORDER BY seq")?;
    let rows = query.query_map([room.id], |row| {
        Ok(StoredEvent { seq: row.get(0)?, at_ms: row.get(1)?, json: row.get(2)? })
    })?;
    let events = rows.collect::<Result<Vec<_>, _>>()?;
    if let Some((event, expected)) =
        events.iter().zip(room.first_seq..).find(|(event, seq)| event.seq != *seq)
    {
        let found = event.seq;
        return Err(Failure::Damaged(format!("room {name} has event {found} where {expected} should be")));
    }
    Ok(Some(Kept { epoch: room.epoch, first_seq: room.first_seq, events, state: room.state.map(Into::into) }))
}

fn append(connection: &Connection, name: &str, epoch: &str, events: &[StoredEvent]) -> Result<(), Failure> {
    let Some(first) = events.first().map(|event| event.seq) else { return Ok(()) };
    if events.iter().zip(first..).any(|(event, seq)| event.seq != seq || i64::try_from(seq).is_err()) {
        return Err(Failure::Refused(format!(
            "the events of room {name} are not numbered one after another"
        )));
    }
    let room = match Room::find(connection, name)? {
        Some(room) if room.epoch == epoch => {
            let next = room.next_seq(connection)?;
            if first > next {
                return Err(Failure::Refused(format!(
                    "room {name} would have event {first} where {next} should be; join it again"
                )));
            }
            if first < next {
                let mut replaced =
                    connection.prepare_cached("DELETE FROM events WHERE room = ?1 AND seq >= ?2")?;
                replaced.execute(params![room.id, first])?;
            }
            room
        }
        other => anew(connection, name, epoch, first, other)?,
    };
    if first < room.first_seq {
        room.begin_at(connection, first)?;
    }
    let mut insert =
        connection.prepare_cached("INSERT INTO events (room, seq, at_ms, json) VALUES (?1, ?2, ?3, ?4)")?;
    for StoredEvent { seq, at_ms, json } in events {
        insert.execute(params![room.id, seq, at_ms, json])?;
    }
    Ok(())
}

/// A room's history begins, in the place of another one where there is one.
fn anew(
    connection: &Connection,
    name: &str,
    epoch: &str,
    first_seq: u64,
    before: Option<Room>,
) -> Result<Room, Failure> {
    if let Some(before) = before {
        connection.prepare_cached("DELETE FROM events WHERE room = ?1")?.execute([before.id])?;
        connection.prepare_cached("DELETE FROM rooms WHERE id = ?1")?.execute([before.id])?;
    }
    let mut insert =
        connection.prepare_cached("INSERT INTO rooms (name, epoch, first_seq) VALUES (?1, ?2, ?3)")?;
    let id = insert.insert(params![name, epoch, first_seq])?;
    Ok(Room { id, epoch: epoch.to_owned(), first_seq, state: None })
}

fn trim(connection: &Connection, name: &str, before_seq: u64) -> Result<(), Failure> {
    let Some(room) = Room::find(connection, name)? else { return Ok(()) };
    if before_seq <= room.first_seq {
        return Ok(());
    }
    let first = before_seq.min(room.next_seq(connection)?);
    let mut old = connection.prepare_cached("DELETE FROM events WHERE room = ?1 AND seq < ?2")?;
    old.execute(params![room.id, first])?;
    room.begin_at(connection, first)
}
