//! Promise: whatever a power cut leaves, at any time, opens as exactly one committed
//! state, none older than the last durable one, with the allocator in order; also
//! when the power is cut again while the store is opened and changed on, three deep.
//!
//! The disk is a simulated one: what was synced is there, and of what was written
//! since any part, sector by sector and word by word.

mod common;

use common::campaign::{Cabinets, Run};
use common::seed;
use flagstone::sim::{Cuts, Random};

fn run(cabinets: &Cabinets, seed: u64, steps: usize, images: usize) -> u64 {
    let mut run = Run::new(cabinets, seed, seed % 2 == 0).expect("a store");
    for _ in 0..steps {
        run.step().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    let mut cuts = Cuts::new(cabinets, seed);
    let depth = 3;
    let looked = cuts.look(&run.end(), images, depth);
    looked.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    cuts.images()
}

#[test]
fn cuts_by_chance() {
    let first = seed(1);
    let mut images = 0;
    let started = std::time::Instant::now();
    for seed in first..first + 40 {
        images += run(&Cabinets::small(), seed, 40, 60);
    }
    println!("{images} images from seed {first} on, {:?}", started.elapsed() / images as u32);
    let _ = Random(1);
}
