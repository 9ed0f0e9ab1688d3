//! `flagstone check`: is a store sound?

use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

use clap::Args;
use flagstone::{Report, Store};

use crate::Outcome;
use crate::failure::Failure;

/// Look through a store for damage.
///
/// Each finding is a line: where in the heap, and what is wrong. Memory that no root
/// reaches and links that lead to nothing live are counted; they are no damage, since
/// a program may mean them. Ends with 0 if there is no damage, and with 1 if there is.
#[derive(Args)]
pub struct Arguments {
    /// The store's file.
    store: PathBuf,

    /// Show each allocation that no root reaches, and each link that dangles.
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
    // SAFETY: nobody but this program is expected to change a file that its
    // user names as a store; the store's lock keeps other flagstones out.
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
        "{} pages, {} findings; {} allocations of {} bytes that no root reaches, {} links that dangle",
        report.pages,
        report.findings.len(),
        lost.allocations,
        lost.len_bytes,
        dangling.links
    )
}
