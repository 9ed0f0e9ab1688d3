//! Shortens the heap as far as its end is not needed, when the store is closed.
//!
//! While the store is open, a few free pages at the end and an empty slab stay: they are likely to be
//! needed soon. One of them at the end of a long file would keep all of its length.

use crate::error::Result;
use crate::workspace::Workspace;

use super::allocate::slabs_of;
use super::segments::{cut_free_run, drop_last_chunk};
use super::slabs;

/// The empty slabs that are freed at most: one for each list whose slabs lie at the heap's end.
const MAX_SLABS: usize = 1024;

/// Cuts free pages off the heap's end, and frees empty slabs there.
pub(crate) fn trim_end(workspace: &mut Workspace) -> Result<()> {
    for _ in 0..MAX_SLABS {
        cut_free_run(workspace, 1)?;
        while drop_last_chunk(workspace)? {}
        let last = workspace.heap_pages() - 1;
        let Some(slabs) = slabs_of(workspace, last)? else { break };
        if !slabs::free_if_empty(workspace, last, &slabs)? {
            break;
        }
    }
    Ok(())
}
