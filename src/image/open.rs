//! Makes a new image from the heap in the file.
//!
//! The heap in the file is complete up to the last checkpoint, so an image begins there (I2), and
//! the log's records bring it further.

use crate::disk::Disk;
use crate::error::{ErrorKind, Result, io_error};
use crate::format::heap_room_bytes;
use crate::format::superblock::Superblock;
use crate::map::Excluded;

use super::view::{Image, ImageTraits};

/// The state up to which the heap in the file is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkpointed {
    /// The state's log position.
    pub(crate) position: u64,
    /// The heap's length in that state.
    pub(crate) heap_bytes: u64,
}

impl Checkpointed {
    /// Returns the state that a superblock names.
    pub(crate) fn of(block: &Superblock) -> Self {
        Self { position: block.position.get(), heap_bytes: block.heap_bytes.get() }
    }
}

/// Opens a new image of the heap as the file holds it. Its bounds are right once records have
/// been applied and `finish_replay` was called.
pub(crate) fn open_image(
    disk: &dyn Disk,
    checkpoint: Checkpointed,
    traits: ImageTraits,
) -> Result<Image> {
    let file = disk.len_bytes().map_err(io_error("look at the file's length", disk.path()))?;
    let room = heap_room_bytes(file);
    expect_room(room, checkpoint.heap_bytes)?;
    let mut map = disk.map_heap(room).map_err(io_error("map the heap", disk.path()))?;
    map.set_view(checkpoint.heap_bytes, [Excluded::default(); 2]);
    let mut image = Image::new(map, checkpoint.position, traits);
    image.refresh_holes()?;
    Ok(image)
}

/// Checks that a heap of `heap_bytes` fits into the file, which has room for `room_bytes`.
pub(super) fn expect_room(room_bytes: u64, heap_bytes: u64) -> Result<()> {
    if heap_bytes <= room_bytes {
        return Ok(());
    }
    let found = format!("room for {room_bytes}");
    Err(ErrorKind::corrupt("heap's room in the file", room_bytes, heap_bytes, found))
}
