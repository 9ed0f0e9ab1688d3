//! Moves the log to a larger region, the one step that needs both allocator and log.
//!
//! The new region is written past the end of the file; a durable transaction allocates it; the log
//! moves; and a second transaction frees the old region. A crash in between leaves a region that
//! the superblock does not name; `free_stale_regions` frees it before the first write.

use crate::alloc::{allocate_log_region, free_log_region};
use crate::engine::{Core, Writer};
use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::format::heap::{HeapHeader, RegionRef};
use crate::workspace::Workspace;
use zerocopy::little_endian::U32;

/// Moves the log to a region of `log_bytes`, or postpones the move if it fails. The log then keeps
/// its length, or the store is poisoned, which the next flush or transaction reports. The caller
/// holds the writer's mutex, and no transaction is open.
pub(super) fn try_to_grow(core: &Core, writer: &mut Writer, log_bytes: u64) {
    if grow(core, writer, log_bytes).is_err() {
        core.put_off_log_move();
    }
}

fn grow(core: &Core, writer: &mut Writer, log_bytes: u64) -> Result<()> {
    let pages = log_bytes / PAGE_BYTES;
    let page = core.prepare_log_region(pages)?;
    let old = core.log_region();
    let allocated = allocate(&mut writer.workspace, page, pages, old);
    finish(core, writer, allocated)?;
    let moved = core.move_log(writer, page, pages);
    // After a failed move too: the allocated region belongs to no log then.
    free_stale_regions(core, writer)?;
    moved
}

fn allocate(workspace: &mut Workspace, page: u64, pages: u64, old: (u64, u64)) -> Result<()> {
    let found = allocate_log_region(workspace, page, pages)?;
    if found != page {
        return Err(ErrorKind::corrupt("new log region (page)", 0, page, found));
    }
    set_regions(workspace, [old, (page, pages)])
}

/// Durably commits the log move's own transaction, or rolls it back.
fn finish<T>(core: &Core, writer: &mut Writer, done: Result<T>) -> Result<T> {
    let value = match done {
        Ok(value) => value,
        Err(error) => {
            core.roll_back(&mut writer.workspace)?;
            return Err(error);
        }
    };
    core.append_commit(writer, true)?;
    core.sync()?;
    Ok(value)
}

/// Frees log regions that the superblock does not name.
pub(super) fn free_stale_regions(core: &Core, writer: &mut Writer) -> Result<()> {
    let live = core.log_region();
    let named = regions(&writer.workspace)?;
    if named == [live, (0, 0)] {
        return Ok(());
    }
    let freed = free_others(&mut writer.workspace, live, named);
    finish(core, writer, freed)
}

fn free_others(workspace: &mut Workspace, live: (u64, u64), named: [(u64, u64); 2]) -> Result<()> {
    set_regions(workspace, [live, (0, 0)])?;
    let mut others = named.into_iter().filter(|region| *region != live && region.1 != 0);
    others.try_for_each(|(page, pages)| free_log_region(workspace, page, pages))
}

fn regions(workspace: &Workspace) -> Result<[(u64, u64); 2]> {
    let numbers = |region: RegionRef| (region.page.get().into(), region.pages.get().into());
    Ok(workspace.header()?.log.map(numbers))
}

fn set_regions(workspace: &mut Workspace, regions: [(u64, u64); 2]) -> Result<()> {
    let region =
        |(page, pages)| RegionRef { page: U32::new(page as u32), pages: U32::new(pages as u32) };
    let regions = regions.map(region);
    *workspace.header_mut(std::mem::offset_of!(HeapHeader, log))? = regions;
    workspace.adopt_length()
}
