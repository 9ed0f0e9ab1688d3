//! The machine's page: the unit in which memory becomes private, is frozen and is given back
//! (docs/design/machine-pages.md). Machines have pages of 4, 16 or 64 KiB; the file's are of 4 KiB.

use std::sync::OnceLock;

use nix::unistd::{SysconfVar, sysconf};

use crate::format::{LARGEST_MACHINE_PAGE_BYTES, PAGE_BYTES};

/// The sizes on which this has been tested.
pub(crate) const MACHINE_PAGES_BYTES: [u64; 3] =
    [PAGE_BYTES, 4 * PAGE_BYTES, LARGEST_MACHINE_PAGE_BYTES];

/// Returns the bytes of the machine's page; in tests, of the one that they emulate.
#[inline]
pub(crate) fn machine_page_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| emulated_page_bytes().unwrap_or_else(system_page_bytes).max(PAGE_BYTES))
}

/// Returns how often a page number must be halved to get the number of its machine page.
#[inline]
pub(crate) fn machine_page_shift() -> u32 {
    (machine_page_bytes() / PAGE_BYTES).trailing_zeros()
}

/// Returns what the system says, or 0 if it says nothing.
pub(crate) fn system_page_bytes() -> u64 {
    // Not from the auxiliary vector: reading it aborts programs that run under valgrind.
    let found = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(0);
    u64::try_from(found).unwrap_or(0)
}

#[cfg(not(any(test, feature = "sim")))]
fn emulated_page_bytes() -> Option<u64> {
    None
}

/// Returns what the tests ask for: a multiple of the real page, so that whatever is aligned to it can
/// be had.
#[cfg(any(test, feature = "sim"))]
fn emulated_page_bytes() -> Option<u64> {
    const VARIABLE: &str = "FLAGSTONE_MACHINE_PAGE_BYTES";
    let text = std::env::var_os(VARIABLE)?;
    let bytes = text.to_str().and_then(|text| text.parse().ok());
    let is_possible = |bytes: &u64| {
        MACHINE_PAGES_BYTES.contains(bytes) && bytes.is_multiple_of(system_page_bytes().max(1))
    };
    Some(bytes.filter(is_possible).expect("FLAGSTONE_MACHINE_PAGE_BYTES is 4096, 16384 or 65536, and not less than the machine's page"))
}
