//! Writes the seed corpus: `cargo run --manifest-path fuzz/Cargo.toml --bin seeds`.
//!
//! Nothing turns an input back into the bytes that `Arbitrary` reads it from. So targets of that
//! kind begin with random bytes, enough for all parts of an input.

use std::path::Path;

use flagstone_fuzz::samples::Ground;
use flagstone_fuzz::sparse_file::shorten;
use testkit::Random;

/// Fixtures that get a seed, each with the kind of its sample.
const FIXTURES: [(u8, usize); 4] = [(1, 0), (5, 1), (2, 2), (12, 3)];

fn main() -> std::io::Result<()> {
    let ground = Ground::default();
    for fixture in 0..flagstone_fuzz::collections_fixture::FIXTURES {
        let sizes = [0, 1, 2, 3].map(|kind| ground.sample(fixture, kind).bytes.len());
        println!("fixture {fixture}: {sizes:?} bytes");
    }
    for (fixture, kind) in FIXTURES {
        let file = &ground.sample(fixture.into(), kind).bytes;
        // In the short form, with all checksums repaired.
        let program = Random::new(fixture.into()).bytes(24);
        let seed = [&[0b1111 | fixture << 4, 0][..], &program, &shorten(file)].concat();
        put("open_bytes", &format!("fixture-{fixture}-kind-{kind}"), &seed)?;
    }
    for target in ["damage", "log", "ops", "share"] {
        for (number, len) in [40, 80, 160, 320, 640, 1280].into_iter().enumerate() {
            let seed = Random::new(number as u64).bytes(len);
            put(target, &format!("random-{len}"), &seed)?;
        }
    }
    Ok(())
}

fn put(target: &str, name: &str, seed: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), seed)?;
    println!("{target}/{name}: {} bytes", seed.len());
    Ok(())
}
