//! The superblock: identifies the store, and locates the log and its first position to replay.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::checksum;
use super::record::HEADER_BYTES;
use super::{
    COORDINATION_BYTES, FORMAT_VERSION, HEAP_START_BYTES, LARGEST_MACHINE_PAGE_BYTES, PAGE_BYTES,
};

/// First bytes of both superblocks.
pub(crate) const MAGIC: [u8; 16] = *b"flagstone heap\r\n";
/// First bytes of the coordination page while the file is being created.
pub(crate) const UNFINISHED: [u8; 16] = *b"flagstone begun\n";
/// Offsets of the two superblocks in the file. No machine has both in one page, so no write of one
/// can tear the other.
pub(crate) const SLOT_OFFSETS_BYTES: [u64; 2] = [0, LARGEST_MACHINE_PAGE_BYTES];
/// Offset of the second superblock in files of versions 1 and 2.
pub(crate) const EARLIER_SLOT_BYTES: u64 = PAGE_BYTES;
/// Flag: the store was closed cleanly and the log ends at `position`.
pub(crate) const FLAG_CLEAN: u32 = 1;

/// Minimum and maximum length of a log's ring.
pub(crate) const LOG_BYTES: std::ops::RangeInclusive<u64> = PAGE_BYTES * 8..=1 << 30;

/// The largest number in a superblock: sums of two stay within `u64`.
const LIMIT: u64 = 1 << 62;

/// Bytes of a superblock between its last field and its checksum.
const RESERVED_BYTES: usize = 504 - 136;

/// Reads as this number on a machine with the byte order that wrote the file.
const BYTE_ORDER_MARK: u32 = 0x0102_0304;

/// One superblock, at the start of its page; the rest of the page is zero.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Superblock {
    pub(crate) magic: [u8; 16],
    pub(crate) version: U32,
    byte_order: [u8; 4],
    pub(crate) page_bytes: U32,
    pub(crate) flags: U32,
    /// Random number of this store.
    pub(crate) store_id: [u8; 16],
    /// Random key of the store's hash tables.
    pub(crate) hash_key: [u8; 16],
    /// Counts the superblocks written; the valid one with the larger number is used.
    pub(crate) generation: U64,
    /// Seed of the checksums of the records from `position` on.
    pub(crate) epoch: U64,
    /// Start of the log in the file.
    pub(crate) log_offset: U64,
    /// Length of the log's ring.
    pub(crate) log_bytes: U64,
    /// The log position that lies at `log_offset` (modulo `log_bytes`).
    pub(crate) log_base: U64,
    /// The heap in the file is complete up to this log position.
    pub(crate) position: U64,
    /// Checksum of the record that ends at `position`.
    pub(crate) prev_checksum: U64,
    /// Length of the heap at `position`: a hint, the heap's header is authoritative.
    pub(crate) heap_bytes: U64,
    /// Pages of the heap in the file may hold what records before this position say, so the log
    /// must not end before it.
    pub(crate) reach: U64,
    reserved: [u8; RESERVED_BYTES],
    checksum: U64,
}

const _: () = {
    assert!(size_of::<Superblock>() == 512);
    assert!(SLOT_OFFSETS_BYTES[0] == 0 && SLOT_OFFSETS_BYTES[1] == 64 << 10);
    assert!(SLOT_OFFSETS_BYTES[1] + LARGEST_MACHINE_PAGE_BYTES == COORDINATION_BYTES);
    assert!(std::mem::offset_of!(Superblock, version) == 16);
    assert!(std::mem::offset_of!(Superblock, store_id) == 32);
    assert!(std::mem::offset_of!(Superblock, generation) == 64);
    assert!(std::mem::offset_of!(Superblock, epoch) == 72);
    assert!(std::mem::offset_of!(Superblock, log_offset) == 80);
    assert!(std::mem::offset_of!(Superblock, position) == 104);
    assert!(std::mem::offset_of!(Superblock, heap_bytes) == 120);
    assert!(std::mem::offset_of!(Superblock, reach) == 128);
    assert!(std::mem::offset_of!(Superblock, reserved) == 136);
    assert!(std::mem::offset_of!(Superblock, checksum) == 504);
};

/// Returns whether a file that begins with `head` has only ever been an unfinished store: it bears
/// the mark, and its superblocks are at most torn ones of a new store.
pub(crate) fn is_unfinished(head: &[u8]) -> bool {
    let begin = COORDINATION_BYTES as usize;
    let page = head.get(begin..).and_then(|page| page.split_first_chunk());
    let Some((mark, behind)) = page else { return false };
    // The mark is written alone. A power cut may leave the file's new length, and zeros there.
    let is_cut = behind.is_empty() && is_part(mark, &UNFINISHED);
    let slots = head[..begin].chunks(LARGEST_MACHINE_PAGE_BYTES as usize);
    (*mark == UNFINISHED || is_cut)
        && behind.iter().all(|byte| *byte == 0)
        && slots.into_iter().all(may_be_of_new_store)
}

/// Returns whether these are some of the bytes of `whole`, and zeros.
fn is_part(found: &[u8], whole: &[u8]) -> bool {
    found.iter().zip(whole).all(|(found, whole)| *found == 0 || found == whole)
}

/// Returns whether a slot may be what a power cut has left of a new store's superblock.
fn may_be_of_new_store(slot: &[u8]) -> bool {
    let Ok((block, rest)) = Superblock::read_from_prefix(slot) else { return false };
    is_part(&block.magic, &MAGIC)
        && is_part(block.version.as_bytes(), U32::new(FORMAT_VERSION).as_bytes())
        && block.generation.get() <= SLOT_OFFSETS_BYTES.len() as u64
        && block.is_new()
        && rest.iter().chain(&block.reserved).all(|byte| *byte == 0)
}

/// The reason why a superblock cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("no magic")]
    Magic,
    #[error("the checksum does not match")]
    Checksum,
    #[error("format version {0}")]
    Version(u32),
    #[error("format version {0}, with a checksum that does not match")]
    VersionOrDamage(u32),
    #[error("the other byte order")]
    ByteOrder,
    #[error("{0}")]
    Nonsense(&'static str),
}

/// The random values in a new store's superblocks.
pub(crate) struct Identity {
    pub(crate) store_id: [u8; 16],
    pub(crate) hash_key: [u8; 16],
}

impl Superblock {
    pub(crate) fn new(identity: &Identity) -> Self {
        Self {
            magic: MAGIC,
            version: U32::new(FORMAT_VERSION),
            byte_order: BYTE_ORDER_MARK.to_ne_bytes(),
            page_bytes: U32::new(PAGE_BYTES as u32),
            flags: U32::new(0),
            store_id: identity.store_id,
            hash_key: identity.hash_key,
            generation: U64::new(0),
            epoch: U64::new(0),
            log_offset: U64::new(0),
            log_bytes: U64::new(0),
            log_base: U64::new(0),
            position: U64::new(0),
            prev_checksum: U64::new(0),
            heap_bytes: U64::new(0),
            reach: U64::new(0),
            reserved: [0; RESERVED_BYTES],
            checksum: U64::new(0),
        }
    }

    /// Returns whether the store was never written to: its first transaction sets an epoch.
    pub(crate) fn is_new(&self) -> bool {
        [self.epoch, self.log_base, self.position, self.prev_checksum, self.reach]
            .iter()
            .all(|word| word.get() == 0)
    }

    /// Returns the bytes to write, including the checksum, as one whole page.
    pub(crate) fn to_page(&self) -> [u8; PAGE_BYTES as usize] {
        let mut page = [0; PAGE_BYTES as usize];
        page[..512].copy_from_slice(self.as_bytes());
        Self::seal(&mut page);
        page
    }

    /// Recomputes the checksum at the start of a page.
    pub(crate) fn seal(page: &mut [u8]) {
        let sum = checksum::plain(&page[..504]);
        page[504..512].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads a superblock from the start of its page.
    ///
    /// The version is checked before the checksum, because a later format may lay out everything
    /// after it differently. If the checksum is wrong, one superblock alone cannot tell another
    /// version from damage.
    pub(crate) fn parse(page: &[u8]) -> Result<Self, Unusable> {
        let (block, _) = Self::read_from_prefix(page).map_err(|_| Unusable::Magic)?;
        if block.magic != MAGIC {
            return Err(Unusable::Magic);
        }
        let (version, checks) = (block.version.get(), block.checksum.get() == block.sum());
        match (version == FORMAT_VERSION, checks) {
            (true, true) => {}
            (true, false) => return Err(Unusable::Checksum),
            (false, true) => return Err(Unusable::Version(version)),
            (false, false) => return Err(Unusable::VersionOrDamage(version)),
        }
        if block.byte_order != BYTE_ORDER_MARK.to_ne_bytes() {
            return Err(Unusable::ByteOrder);
        }
        block.make_sense()?;
        Ok(block)
    }

    /// Returns whether the numbers of a store have got so far that it might count past their limit
    /// while it is open, which would leave it without a valid superblock. No store gets there: half
    /// of the way is left.
    pub(crate) fn is_used_up(&self) -> bool {
        [self.generation, self.position].iter().any(|number| number.get() > LIMIT / 2)
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.flags.get() & FLAG_CLEAN != 0
    }

    /// Returns whether bits are set that this version leaves zero.
    pub(crate) fn has_unknown_bits(&self) -> bool {
        self.flags.get() & !FLAG_CLEAN != 0 || self.reserved != [0; RESERVED_BYTES]
    }

    pub(crate) fn is_of_same_store(&self, other: &Self) -> bool {
        (self.store_id, self.hash_key) == (other.store_id, other.hash_key)
    }

    /// Checks the numbers too, since a checksum can be forged. All sums that later code forms
    /// from them stay within `u64`.
    fn make_sense(&self) -> Result<(), Unusable> {
        let log_end = self.log_offset.get().checked_add(self.log_bytes.get());
        if self.generation.get() > LIMIT {
            return Err(Unusable::Nonsense("the generation is impossible"));
        }
        if self.page_bytes.get() != PAGE_BYTES as u32 {
            return Err(Unusable::Nonsense("the page size is not 4096"));
        }
        let whole_pages = self.log_bytes.get().is_multiple_of(PAGE_BYTES);
        if !whole_pages || !LOG_BYTES.contains(&self.log_bytes.get()) {
            return Err(Unusable::Nonsense("the log's length is impossible"));
        }
        let starts_on_page = self.log_offset.get().is_multiple_of(PAGE_BYTES);
        if !starts_on_page || self.log_offset.get() < HEAP_START_BYTES {
            return Err(Unusable::Nonsense("the log's place is impossible"));
        }
        if log_end.is_none_or(|end| end > LIMIT) {
            return Err(Unusable::Nonsense("the log's end is impossible"));
        }
        self.expect_positions()?;
        let whole_pages = self.heap_bytes.get().is_multiple_of(PAGE_BYTES);
        if !whole_pages || self.heap_bytes.get() > LIMIT || self.heap_bytes.get() == 0 {
            return Err(Unusable::Nonsense("the heap's length is impossible"));
        }
        // The region may have been allocated by a record that is still to be applied.
        let heap_end = HEAP_START_BYTES + self.heap_bytes.get();
        if self.is_clean() && log_end.is_none_or(|end| end > heap_end) {
            return Err(Unusable::Nonsense("the log is not within the heap"));
        }
        Ok(())
    }

    /// Checks the log positions.
    fn expect_positions(&self) -> Result<(), Unusable> {
        let [base, position, reach] =
            [self.log_base, self.position, self.reach].map(|word| word.get());
        if !base.is_multiple_of(PAGE_BYTES) || !(base..=LIMIT).contains(&position) {
            return Err(Unusable::Nonsense("the position is impossible"));
        }
        let in_block = position % PAGE_BYTES;
        if !in_block.is_multiple_of(8) || in_block > PAGE_BYTES - HEADER_BYTES {
            return Err(Unusable::Nonsense("no record begins at the position"));
        }
        // The ring holds one lap of records.
        let longest = if self.is_clean() { 0 } else { self.log_bytes.get() };
        if !(position..=position + longest).contains(&reach) {
            return Err(Unusable::Nonsense("the reach is impossible"));
        }
        Ok(())
    }

    fn sum(&self) -> u64 {
        checksum::plain(&self.as_bytes()[..504])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Superblock {
        let mut block = Superblock::new(&Identity { store_id: [1; 16], hash_key: [2; 16] });
        block.log_offset = U64::new(1 << 20);
        block.log_bytes = U64::new(1 << 20);
        block.heap_bytes = U64::new(2 << 20);
        block
    }

    #[test]
    fn a_superblock_comes_back_and_each_bit_of_it_is_guarded() {
        let page = sample().to_page();
        let back = Superblock::parse(&page).unwrap();
        assert_eq!(back.to_page(), page);
        for bit in 0..512 * 8 {
            let mut bad = page;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Superblock::parse(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_reach_lies_within_one_lap_of_the_log() {
        let makes_sense = |flags, reach| {
            let mut block = sample();
            block.flags = U32::new(flags);
            block.position = U64::new(1 << 21);
            block.reach = U64::new(reach);
            Superblock::parse(&block.to_page()).is_ok()
        };
        let (position, ring) = (1 << 21, 1 << 20);
        for (reach, is_right) in [
            (0, false),
            (position - 8, false),
            (position, true),
            (position + ring, true),
            (position + ring + 8, false),
            (u64::MAX, false),
        ] {
            assert_eq!(makes_sense(0, reach), is_right, "{reach:#x}");
            let is_right_if_closed = reach == position;
            assert_eq!(makes_sense(FLAG_CLEAN, reach), is_right_if_closed, "{reach:#x}");
        }
    }

    #[test]
    fn numbers_that_would_overflow_are_refused() {
        for (offset, bytes) in
            [(u64::MAX - 4095, 1 << 20), (1 << 20, u64::MAX - 4095), (0, 1 << 20)]
        {
            let mut block = sample();
            block.log_offset = U64::new(offset);
            block.log_bytes = U64::new(bytes);
            assert!(Superblock::parse(&block.to_page()).is_err());
        }
    }
}
