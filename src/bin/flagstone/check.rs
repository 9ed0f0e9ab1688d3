//! `flagstone check`: checks a store for damage.

use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

use clap::Args;
use flagstone::{Report, Store};

use crate::failure::Failure;
use crate::outcome::Outcome;

/// Check a store for damage.
///
/// Prints a line for each finding: the place in the heap, and what is wrong. Counts unreachable
/// allocations and dangling links, which are not damage, since a program may intend them. Exits
/// with 0 if there is no damage, and with 1 if there is.
#[derive(Args)]
pub struct Arguments {
    /// The store's file.
    store: PathBuf,

    /// Show each unreachable allocation and each dangling link.
    #[arg(short, long)]
    verbose: bool,
}

pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let report = check(&arguments.store).map_err(|error| match error.kind() {
        flagstone::ErrorKind::NoSuchFile { path } => Failure::NoSuchFile(path.clone()),
        _ => error.into(),
    })?;
    let mut out = BufWriter::new(stdout().lock());
    let shown = show(&report, arguments.verbose, &mut out).and_then(|()| out.flush());
    let outcome = if report.is_clean() { Outcome::Sound } else { Outcome::Findings };
    outcome.told(shown)
}

#[expect(unsafe_code, reason = "looking at a file is the user's promise about it")]
fn check(path: &Path) -> flagstone::Result<Report> {
    // SAFETY: no other program is expected to change a file that the user names as a store; the
    // store's lock keeps other flagstone processes out.
    unsafe { Store::check_file(path) }
}

fn show(report: &Report, verbose: bool, out: &mut impl Write) -> std::io::Result<()> {
    for finding in &report.findings {
        writeln!(out, "{finding}")?;
    }
    if let Some(end) = &report.torn_end {
        writeln!(out, "note: {end}")?;
    }
    let (lost, dangling) = (&report.unreachable, &report.dangling);
    if verbose {
        lost.listed.iter().try_for_each(|one| writeln!(out, "{one}"))?;
        dangling.listed.iter().try_for_each(|one| writeln!(out, "{one}"))?;
    }
    writeln!(
        out,
        "{} pages, {} findings; {} unreachable allocations of {} bytes, {} dangling links",
        report.pages,
        report.findings.len(),
        lost.allocations,
        lost.len_bytes,
        dangling.links
    )
}
