//! Promise: whatever a power cut leaves, at any time, opens as exactly one committed state, no
//! older than the last durable one, with a consistent allocator. This also holds if the power is
//! cut again while the store is opened and changed further, three deep.
//!
//! The disk is simulated: synced data is there, and any part of the later writes, sector by
//! sector and word by word. For short histories, every image that a cut could leave at any time
//! is examined; for long ones, a random sample.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use flagstone::sim::{Cuts, History, Looked, Program, Random, Recording, SimDisk};
use flagstone::{Durability, Result};
use testkit::fixture::{fill_array, free_array, set_array, set_number};
use testkit::forge::SLOTS;
use testkit::histories::{cut_and_grow, punch};
use testkit::sim_run::{Fixture, Run};
use testkit::{is_long, seed};

/// Random images that the long mode examines.
const MANY_IMAGES: u64 = 5_000_000;
/// The length of an array that shrinks the heap when it is freed.
const LONG_ARRAY: u32 = 70_000;

/// Operations on a store that holds two arrays and a number.
type Short = fn(&mut Run<'_>) -> Result<()>;

/// Histories, each with the number of consecutive cuts for which every image is examined, and
/// that number in the long mode.
const SHORT: &[(&str, [u32; 2], Short)] = &[
    ("a durable commit", [1, 2], |run| number(run, Durability::Durable, 1)),
    ("a deferred commit", [0, 1], |run| number(run, Durability::Deferred, 1)),
    ("three commits", [0, 1], |run| {
        number(run, Durability::Deferred, 1)?;
        number(run, Durability::Deferred, 2)?;
        number(run, Durability::Durable, 3)
    }),
    ("a sync", [0, 1], |run| {
        number(run, Durability::Deferred, 1)?;
        run.sync()
    }),
    ("a record of some sectors", [0, 1], |run| {
        run.commit(Durability::Durable, |tx, model| fill_array(tx, model, 0, 1))
    }),
    ("a checkpoint", [0, 1], |run| {
        number(run, Durability::Deferred, 1)?;
        run.checkpoint()
    }),
    ("a checkpoint between commits", [0, 1], |run| {
        number(run, Durability::Durable, 1)?;
        run.checkpoint()?;
        number(run, Durability::Durable, 2)
    }),
    ("an orderly end", [0, 1], |run| {
        number(run, Durability::Deferred, 1)?;
        run.reopen()?;
        number(run, Durability::Durable, 2)
    }),
    ("the death of the process", [0, 1], |run| {
        number(run, Durability::Deferred, 1)?;
        run.die()?;
        number(run, Durability::Durable, 2)
    }),
    ("an allocation", [0, 1], |run| array(run, 2, 20)),
    ("growth", [0, 0], |run| array(run, 2, 1500)),
    ("an end that is freed, and used again", [0, 0], an_end_used_again),
    ("the file is cut, and grows again", [0, 0], cut_and_grow),
    ("free pages are given back, and used again", [0, 0], |run| {
        punch(run)?;
        array(run, 2, 60_000)?;
        run.checkpoint()
    }),
    ("a transaction larger than the log", [0, 0], |run| array(run, 2, 9000)),
    ("savepoints", [0, 1], savepoints),
    ("a reader that is held", [0, 0], |run| run.hold()),
];

fn number(run: &mut Run<'_>, durability: Durability, number: u64) -> Result<()> {
    run.commit(durability, |tx, model| set_number(tx, model, 0, number))
}

fn array(run: &mut Run<'_>, index: usize, len: u32) -> Result<()> {
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, index, len, 1))
}

fn an_end_used_again(run: &mut Run<'_>) -> Result<()> {
    array(run, 1, LONG_ARRAY)?;
    (0..3).try_for_each(|_| run.checkpoint())?;
    run.begin_here()?;
    run.commit(Durability::Deferred, |tx, model| free_array(tx, model, 1))?;
    run.checkpoint()?;
    array(run, 2, 1500)
}

fn savepoints(run: &mut Run<'_>) -> Result<()> {
    run.commit(Durability::Durable, |tx, model| {
        set_number(tx, model, 0, 1)?;
        let savepoint = tx.savepoint()?;
        let before = model.clone();
        set_array(tx, model, 2, 300, 1)?;
        tx.rollback_to(savepoint)?;
        *model = before;
        set_number(tx, model, 1, 2)
    })
}

fn recorded(fixture: &Fixture, history: Short) -> Result<Recording<u64>> {
    let mut run = Run::new(fixture, 1, true)?;
    run.commit(Durability::Durable, |tx, model| {
        set_number(tx, model, 0, 0)?;
        set_array(tx, model, 0, 200, 0)?;
        set_array(tx, model, 1, 200, 0)
    })?;
    run.checkpoint()?;
    run.begin_here()?;
    history(&mut run)?;
    Ok(run.end())
}

#[test]
fn every_image_of_short_histories() {
    let fixture = Fixture::small();
    let max_images = if is_long() { 1 << 16 } else { 1 << 10 };
    let mut images = 0;
    for (name, [depth, depth_if_long], history) in SHORT {
        let recording = recorded(&fixture, *history).expect(name);
        let mut cuts = Cuts::new(&fixture, seed(1));
        let depth = if is_long() { *depth_if_long } else { *depth };
        let looked = cuts.look_at_all(&recording, max_images, depth);
        let looked = looked.unwrap_or_else(|violation| panic!("{name}: {violation}"));
        let Looked { whole, sampled } = looked;
        println!("{name}: {} images; times: {whole} whole, {sampled} by chance", cuts.images());
        images += cuts.images();
    }
    println!("{images} images");
}

/// Returns the kinds of random runs: parameters, one run in how many, and images per run.
fn kinds() -> [(Fixture, u64, usize); 7] {
    [
        (Fixture::small().in_rounds(4), 4, 50),
        (Fixture::spilling().in_rounds(1), 16, 40),
        (Fixture::large().in_rounds(4), 64, 40),
        (Fixture::small(), 1, 50),
        (Fixture::of_collections(), 4, 50),
        (Fixture::spilling(), 8, 40),
        (Fixture::large(), 32, 40),
    ]
}

/// Makes a run of random steps, and cuts at random times; returns the number of images.
fn at_random(fixture: &Fixture, seed: u64, count: usize) -> u64 {
    let mut run = Run::new(fixture, seed, !seed.is_multiple_of(4)).expect("a store");
    for _ in 0..40 {
        run.step().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    let mut cuts = Cuts::new(fixture, seed);
    let looked = cuts.look(&run.end(), count, 3);
    looked.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    cuts.images()
}

/// Makes runs with consecutive seeds until there are enough images; each thread takes the next
/// free seed.
fn until_enough(enough: u64, seeds: &AtomicU64, images: &AtomicU64) {
    let kinds = kinds();
    while images.load(Relaxed) < enough {
        let seed = seeds.fetch_add(1, Relaxed);
        for (fixture, _, count) in kinds.iter().filter(|kind| seed.is_multiple_of(kind.1)) {
            images.fetch_add(at_random(fixture, seed, *count), Relaxed);
        }
        if seed.is_multiple_of(1000) {
            println!("{} images, seed {seed}", images.load(Relaxed));
        }
    }
}

#[test]
fn a_sample_of_images_of_random_histories() {
    let first = seed(1);
    let enough = if is_long() { MANY_IMAGES } else { 20_000 };
    let (seeds, images) = (AtomicU64::new(first), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| until_enough(enough, &seeds, &images));
        }
    });
    let [images, end] = [images, seeds].map(AtomicU64::into_inner);
    println!("{images} images, seeds {first} to {}", end - 1);
}

/// If a cut has torn one superblock, a second cut must not tear the other one.
#[test]
fn the_only_valid_superblock_is_not_overwritten() {
    let fixture = Fixture::small();
    let mut run = Run::new(&fixture, 1, false).expect("a store");
    number(&mut run, Durability::Durable, 1).expect("a commit");
    let image = run.disk.crash(&mut Random(1));
    for torn in SLOTS {
        let mut image = image.clone();
        image[torn + 64] ^= 1;
        let disk = SimDisk::new(image);
        disk.record();
        let store = disk.open(&fixture.options).expect("one superblock is good");
        let history = History::new(fixture.read(&store).expect("it can be read"));
        drop(store);
        let looked = Cuts::new(&fixture, 1).look(&Recording::of(&disk, history), 500, 0);
        looked.unwrap_or_else(|violation| panic!("{violation}"));
    }
}
