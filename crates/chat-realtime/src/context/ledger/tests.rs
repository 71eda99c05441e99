use std::collections::HashMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::files::Opened;
use super::*;

fn stamp(folder: &Path, bytes: usize) -> Stamp {
    let path = folder.join("stamped");
    fs::write(&path, vec![b'x'; bytes]).unwrap();
    Stamp::of(&fs::metadata(path).unwrap())
}

fn key(number: u8) -> Key {
    Key { root: 0, path: format!("{}/{number}", number % 3).into() }
}

/// What happens to the files.
#[derive(Clone, Debug)]
enum Event {
    /// The file says this from now on.
    Write {
        file: u8,
        says: u8,
    },
    Remove {
        file: u8,
    },
    /// A walk over everything.
    Walk,
    /// Some files are taken to be read, and settle only when others are.
    Take {
        files: usize,
    },
    Settle,
    GiveBack,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0_u8..8, 0_u8..5).prop_map(|(file, says)| Event::Write { file, says }),
        (0_u8..8).prop_map(|file| Event::Remove { file }),
        Just(Event::Walk),
        (1_usize..4).prop_map(|files| Event::Take { files }),
        Just(Event::Settle),
        Just(Event::GiveBack),
    ];
    proptest::collection::vec(event, 0..60)
}

/// A ledger, and the files as they are on a disk.
struct World {
    ledger: Ledger,
    disk: HashMap<u8, u8>,
    stamps: Vec<Stamp>,
    taken: Vec<(Errand, Option<u8>)>,
}

impl World {
    fn new(folder: &Path, limits: ContextLimits) -> Self {
        let stamps = (0..5).map(|says| stamp(folder, says + 1)).collect();
        Self { ledger: Ledger::new(limits), disk: HashMap::new(), stamps, taken: Vec::new() }
    }

    fn walk(&mut self) {
        self.ledger.begin(true);
        for (&file, &says) in &self.disk {
            let stamp = self.stamps[usize::from(says)];
            self.ledger.found(Found::File { key: key(file), stamp, named: true }, Instant::now());
        }
        self.ledger.end(&[Key { root: 0, path: PathBuf::new() }], Instant::now());
    }

    fn take(&mut self, files: usize) {
        for errand in self.ledger.take(files, 1 << 20) {
            // It is read now, and may say something else by the time it is settled.
            let file: u8 = errand.key.path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let says = self.disk.get(&file).copied();
            self.taken.push((errand, says));
        }
    }

    fn settle(&mut self) {
        for (errand, says) in std::mem::take(&mut self.taken) {
            let now = Instant::now();
            let read = says.ok_or_else(|| std::io::ErrorKind::NotFound.into()).map(|says| Opened {
                stamp: self.stamps[usize::from(says)],
                at: SystemTime::now(),
                bytes: Some(format!("says {says}").into_bytes()),
            });
            let mut draft = Draft::new(errand.key, read, errand.earlier.as_deref(), 100);
            if self.ledger.settle_known(&draft, now) {
                continue;
            }
            for number in draft.missing().map(|(number, _)| number).collect::<Vec<_>>() {
                draft.set(number, vec![1.0]);
            }
            self.ledger.settle(draft, 1, now);
        }
    }

    fn run(&mut self, event: Event) {
        match event {
            Event::Write { file, says } => drop(self.disk.insert(file, says)),
            Event::Remove { file } => drop(self.disk.remove(&file)),
            Event::Walk => self.walk(),
            Event::Take { files } => self.take(files),
            Event::Settle => self.settle(),
            Event::GiveBack => {
                let errands = self.taken.drain(..).map(|(errand, _)| errand).collect();
                self.ledger.give_back(errands);
            }
        }
    }

    fn finish(&mut self) {
        self.settle();
        self.walk();
        while self.ledger.is_waiting() {
            self.take(3);
            self.settle();
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_index_says_in_the_end_what_the_files_say(events in events()) {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(folder.path(), ContextLimits::default());
        for event in events {
            world.run(event);
            let counts = world.ledger.counts();
            prop_assert!(counts.done <= counts.files && counts.files <= 8);
        }
        world.finish();
        let said: std::collections::HashSet<u8> = world.disk.values().copied().collect();
        let counts = world.ledger.counts();
        prop_assert_eq!((counts.files, counts.done), (world.disk.len() as u64, world.disk.len() as u64));
        prop_assert_eq!(counts.skipped, Skipped::default());
        prop_assert_eq!(world.ledger.index.passages(), said.len());
        world.disk.clear();
        world.finish();
        world.ledger.index.forget_all();
        prop_assert_eq!(world.ledger.held(), 0, "nothing is left of files that have gone");
    }

    #[test]
    fn the_limits_of_files_and_bytes_are_kept_and_room_is_used(events in events(), files in 1_usize..8, room in 1_usize..6) {
        let folder = tempfile::tempdir().unwrap();
        let limits = ContextLimits { files, index_bytes: room * 300, ..ContextLimits::default() };
        let mut world = World::new(folder.path(), limits);
        for event in events {
            world.run(event);
            prop_assert!(world.ledger.index.bytes() <= limits.index_bytes);
            prop_assert!(world.ledger.files.len() <= files);
        }
        world.finish();
        // Files that go make place for others at the next look.
        world.finish();
        let counts = world.ledger.counts();
        prop_assert_eq!(counts.files, world.disk.len() as u64);
        prop_assert_eq!(counts.done, counts.files);
        prop_assert_eq!(counts.skipped.too_many, (world.disk.len().saturating_sub(files)) as u64);
    }
}
