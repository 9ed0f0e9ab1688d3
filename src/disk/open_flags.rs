//! The flags that files are opened with.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

/// Returns options for reading a file that, for an instant, may not be a regular file.
pub(super) fn to_read() -> OpenOptions {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits() as i32);
    options
}

pub(super) fn read_and_write() -> OpenOptions {
    let mut options = to_read();
    options.write(true);
    options
}
