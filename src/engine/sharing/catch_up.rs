//! Hands the log's end from one holder of the write lock to the next.
//!
//! **Owns** the words of the coordination page that name it (P2), and how the writer's image follows
//! what other processes appended.

use std::sync::atomic::Ordering::SeqCst;

use super::state::Sharing;
use crate::engine::core::Core;
use crate::engine::replay_horizon::ReplayHorizon;
use crate::engine::state::{EndOfLog, LogState, Writer};
use crate::error::Result;
use crate::format::superblock::Superblock;
use crate::image::{Checkpointed, Image, PageSet, Use, open_image};
use crate::log::LogSource;
use crate::sync::atomic::Ordering::Release;
use crate::sync::lock;

impl Core {
    /// Publishes the log's end for the next holder.
    pub(super) fn publish_end(&self, sharing: &Sharing) {
        // Look up the page anew for each word: the process can be killed between two of them, and
        // the simulated process is.
        let end = || &sharing.page().end;
        let generation = self.lock_checkpointer().last.generation.get();
        end().generation.store(generation, SeqCst);
        let log = lock(&self.log);
        let (windows, is_pending) = log.ends.words();
        end().appended.store(log.tail.appended, SeqCst);
        end().prev_checksum.store(log.tail.prev_checksum, SeqCst);
        end().durable.store(log.tail.durable, SeqCst);
        end().heap_bytes.store(log.heap_bytes, SeqCst);
        end().checkpoint.store(log.checkpoint, SeqCst);
        end().is_checkpoint_pending.store(u64::from(is_pending), SeqCst);
        end().durable_room_bytes.store(self.growth.durable_bytes(), SeqCst);
        for (index, value) in windows.into_iter().enumerate() {
            end().heap_ends[index].store(value, SeqCst);
        }
    }

    /// Learns what other processes did since this one's last hold. The last holder released in
    /// order.
    pub(super) fn catch_up(&self, sharing: &Sharing) -> Result<()> {
        let published = PublishedEnd::read(sharing);
        self.expect_connected(sharing)?;
        let mut checkpointer = self.lock_checkpointer();
        if checkpointer.last.generation.get() != published.generation {
            (checkpointer.last, checkpointer.slot) = self.read_superblock()?;
        }
        checkpointer.drop_image_unless_at_last();
        self.follow_ring(sharing)?;
        let mut log = lock(&self.log);
        published.adopt(&mut log, &checkpointer.last);
        self.checkpointed.store(checkpointer.last.position.get(), Release);
        self.visible.store(log.tail.visible(), Release);
        self.durable.store(log.tail.durable, Release);
        let refreshed = self.growth.refresh(published.durable_room_bytes);
        refreshed.map_err(self.io_error("look at the file's length"))
    }

    /// Advances the writer's image to the log's end, under the write lock.
    pub(in crate::engine) fn follow_others(&self, writer: &mut Writer) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let end = self.end_of_log().position;
        self.bring_workspace_to(sharing, writer, end)
    }

    pub(super) fn bring_workspace_to(
        &self,
        sharing: &Sharing,
        writer: &mut Writer,
        position: u64,
    ) -> Result<()> {
        let image = writer.workspace.image_mut();
        loop {
            let from = image.position();
            if from >= position {
                return Ok(());
            }
            let source = self.follow_ring(sharing)?;
            let is_kept = || {
                let is_kept = sharing.is_log_kept_from(from, &source.ring);
                is_kept.map_err(|error| self.cut_off(&error))
            };
            let advanced = match is_kept()? {
                true => self.advance_noting(image, &source, position),
                false => Ok(PageSet::default()),
            };
            // A checkpoint that did not see the slot of a new process may overtake it.
            if is_kept()? {
                lock(&self.log).dirty.note_followed(position, &advanced?);
                return Ok(());
            }
            let (block, _) = self.read_superblock()?;
            lock(&self.log).dirty.superblock_moved(block.position.get());
            let (last, traits) = (Checkpointed::of(&block), self.settings.image_traits(&block));
            *image = open_image(&*self.disk, last, traits)?;
            image.charge_to(&self.account, Use::Writer);
        }
    }

    /// Advances the writer's image, and returns the pages of records that are not noted yet.
    fn advance_noting(
        &self,
        image: &mut Image,
        source: &LogSource,
        position: u64,
    ) -> Result<PageSet> {
        let noted_to = lock(&self.log).dirty.noted_to().min(position);
        if image.position() < noted_to {
            image.advance(source, noted_to, &mut PageSet::default())?;
        }
        let mut pages = PageSet::default();
        image.advance(source, position, &mut pages)?;
        Ok(pages)
    }
}

/// The log's end as the last holder published it.
struct PublishedEnd {
    /// The newest superblock's number.
    generation: u64,
    end: EndOfLog,
    start: u64,
    durable: u64,
    /// Position at which the last checkpoint began.
    checkpoint: u64,
    ends: ReplayHorizon,
    durable_room_bytes: u64,
}

impl PublishedEnd {
    /// Reads it; the caller then checks that the page is still the shared one (P6).
    fn read(sharing: &Sharing) -> Self {
        let words = &sharing.page().end;
        let windows = words.heap_ends.each_ref().map(|word| word.load(SeqCst));
        let is_pending = words.is_checkpoint_pending.load(SeqCst) != 0;
        Self {
            generation: words.generation.load(SeqCst),
            end: EndOfLog {
                position: words.appended.load(SeqCst),
                prev_checksum: words.prev_checksum.load(SeqCst),
                heap_bytes: words.heap_bytes.load(SeqCst),
            },
            start: sharing.page().start.load(SeqCst),
            durable: words.durable.load(SeqCst),
            checkpoint: words.checkpoint.load(SeqCst),
            ends: ReplayHorizon::of(windows, is_pending),
            durable_room_bytes: words.durable_room_bytes.load(SeqCst),
        }
    }

    fn adopt(&self, log: &mut LogState, last: &Superblock) {
        let (epoch, superblock) = (last.epoch.get(), last.position.get());
        log.adopt(epoch, self.start, self.end, self.ends, superblock);
        log.tail.durable = self.durable;
        log.checkpoint = self.checkpoint;
    }
}
