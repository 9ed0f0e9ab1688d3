//! Makes the file short before the store is closed: the log goes back to its length without load, and
//! to the beginning of the heap if that lets the file be cut; and the space of free pages is given
//! back.
//!
//! docs/design/log-length.md argues the steps. **Must not know** how a log is moved (`engine`), or
//! which pages are free (`alloc`).

use crate::alloc::{
    allocate_log_region_within, heap_pages_without, long_free_runs, trim_end, unused_runs,
};
use crate::engine::{Core, Region, Writer};
use crate::error::Result;
use crate::format::PAGE_BYTES;

use super::log_move::{allocate_with, finish, free_stale_regions};

/// The file is made shorter if that saves this fraction of it, or so many pages.
const SHARE_SAVED: u64 = 4;
const PAGES_SAVED: u64 = (1 << 20) / PAGE_BYTES;
/// The free runs that are considered. More are possible in a heap of gigabytes; what they hold is
/// not looked for, so that closing takes a bounded time.
const MAX_RUNS: usize = 256;
/// Shorter free runs keep their space: each hole is a piece more of which the file consists.
const MIN_PUNCHED_PAGES: u64 = (256 << 10) / PAGE_BYTES;
/// How often the log may be settled: what its move frees can make room for it still further down.
const MAX_MOVES: usize = 3;

/// Where the log is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Where it is, with so many pages.
    Here { pages: u64 },
    /// To the beginning of a free run.
    Within { run: (u64, u64), pages: u64 },
}

/// Makes the file shorter, as far as that is possible. Returns the free pages whose space can be given
/// back once the file has this state. A failure leaves the file longer, or poisons the store, which
/// closing it reports.
pub(super) fn tidy(core: &Core) -> Vec<(u64, u64)> {
    // A transaction that the program has leaked never ends.
    let Some(mut writer) = core.try_lock_writer_alone() else { return Vec::new() };
    let _ = settle(core, &mut writer);
    unused_runs(&writer.workspace, MIN_PUNCHED_PAGES, MAX_RUNS).unwrap_or_default()
}

fn settle(core: &Core, writer: &mut Writer) -> Result<()> {
    free_stale_regions(core, writer)?;
    for _ in 0..MAX_MOVES {
        trim(core, writer)?;
        let Some(place) = choose_place(core, writer)? else { return Ok(()) };
        // Until the log is empty, a page that is free now may be used by a state that can be replayed.
        core.empty_log()?;
        let settled = match place {
            Place::Here { pages } => core.shorten_log(pages),
            Place::Within { run, pages } => move_within(core, writer, run, pages),
        };
        free_stale_regions(core, writer)?;
        settled?;
    }
    trim(core, writer)
}

/// Frees what is not needed at the heap's end, if that is worth a record.
fn trim(core: &Core, writer: &mut Writer) -> Result<()> {
    let before = writer.workspace.heap_pages();
    let trimmed = trim_end(&mut writer.workspace);
    if trimmed.is_ok() && !is_worth_it(before, writer.workspace.heap_pages()) {
        return core.roll_back(&mut writer.workspace);
    }
    finish(core, writer, trimmed).map(drop)
}

/// Moves the log to the beginning of a free run.
fn move_within(core: &Core, writer: &mut Writer, run: (u64, u64), pages: u64) -> Result<()> {
    allocate_with(core, writer, |workspace| {
        let page = allocate_log_region_within(workspace, run, pages)?;
        Ok(Region { page, pages })
    })?;
    core.finish_log_move()
}

/// Returns where the log should be, if that is worth its move.
fn choose_place(core: &Core, writer: &Writer) -> Result<Option<Place>> {
    let (image, log) = (&writer.workspace, core.log_region());
    let pages = (core.idle_log_bytes() / PAGE_BYTES).min(log.pages);
    // The heap's end without the log: before it if nothing in use follows it.
    let end = heap_pages_without(image, log.page, log.pages)?;
    let is_last = end <= log.page;
    let here = if is_last { log.page + pages } else { image.heap_pages() };
    if is_worth_it(here, end) {
        let runs = long_free_runs(image, pages, MAX_RUNS)?;
        let lowest = runs.into_iter().filter(|(page, _)| *page < log.page).min();
        if let Some(run) = lowest
            && is_worth_it(here, end.max(run.0 + pages))
        {
            return Ok(Some(Place::Within { run, pages }));
        }
    }
    Ok((pages < log.pages).then_some(Place::Here { pages }))
}

/// Returns whether a shorter heap is worth what it costs.
fn is_worth_it(before: u64, after: u64) -> bool {
    before.saturating_sub(after) >= PAGES_SAVED.min(before / SHARE_SAVED)
}
