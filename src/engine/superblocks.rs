//! The superblocks: reading, choosing, writing and advancing them.
//!
//! **Owns** the two slots before the heap (E2). A write goes to one slot and is synced before the
//! next write, so the other slot holds a complete state meanwhile. **Must not know** when a step of
//! the protocol moves them: `checkpoint`, `rounds`, `log_move` and `sharing::takeover` do.

use std::path::Path;

use zerocopy::little_endian::{U32, U64};

use super::core::Core;
use super::flush_leader::SyncFor;
use super::sharing::state::POLL_INTERVAL;
use super::state::{Checkpointer, EndOfLog};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result, io_error};
use crate::format::superblock::{
    EARLIER_SLOT_BYTES, FLAG_CLEAN, MAGIC, SLOT_OFFSETS_BYTES, Superblock, Unusable, is_unfinished,
};
use crate::format::{FORMAT_VERSION, HEAP_START_BYTES, PAGE_BYTES};
use crate::mutation::{ActiveMutation, Mutation};
use crate::sync::lock;

/// The newest superblock.
pub(super) struct Newest {
    /// The slot to write first: its own, or the other one if the other is damaged.
    pub(super) slot: usize,
    pub(super) block: Superblock,
    /// Whether the other superblock is valid as well.
    pub(super) both_valid: bool,
}

impl Newest {
    /// Returns the slot that holds this superblock.
    pub(super) fn own_slot(&self) -> usize {
        self.slot ^ usize::from(!self.both_valid)
    }
}

impl Core {
    /// Reads everything before the heap, while no superblock is being written.
    pub(crate) fn read_head(&self) -> Result<Vec<u8>> {
        let _hold = self.join_write_lock()?;
        let _checkpointer = self.lock_checkpointer();
        read_head(&*self.disk, &self.path)
    }

    /// Chooses the newest superblock of a store that this process has open.
    pub(super) fn choose_superblock(&self) -> Result<Newest> {
        choose(&*self.disk, &self.path, self.settings.mutation)
    }

    /// Reads the newest superblock and its slot. Repeats a read during which another process wrote
    /// both and they appear torn.
    pub(super) fn read_superblock(&self) -> Result<(Superblock, usize)> {
        const MAX_READS: usize = 5;
        let mut newest = self.choose_superblock();
        for _ in 1..MAX_READS {
            if newest.is_ok() {
                break;
            }
            crate::sync::sleep(POLL_INTERVAL);
            newest = self.choose_superblock();
        }
        let newest = newest?;
        let slot = newest.own_slot();
        Ok((newest.block, slot))
    }

    /// Makes both superblocks name a new epoch, before the first append.
    pub(super) fn begin_epoch(&self, checkpointer: &mut Checkpointer) -> Result<()> {
        checkpointer.begun |= self.mutation(Mutation::CleanFlagKept);
        if checkpointer.begun {
            return Ok(());
        }
        let end = self.end_of_log();
        self.begin_epoch_at(checkpointer, end)
    }

    /// Writes both superblocks with a new epoch. The newest is overwritten first: if the page cache
    /// showed one that the disk does not have, the other remains a complete state until this one is
    /// durable. If the other one is damaged, usually torn by a power cut, it is written first: a
    /// cut at this point must not tear the only good one.
    pub(super) fn begin_epoch_at(
        &self,
        checkpointer: &mut Checkpointer,
        end: EndOfLog,
    ) -> Result<()> {
        let epoch = match self.mutation(Mutation::EpochKept) {
            false => U64::new(self.random()?),
            true => checkpointer.last.epoch,
        };
        let renew = |block: &mut Superblock| {
            block.epoch = epoch;
            point_to(block, end);
        };
        self.rewrite_superblock(checkpointer, renew)?;
        self.write_superblock(checkpointer, renew)?;
        lock(&self.log).tail.epoch = epoch.get();
        checkpointer.begun = true;
        Ok(())
    }

    /// Says in both superblocks that replay must get to `reach`, before the heap in the file holds
    /// what records up to there say. If one of them is damaged, it is written first. Does so even if
    /// the chosen one has this reach: it may have been read from the page cache alone, and the other
    /// one is all that is left when that one is torn.
    pub(super) fn raise_reach(&self, checkpointer: &mut Checkpointer, reach: u64) -> Result<()> {
        let is_trusted = self.mutation(Mutation::CachedReachTrusted);
        if is_trusted && checkpointer.last.reach.get() >= reach {
            return Ok(());
        }
        let raise = |block: &mut Superblock| block.reach = U64::new(reach);
        self.rewrite_superblock(checkpointer, raise)?;
        self.unless(Mutation::ReachInOneSuperblock, || self.write_superblock(checkpointer, raise))
    }

    /// Makes both superblocks name the state at `end`, the older one first.
    pub(super) fn advance_superblocks(
        &self,
        checkpointer: &mut Checkpointer,
        end: EndOfLog,
    ) -> Result<()> {
        let advance = |block: &mut Superblock| point_to(block, end);
        self.write_superblock(checkpointer, advance)?;
        self.unless(Mutation::LogFreedAfterOneSuperblock, || {
            self.write_superblock(checkpointer, advance)
        })
    }

    /// Marks the store as closed, in the older superblock.
    pub(super) fn mark_clean(&self, checkpointer: &mut Checkpointer) -> Result<()> {
        self.write_superblock(checkpointer, |block| block.flags = U32::new(FLAG_CLEAN))
    }

    /// Writes the newest superblock over itself. If the page cache shows one that the disk does not
    /// have, the other one stays valid until this one is durable.
    pub(super) fn persist_newest_superblock(&self, checkpointer: &mut Checkpointer) -> Result<()> {
        self.rewrite_superblock(checkpointer, |_| ())
    }

    /// Writes the next superblock into the slot of the older one, and syncs.
    pub(super) fn write_superblock(
        &self,
        checkpointer: &mut Checkpointer,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<()> {
        checkpointer.slot ^= 1;
        self.rewrite_superblock(checkpointer, change)
    }

    /// Writes the next superblock over the newest one.
    fn rewrite_superblock(
        &self,
        checkpointer: &mut Checkpointer,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<()> {
        let block = self.put_in_slot(checkpointer, change)?;
        let is_synced_with_the_other =
            checkpointer.slot == 0 && self.mutation(Mutation::SuperblocksInOneSync);
        if !is_synced_with_the_other {
            self.pace.note_sync(self.sync_heap(SyncFor::Checkpoint, "sync a superblock")?);
        }
        checkpointer.last = block;
        Ok(())
    }

    /// Writes the next superblock into the slot of the older one. The caller syncs it before the
    /// next one is written.
    pub(super) fn put_superblock(
        &self,
        checkpointer: &mut Checkpointer,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<()> {
        checkpointer.slot ^= 1;
        checkpointer.last = self.put_in_slot(checkpointer, change)?;
        Ok(())
    }

    fn put_in_slot(
        &self,
        checkpointer: &Checkpointer,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<Superblock> {
        let mut block = checkpointer.last.clone();
        block.generation = U64::new(block.generation.get() + 1);
        block.flags = U32::new(0);
        change(&mut block);
        let offset = SLOT_OFFSETS_BYTES[checkpointer.slot];
        let written = self.disk.write_at(offset, &block.to_page());
        written.map_err(self.write_failed("write a superblock"))?;
        Ok(block)
    }
}

/// Makes a superblock name the state at `end`. The log gets at least to its reach, so replay from
/// here does too.
fn point_to(block: &mut Superblock, end: EndOfLog) {
    block.position = U64::new(end.position);
    block.prev_checksum = U64::new(end.prev_checksum);
    block.heap_bytes = U64::new(end.heap_bytes);
    block.reach = U64::new(block.reach.get().max(end.position));
}

/// Checks that the file is long enough for what `block` names. Reads the length after the
/// superblock: another process that shares the store may have grown both.
fn expect_length(disk: &dyn Disk, path: &Path, block: &Superblock) -> Result<()> {
    let log_end = block.log_offset.get() + block.log_bytes.get();
    let heap_end = HEAP_START_BYTES + block.heap_bytes.get();
    let found_bytes = settled_len_bytes(disk, path, log_end.max(heap_end))?;
    for (what, expected_bytes) in [("the log", log_end), ("the heap", heap_end)] {
        if found_bytes < expected_bytes {
            let path = path.to_path_buf();
            let short = ErrorKind::Truncated { path, what, expected_bytes, found_bytes };
            return Err(short.into());
        }
    }
    Ok(())
}

#[cold]
fn used_up(block: &Superblock) -> Error {
    let found = format!("generation {}, position {}", block.generation, block.position);
    ErrorKind::corrupt("superblock", 0, "numbers of at most 2^61", found)
}

/// Returns the newest superblock, provided that the file is long enough for what it names, and that
/// what follows it can be numbered.
pub(super) fn choose(disk: &dyn Disk, path: &Path, mutation: ActiveMutation) -> Result<Newest> {
    let newest = choose_slot(disk, path, mutation)?;
    expect_length(disk, path, &newest.block)?;
    match newest.block.is_used_up() {
        true => Err(used_up(&newest.block)),
        false => Ok(newest),
    }
}

/// Refuses a file that is not a store, or is incomplete, before anything acts on it. Does not check
/// the log.
pub(crate) fn expect_store(disk: &dyn Disk, path: &Path, mutation: ActiveMutation) -> Result<()> {
    choose(disk, path, mutation).map(drop)
}

fn settled_len_bytes(disk: &dyn Disk, path: &Path, wanted_bytes: u64) -> Result<u64> {
    let length = disk.settled_len_bytes(wanted_bytes);
    length.map_err(io_error("look at the file's length", path))
}

/// Returns the newest usable superblock and the slot to write first.
fn choose_slot(disk: &dyn Disk, path: &Path, mutation: ActiveMutation) -> Result<Newest> {
    let mut slots = read_slots(disk, path)?;
    if mutation.has(Mutation::SuperblockChecksumIgnored) {
        slots.iter_mut().for_each(|page| Superblock::seal(page));
    }
    let [first, second] = slots.map(|page| Superblock::parse(&page));
    // A store of another version must not be written, even if one of its superblocks happens to be
    // readable.
    let alone = |slot, block, unusable: &Unusable| {
        let other = slot ^ usize::from(!mutation.has(Mutation::GoodSuperblockFirst));
        let newest = Newest { slot: other, block, both_valid: false };
        foreign(path, unusable).map_or(Ok(newest), Err)
    };
    let newest = |slot, block| {
        let slot = slot ^ usize::from(mutation.has(Mutation::OlderSuperblockFirst));
        Ok(Newest { slot, block, both_valid: true })
    };
    match (first, second) {
        (Ok(a), Ok(b)) if b.generation > a.generation => newest(1, b),
        (Ok(a), Ok(_)) => newest(0, a),
        (Ok(a), Err(unusable)) => alone(0, a, &unusable),
        (Err(unusable), Ok(b)) => alone(1, b, &unusable),
        (Err(a), Err(b)) => Err(no_superblock(path, &read_head(disk, path)?, &a, &b)),
    }
    .map_err(Into::into)
}

/// Returns the error for a superblock that is intact but from another version or byte order.
fn foreign(path: &Path, unusable: &Unusable) -> Option<ErrorKind> {
    let path = path.to_path_buf();
    match *unusable {
        Unusable::Version(found) => {
            Some(ErrorKind::UnknownVersion { path, found, known: FORMAT_VERSION })
        }
        Unusable::ByteOrder => Some(ErrorKind::ForeignByteOrder { path }),
        _ => None,
    }
}

/// Returns the error if neither superblock is usable because another version or byte order wrote
/// them, as far as one can tell.
fn both_foreign(path: &Path, first: &Unusable, second: &Unusable) -> Option<ErrorKind> {
    let one = foreign(path, first).or_else(|| foreign(path, second));
    one.or_else(|| match (first, second) {
        (&Unusable::VersionOrDamage(found), Unusable::VersionOrDamage(_)) => {
            let path = path.to_path_buf();
            Some(ErrorKind::UnknownVersion { path, found, known: FORMAT_VERSION })
        }
        _ => None,
    })
}

/// Reads everything before the heap.
pub(crate) fn read_head(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    expect_head(disk, path)?;
    read_first(disk, path, HEAP_START_BYTES)
}

/// Reads the pages of both superblocks.
fn read_slots(disk: &dyn Disk, path: &Path) -> Result<[[u8; PAGE_BYTES as usize]; 2]> {
    expect_head(disk, path)?;
    let mut slots = [[0; PAGE_BYTES as usize]; 2];
    for (offset, page) in SLOT_OFFSETS_BYTES.into_iter().zip(&mut slots) {
        disk.read_at(offset, page).map_err(io_error("read the superblocks", path))?;
    }
    Ok(slots)
}

fn read_first(disk: &dyn Disk, path: &Path, len_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len_bytes as usize];
    disk.read_at(0, &mut bytes).map_err(io_error("read the superblocks", path))?;
    Ok(bytes)
}

/// Fails if the file ends before its heap.
fn expect_head(disk: &dyn Disk, path: &Path) -> Result<()> {
    let file_bytes = settled_len_bytes(disk, path, HEAP_START_BYTES)?;
    if file_bytes >= HEAP_START_BYTES {
        return Ok(());
    }
    Err(too_short(path, &read_first(disk, path, file_bytes)?).into())
}

/// Returns the error for a file that ends before its heap would begin.
fn too_short(path: &Path, head: &[u8]) -> ErrorKind {
    let path_buf = path.to_path_buf();
    if head.is_empty() {
        return ErrorKind::EmptyFile { path: path_buf };
    }
    if is_unfinished(head) {
        return ErrorKind::Unfinished { path: path_buf };
    }
    // In earlier versions the heap began sooner.
    let earlier = [SLOT_OFFSETS_BYTES[0], EARLIER_SLOT_BYTES]
        .map(|offset| Superblock::parse(head.get(offset as usize..).unwrap_or_default()));
    if let [Err(first), Err(second)] = earlier
        && let Some(foreign) = both_foreign(path, &first, &second)
    {
        return foreign;
    }
    let begins_with_magic =
        |offset| head.get(offset as usize..).is_some_and(|slot| slot.starts_with(&MAGIC));
    if SLOT_OFFSETS_BYTES.into_iter().any(begins_with_magic) {
        let (found_bytes, expected_bytes) = (head.len() as u64, HEAP_START_BYTES);
        return ErrorKind::TooShort { path: path_buf, found_bytes, expected_bytes };
    }
    not_a_store(path, head)
}

/// Returns why neither superblock can be used.
fn no_superblock(path: &Path, head: &[u8], first: &Unusable, second: &Unusable) -> ErrorKind {
    let path_buf = path.to_path_buf();
    if is_unfinished(head) {
        return ErrorKind::Unfinished { path: path_buf };
    }
    let earlier = Superblock::parse(&head[EARLIER_SLOT_BYTES as usize..]).err();
    let second = match (second, &earlier) {
        (Unusable::Magic, Some(earlier)) => earlier,
        (second, _) => second,
    };
    if (first, second) == (&Unusable::Magic, &Unusable::Magic) {
        return not_a_store(path, head);
    }
    if let Some(foreign) = both_foreign(path, first, second) {
        return foreign;
    }
    let (first, second) = (first.to_string(), second.to_string());
    ErrorKind::SuperblocksDamaged { path: path_buf, first, second }
}

fn not_a_store(path: &Path, head: &[u8]) -> ErrorKind {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let found = text(&head[..head.len().min(MAGIC.len())]);
    ErrorKind::NotAStore { path: path.to_path_buf(), expected: text(&MAGIC), found }
}
