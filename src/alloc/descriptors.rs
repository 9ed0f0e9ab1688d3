//! Changes of page descriptors, and of the numbers that lead to them.

use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::format::heap::PageDescriptor;
use crate::workspace::Workspace;

use zerocopy::little_endian::U32;

/// Replaces a page's descriptor.
pub(super) fn set_descriptor(
    workspace: &mut Workspace,
    page: u64,
    new: PageDescriptor,
) -> Result<()> {
    let offset = workspace.descriptor_offset(page)?;
    *workspace.pod_mut("page descriptor", offset)? = new;
    Ok(())
}

/// Sets a 32-bit number anywhere else.
pub(super) fn set_u32(
    workspace: &mut Workspace,
    what: &'static str,
    offset: u64,
    value: u64,
) -> Result<()> {
    *workspace.pod_mut(what, offset)? = U32::new(value as u32);
    Ok(())
}

/// Sets a 32-bit field of the heap's header.
pub(super) fn set_in_header(workspace: &mut Workspace, offset: usize, value: u64) -> Result<()> {
    *workspace.header_mut(offset)? = U32::new(value as u32);
    Ok(())
}

/// Returns the error for a page whose descriptor is not the expected one.
#[cold]
pub(super) fn bad_page(
    page: u64,
    expected: &str,
    found: impl std::fmt::Display,
) -> crate::error::Error {
    ErrorKind::corrupt("page descriptor (page's offset)", page * PAGE_BYTES, expected, found)
}
