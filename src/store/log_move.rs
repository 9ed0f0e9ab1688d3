//! The transactions of the log's move: one allocates the new region, one frees the old one. This is
//! the one step that needs both allocator and log.
//!
//! They are commits like any others, and the thread that has just committed makes them, since it has
//! the writer's lock. A crash in between leaves a region that the superblock does not name;
//! `free_stale_regions` frees it before the first write.

use crate::alloc::{allocate_log_region, free_log_region};
use crate::engine::{Core, LogStep, Region, Writer};
use crate::error::Result;
use crate::format::heap::{HeapHeader, RegionRef};
use crate::workspace::Workspace;
use zerocopy::little_endian::U32;

/// Takes a step of the log's move, or puts the move off if that fails. The log then keeps its
/// length, or the store is poisoned, which the next flush or transaction reports. The caller
/// holds the writer's mutex, and no transaction is open. Returns whether the store's thread must look
/// when to flush.
pub(super) fn take_step(core: &Core, writer: &mut Writer, step: LogStep) -> bool {
    let taken = match step {
        LogStep::Allocate { bytes } => allocate(core, writer, bytes),
        LogStep::GrowAtOnce { bytes } => grow_at_once(core, writer, bytes),
        LogStep::Continue => Ok(false),
        LogStep::Free => free_stale_regions(core, writer),
    };
    if taken.is_err() {
        core.put_off_log_move();
    }
    taken.unwrap_or(false)
}

/// Makes the file longer by a region, and allocates it there.
fn allocate(core: &Core, writer: &mut Writer, bytes: u64) -> Result<bool> {
    let (region, is_flush_scheduled) = allocate_at_end(core, writer, bytes)?;
    core.note_log_region(region);
    Ok(is_flush_scheduled)
}

/// Gives the log the length again that it had before a process blocked checkpoints, if none does any
/// more. Does nothing while a transaction is open.
pub(super) fn shorten_if_due(core: &Core) -> Result<()> {
    if !core.is_shortening_due() {
        return Ok(());
    }
    let _hold = core.join_write_lock()?;
    let Some(mut writer) = core.lock_idle_writer() else { return Ok(()) };
    core.shorten_blocked_log()?;
    free_stale_regions(core, &mut writer).map(drop)
}

/// Moves the log of a store that several processes share to a region of `bytes` past the file's end,
/// within this hold of the write lock. Returns whether the store's thread must look when to flush.
pub(super) fn grow_at_once(core: &Core, writer: &mut Writer, bytes: u64) -> Result<bool> {
    // The header has no room for a third one.
    free_stale_regions(core, writer)?;
    let (region, _) = allocate_at_end(core, writer, bytes)?;
    core.move_log_at_once(region)?;
    free_stale_regions(core, writer)
}

fn allocate_at_end(core: &Core, writer: &mut Writer, bytes: u64) -> Result<(Region, bool)> {
    let Region { page, pages } = core.reserve_log_region(bytes)?;
    commit_region(core, writer, |workspace| {
        Ok(Region { page: allocate_log_region(workspace, page, pages)?, pages })
    })
}

/// Commits the transaction that allocates a region, in the way that the caller says, for
/// `Core::finish_log_move`.
pub(super) fn allocate_with(
    core: &Core,
    writer: &mut Writer,
    allocate: impl FnOnce(&mut Workspace) -> Result<Region>,
) -> Result<()> {
    let (region, _) = commit_region(core, writer, allocate)?;
    core.note_log_region(region);
    Ok(())
}

/// Commits the transaction that allocates a region. Also returns whether the store's thread must look
/// when to flush.
fn commit_region(
    core: &Core,
    writer: &mut Writer,
    allocate: impl FnOnce(&mut Workspace) -> Result<Region>,
) -> Result<(Region, bool)> {
    let live = core.log_region();
    let workspace = &mut writer.workspace;
    let allocated = allocate(workspace).and_then(|region| {
        set_regions(workspace, [live, region])?;
        Ok(region)
    });
    finish(core, writer, allocated)
}

/// Commits the log move's own transaction, or rolls it back. Nobody waits for it to be durable: the
/// move copies it and flushes the copy, and nothing needs the one that frees. Also returns whether the
/// store's thread must look when to flush.
pub(super) fn finish<T>(core: &Core, writer: &mut Writer, done: Result<T>) -> Result<(T, bool)> {
    let value = match done {
        Ok(value) => value,
        Err(error) => {
            core.roll_back(&mut writer.workspace)?;
            return Err(error);
        }
    };
    let committed = core.append_commit(writer, false)?;
    Ok((value, committed.flush_scheduled))
}

/// Frees log regions that the superblock does not name. Returns whether the store's thread must look
/// when to flush.
pub(super) fn free_stale_regions(core: &Core, writer: &mut Writer) -> Result<bool> {
    let live = core.log_region();
    let named = regions(&writer.workspace)?;
    let mut is_flush_scheduled = false;
    if named != [live, NONE] {
        let freed = free_others(&mut writer.workspace, live, named);
        (_, is_flush_scheduled) = finish(core, writer, freed)?;
    }
    core.note_no_stale_region();
    Ok(is_flush_scheduled)
}

/// Frees what the header names and is no log. The log may be the first part of a region.
fn free_others(workspace: &mut Workspace, live: Region, named: [Region; 2]) -> Result<()> {
    set_regions(workspace, [live, NONE])?;
    for Region { page, pages } in named {
        let kept = if page == live.page { live.pages } else { 0 };
        if pages > kept {
            free_log_region(workspace, page + kept, pages - kept)?;
        }
    }
    Ok(())
}

const NONE: Region = Region { page: 0, pages: 0 };

fn regions(workspace: &Workspace) -> Result<[Region; 2]> {
    let region = |region: RegionRef| Region {
        page: region.page.get().into(),
        pages: region.pages.get().into(),
    };
    Ok(workspace.header()?.log.map(region))
}

fn set_regions(workspace: &mut Workspace, regions: [Region; 2]) -> Result<()> {
    let region = |Region { page, pages }| RegionRef {
        page: U32::new(page as u32),
        pages: U32::new(pages as u32),
    };
    *workspace.header_mut(std::mem::offset_of!(HeapHeader, log))? = regions.map(region);
    workspace.adopt_length()
}
