//! A swarm of people in rooms: connections that are cut off and resumed, readers that are slow, and what all of them were sent.

mod client;
mod log;
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use self::client::{Course, Kind, Person, Stay};
use self::server::Server;
use super::{built_binary, machine};
use crate::python::workspace_root;

/// Connections that are opened a second: a stampede is measured elsewhere.
const OPENED: u64 = 200;
/// What a reader that is too slow is closed with.
const SLOW: u16 = 3008;
/// Rooms that nobody is in are closed after a minute.
const SETTLING: Duration = Duration::from_secs(75);

/// Arguments of `bench rooms`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections at once
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(2..=20_000))]
    connections: u64,
    /// Rooms they are in
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rooms: u64,
    /// Readers that read one event a second; all in the first room, which is a loud one
    #[arg(long, default_value_t = 10)]
    slow: u64,
    /// Of how many connections one is cut off each second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..))]
    cut_one_in: u64,
    /// Seconds that people talk
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Seconds between two messages of a person
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Keep the rooms' history in a file
    #[arg(long)]
    history: bool,
    /// MiB by which the server's memory may have grown when everybody has gone
    #[arg(long, default_value_t = 64)]
    growth: u64,
    /// The server [default: built in release]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

#[tokio::main]
pub(super) async fn run(args: &Args) -> Result<()> {
    let crowd = args.connections / args.rooms;
    ensure!(args.slow < crowd, "{} slow readers leave nobody else in a room of {crowd}", args.slow);
    raise_descriptors(args.connections)?;
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => built_binary(&workspace_root())?,
    };
    let folder = tempfile::tempdir()?;
    let history = args.history.then(|| folder.path().join("history.db"));
    let config = server::config(usize::try_from(args.connections)?, history.as_deref());
    let server = Server::start(&binary, folder.path(), &config).await?;
    let before = server.resident()?;
    let (stays, peak, took) = swarm(args, &server).await?;
    eprintln!("everybody has gone; the server is given {SETTLING:?} to close what is empty");
    sleep(SETTLING).await;
    let after = server.resident()?;
    report(args, &stays, took, [before, peak, after])
}

/// Each connection takes a descriptor here, and one in the server, which has this process's limit.
fn raise_descriptors(connections: u64) -> Result<()> {
    let needed = connections * 2 + 256;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        ensure!(
            limit.maximum.is_none_or(|maximum| maximum >= needed),
            "{needed} open files are needed, and {} are allowed; raise the limit (`ulimit -Hn`), or ask for fewer --connections",
            limit.maximum.unwrap_or_default()
        );
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum })
            .context("the limit of open files cannot be raised")?;
    }
    Ok(())
}

fn person(args: &Args, address: &str, number: u64, began: Instant) -> Person {
    let room = number % args.rooms;
    let kind = match (room, number / args.rooms) {
        (0, place) if place < args.slow => Kind::Slow,
        // So much is said in the loud room that nobody who dawdles keeps up.
        (0, _) => Kind::Speaks { every: Duration::from_secs(1), bytes: 15_000 },
        _ => Kind::Speaks { every: Duration::from_secs(args.every), bytes: 100 },
    };
    let (address, cut_one_in) = (address.to_owned(), args.cut_one_in);
    Person { number, address, room: format!("room-{room}"), kind, cut_one_in, began }
}

/// What came of everybody, the most that the server had in memory, and how long people talked.
async fn swarm(args: &Args, server: &Server) -> Result<(Vec<(Person, Stay)>, u64, Duration)> {
    let (tell, course) = watch::channel(Course::default());
    let mut people = JoinSet::new();
    let began = Instant::now();
    let mut opening = interval(Duration::from_secs(1) / OPENED as u32);
    opening.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..args.connections {
        opening.tick().await;
        let person = person(args, &server.address, number, began);
        let course = course.clone();
        people.spawn(async move { anyhow::Ok((person.clone(), person.stay(course).await?)) });
    }
    eprintln!("{} connections are open after {:.0?}", args.connections, began.elapsed());
    let (talking, mut peak) = (Instant::now(), 0);
    let mut seconds = interval(Duration::from_secs(1));
    let mut stays = Vec::new();
    for round in 0..args.seconds {
        seconds.tick().await;
        peak = peak.max(server.resident()?);
        tell.send_modify(|course| course.round = round);
        // Whoever has ended before the end has failed, or is a slow reader who was closed.
        while let Some(person) = people.try_join_next() {
            stays.push(person??);
        }
        if round % 10 == 0 {
            eprintln!("{round} s: {} people, {} MiB", people.len(), peak >> 20);
        }
    }
    tell.send_modify(|course| course.over = true);
    let took = talking.elapsed();
    while let Some(person) = people.join_next().await {
        stays.push(person??);
    }
    Ok((stays, peak.max(server.resident()?), took))
}

/// Checks everything, and prints the figures.
fn report(
    args: &Args,
    stays: &[(Person, Stay)],
    took: Duration,
    [before, peak, after]: [u64; 3],
) -> Result<()> {
    let mut rooms: BTreeMap<&str, Vec<(String, &Stay)>> = BTreeMap::new();
    let mut slow = Vec::new();
    for (person, stay) in stays {
        match person.kind {
            Kind::Slow => slow.push(stay.closed),
            Kind::Speaks { .. } => rooms.entry(&person.room).or_default().push((person.name(), stay)),
        }
    }
    let mut events = 0;
    for (room, stays) in &rooms {
        let logs = stays.iter().map(|(name, stay)| (&**name, &stay.log));
        let count = log::agree(logs).with_context(|| format!("{room}: logs differ"))?;
        let said: u64 = stays.iter().map(|(_, stay)| stay.said).sum();
        ensure!(count as u64 == said, "{room}: {said} messages were said, and the log has {count} events");
        events += count;
    }
    let closed = slow.iter().filter(|code| **code == Some(SLOW)).count();
    ensure!(closed == slow.len(), "slow readers were closed with {slow:?}, and not all with {SLOW}");
    let mut delays: Vec<u32> = stays.iter().flat_map(|(_, stay)| stay.delays.iter().copied()).collect();
    delays.sort_unstable();
    let sum = |of: fn(&Stay) -> u64| stays.iter().map(|(_, stay)| of(stay)).sum::<u64>();
    let milliseconds =
        |part: f64| percentile(&delays, part).map_or(f64::NAN, |micros| f64::from(micros) / 1000.0);
    println!("Machine: {}; the clients run on it too.", machine::described());
    println!(
        "{} connections in {} rooms, {} s; history {}.",
        args.connections,
        args.rooms,
        args.seconds,
        if args.history { "in a file" } else { "in memory" }
    );
    println!(
        "Logs: {events} messages in {} rooms, identical and gapless for all; {} connections resumed.",
        rooms.len(),
        sum(|stay| stay.resumed)
    );
    println!("Slow readers: {closed} of {} closed with {SLOW}.", slow.len());
    println!(
        "Delivered: {:.0} frames a second; from said to read {:.1} ms (p50), {:.1} ms (p99), {:.1} ms (longest).",
        sum(|stay| stay.frames) as f64 / took.as_secs_f64(),
        milliseconds(0.5),
        milliseconds(0.99),
        milliseconds(1.0)
    );
    println!(
        "Server's memory: {} MiB before, {} MiB at most, {} MiB afterwards.",
        before >> 20,
        peak >> 20,
        after >> 20
    );
    ensure!(
        after <= before + (args.growth << 20),
        "the server's memory has grown by {} MiB, and {} are allowed",
        (after - before) >> 20,
        args.growth
    );
    Ok(())
}

/// The least of the sorted numbers that such a part of them does not exceed.
fn percentile(sorted: &[u32], part: f64) -> Option<u32> {
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(place.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_numbers() {
        let numbers: Vec<u32> = (1..=200).collect();
        let of = |part| percentile(&numbers, part);
        assert_eq!((of(0.5), of(0.99), of(1.0), of(0.0)), (Some(100), Some(198), Some(200), Some(1)));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
