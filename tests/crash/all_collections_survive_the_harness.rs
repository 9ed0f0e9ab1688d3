//! Promise: a linked list and all collections survive power cuts and SIGKILLs at any point, as
//! one of their committed states.

use flagstone::harness::{Harness, Kills, Summary, structures};
use testkit::{is_long, seed};

fn run_all(kills: Kills, runs: u64) -> Summary {
    let runs = if is_long() { runs * 200 } else { runs };
    let harness = Harness::new().seed(seed(1)).kills(kills).runs(runs).steps(150);
    let mut all = Summary::default();
    for structure in structures::ALL {
        let summary = structure
            .run(&harness)
            .unwrap_or_else(|failure| panic!("{}: {failure}", structure.name));
        println!("{:10} {summary}", structure.name);
        all += summary;
    }
    all
}

#[test]
fn power_cuts() {
    let all = run_all(Kills::PowerCuts, 12);
    assert!(all.power_cuts > 2000 && all.images > 1500, "{all}");
}

#[test]
fn sigkills() {
    let all = run_all(Kills::Sigkill, 2);
    assert!(all.sigkills > 100, "{all}");
}
