//! Promise: `check` finds no damage in what a power cut leaves, wherever it hits the store: in a
//! commit, a checkpoint, a file extension, a log move or a recovery. A torn superblock is the
//! exception: `check` reports it, since only the other superblock is left.

use flagstone::sim::{MemoryDisk, Random, SimDisk};
use flagstone::{Durability, OpenOptions, Result, Store};
use testkit::{TestResult, is_long, seed};

/// Returns options with a small log, which fills up soon and may move and grow.
fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024).max_log_bytes(512 * 1024)
}

/// Makes twelve transactions, some of which exceed the log.
fn work(store: &Store, random: &mut Random, from: u64) -> Result<()> {
    for number in from..from + 12 {
        let mut tx = store.write()?;
        if random.below(2) == 0 {
            tx.set_durability(Durability::Deferred);
        }
        testkit::full_fixture::step(&mut tx, number)?;
        if random.below(4) == 0 {
            let len = [100, 5_000, 40_000, 200_000][random.below(4) as usize];
            let old = tx.root::<[u64]>("load")?;
            let load = tx.alloc_slice((0..len as u32).map(|x| u64::from(x) ^ number))?;
            tx.set_root("load", load)?;
            if !old.is_null() && random.below(2) == 0 {
                tx.free(old)?;
            }
        }
        match random.below(8) {
            0 => tx.rollback(),
            _ => tx.commit()?,
        }
        match random.below(6) {
            0 => store.checkpoint()?,
            1 => store.sync()?,
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn on_whatever_a_power_cut_leaves() -> TestResult {
    let seed = seed(1);
    let histories = if is_long() { 3000 } else { 60 };
    let (mut images, mut torn, mut half) = (0, 0, 0);
    for history in 0..histories {
        let mut random = Random(seed.wrapping_add(history << 32));
        let (store, disk) = SimDisk::create(&options())?;
        store.update(|tx| testkit::full_fixture::step(tx, 0))?;
        disk.fail_after(random.below(600));
        let mut from = 1;
        let (mut store, mut disk) = (Some(store), disk);
        for depth in 0..3 {
            if let Some(store) = store.take() {
                // The power may fail during this.
                let _ = work(&store, &mut random, from);
                if random.below(2) == 0 {
                    let _ = store.close();
                }
            }
            for _ in 0..4 {
                let image = MemoryDisk::of(disk.crash(&mut random));
                let report = image.check()?;
                let place = format!("FLAGSTONE_SEED={seed}, history {history}, depth {depth}");
                let of_superblock = |what: &str| what.starts_with("superblock: the checksum");
                let mut others = report.findings.iter().filter(|f| !of_superblock(&f.what));
                if let Some(finding) = others.next() {
                    panic!("{place}: {finding}");
                }
                half += u64::from(!report.is_clean());
                images += 1;
                torn += u64::from(report.torn_end.is_some());
            }
            disk = SimDisk::new(disk.crash(&mut random));
            disk.fail_after(random.below(200));
            store = disk.open(&options()).ok();
            from += 12;
        }
    }
    println!(
        "{images} images, {torn} with a torn record at the log's end, {half} with one superblock"
    );
    assert!(torn > 0 && half < images / 4);
    Ok(())
}
