//! Clean close: completes the heap, empties the log, and cuts the file to the heap's length.

use zerocopy::little_endian::U32;

use super::{Core, lock};
use crate::error::Result;
use crate::format::superblock::FLAG_CLEAN;
use crate::mutation::Mutation;

impl Core {
    /// Brings the file to rest. Writes nothing if nothing changed since the store was opened.
    pub(crate) fn close(&self) -> Result<()> {
        self.expect_own_process()?;
        let mut checkpointer = lock(&self.checkpointer);
        if !checkpointer.begun {
            return Ok(());
        }
        if self.mutation(Mutation::CleanBeforeCheckpoint) {
            self.write_superblock(&mut checkpointer, |block| block.flags = U32::new(FLAG_CLEAN))?;
        }
        self.run_checkpoint(&mut checkpointer)?;
        self.write_superblock(&mut checkpointer, |block| block.flags = U32::new(FLAG_CLEAN))?;
        self.cut_to_heap(checkpointer.last.heap_bytes.get())?;
        checkpointer.begun = false;
        Ok(())
    }

    /// Cuts the file. Both superblocks name the same state, and no image will read beyond it.
    fn cut_to_heap(&self, heap_bytes: u64) -> Result<()> {
        let in_images = lock(&self.pool).longest_heap_bytes();
        let cut = self.growth.truncate(heap_bytes.max(in_images));
        cut.map_err(|error| self.poisoned_by("cut the file", error))?;
        self.sync_heap("sync the file's length")
    }
}
