//! Mutations of the protocol: deliberate faults that the tests must detect.
//!
//! **Owns** the list of mutations, and the choice of the one that a store has. **Must not know**
//! the effect of a mutation: that is one line at the place where the protocol does the right thing.
//!
//! A store has a mutation only through `OpenOptions::mutation`, which exists with the feature `sim`
//! alone. Without that feature [`ActiveMutation::has`] is a constant.

/// A deliberate fault in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Mutation {
    // Commits.
    /// A durable commit returns without an `msync` of its record.
    AcknowledgeBeforeFlush,
    /// Readers see a commit before it is durable.
    VisibleBeforeDurable,
    /// A flush does not pad its block: the next record is appended to a durable block.
    AppendIntoFlushedBlock,
    /// The check for free space in the log is ignored: records overwrite others that are still
    /// needed.
    OverrunTheLog,
    /// A record is appended before the file length that it needs is durable.
    GrowthNotSynced,
    /// New pages that were written in place are not synced before the record that names them.
    BulkNotSynced,
    /// The entries of a large transaction are not synced before the record that names them.
    SpillNotSynced,
    /// No checkpoint follows a large transaction: the space of its entries is reused while its
    /// record may still be replayed.
    SpillNotCheckpointed,
    /// Pages are written in place from the heap's current end on, instead of the largest end of any
    /// state that can be replayed.
    InPlaceFromHeapEnd,

    // Checkpoints.
    /// A checkpoint writes heap pages from records that it did not flush.
    HeapPageBeforeRecord,
    /// A checkpoint writes and syncs both superblocks before the heap's pages.
    SuperblockBeforeHeap,
    /// A checkpoint does not sync the heap's pages before the superblock.
    HeapNotSynced,
    /// Both superblocks are written, then synced together.
    SuperblocksInOneSync,
    /// A checkpoint writes only one superblock before it frees the log.
    LogFreedAfterOneSuperblock,
    /// Snapshots that readers pin get no pages of their own.
    ReaderNotFrozen,
    /// What a snapshot keeps in a file beside the store is mapped one page off.
    SpilledRunShifted,
    /// A checkpoint copies pages for a snapshot that has them in such a file.
    FrozenOverSpilled,
    /// An image is published although a checkpoint that began meanwhile may be writing pages which it
    /// shows.
    PublishedBehindFloor,
    /// The file is cut, but its old length still counts as durable.
    CutLengthKept,
    /// A close marks the superblock clean before it runs the checkpoint that closing needs.
    CleanBeforeCheckpoint,

    // Which pages the file may lack.
    /// Pages that a record takes into use as a run are not noted as changed.
    DirtyPageMissed,
    /// The pages that a record changes are noted only with the next record: a checkpoint between
    /// the two does not write them.
    DirtyNotedLate,
    /// A checkpoint that begins forgets the pages of one that failed.
    DirtyWindowDropped,
    /// The writer's image gives back pages that changed since the last checkpoint.
    ReleasedWhileDirty,

    // Moves of the log.
    /// The log is moved without the records that were not durable when the move began.
    LogTailNotCopied,
    /// A superblock names the new log before the records copied there are durable.
    LogCopyNotFlushed,
    /// Commits are flushed to the new log while the superblock that names it is not durable.
    LogMoveNotSynced,
    /// The old log is freed when only one superblock names the new one.
    LogMovedWithOneSuperblock,
    /// Closing puts the log into pages that are free now, and does not make a checkpoint first: a state
    /// that can still be replayed uses them.
    LogPlacedBeforeCheckpoint,

    // Space given back.
    /// Free pages are punched out of the file before a checkpoint has made them free there.
    PunchedBeforeCheckpoint,
    /// Pages are taken into use although the file has no space for them.
    HoleUsedAsIs,
    /// A record is appended before the space of the pages that it takes is durable.
    HoleAllocationNotSynced,

    // Failures.
    /// The store continues after a failed write or flush.
    PoisonIgnored,

    // Recovery.
    /// Records are accepted without checking their checksums.
    RecordChecksumIgnored,
    /// An invalid record is skipped.
    RecordWithoutPredecessor,
    /// Neither the position nor the predecessor of a record is checked: a record from an earlier
    /// lap of the ring is accepted.
    RecordOfEarlierLap,
    /// Superblocks are accepted without checking their checksums.
    SuperblockChecksumIgnored,
    /// The first write does not begin with superblocks of a new epoch: the clean flag remains.
    CleanFlagKept,
    /// Recovery keeps the epoch that it found.
    EpochKept,
    /// Recovery does not write the accepted records again.
    RecordsNotRewritten,
    /// Recovery writes pages in rounds before it writes the accepted records again.
    RoundBeforeRewrite,
    /// Recovery writes pages in rounds before a superblock says how far replay must get.
    RoundBeforeReach,
    /// Recovery takes a reach that the page cache shows for one that the disk has.
    CachedReachTrusted,
    /// Recovery writes the reach into one superblock alone.
    ReachInOneSuperblock,
    /// Recovery does not sync the pages that it wrote in rounds.
    RoundNotSynced,
    /// A log that ends before the superblock's reach is accepted.
    ReachIgnored,
    /// Recovery writes both superblocks before the heap's pages.
    RecoveredSuperblockBeforeHeap,
    /// Recovery writes the older superblock first.
    OlderSuperblockFirst,
    /// Recovery overwrites the only superblock that a power cut has left.
    GoodSuperblockFirst,

    // Sharing between processes.
    /// A checkpoint does not wait until other processes have copied, for their readers, the pages
    /// that it will write.
    BarrierNotAwaited,
    /// A reader looks for the position to begin at before it announces that it may hold a snapshot.
    HoldAfterGeneration,
    /// A process withdraws that announcement without looking whether a snapshot is held.
    WithdrawnWithoutScan,
    /// A process acknowledges a barrier before it copies pages for its readers.
    AckBeforeFreeze,
    /// An image that no reader held is used although its log may have been overwritten.
    StaleImageUsed,
    /// The log's move is told to other processes before the superblocks name the new log.
    RingSeqBeforeSuperblock,
    /// A process looks in the ring that it knows, and not in the log's, which pages it has to copy for its
    /// readers.
    RingNotFollowed,
    /// The next writer after a process that died with the write lock continues as if that process
    /// had released it.
    DeathNotNoticed,
    /// The write lock counts as released before the log's end is published.
    WriteLockReleasedBeforeEnd,
}

#[cfg(any(test, feature = "sim"))]
impl Mutation {
    /// All mutations.
    pub const ALL: [Self; 58] = [
        Self::AcknowledgeBeforeFlush,
        Self::VisibleBeforeDurable,
        Self::AppendIntoFlushedBlock,
        Self::OverrunTheLog,
        Self::GrowthNotSynced,
        Self::BulkNotSynced,
        Self::SpillNotSynced,
        Self::SpillNotCheckpointed,
        Self::InPlaceFromHeapEnd,
        Self::HeapPageBeforeRecord,
        Self::SuperblockBeforeHeap,
        Self::HeapNotSynced,
        Self::SuperblocksInOneSync,
        Self::LogFreedAfterOneSuperblock,
        Self::ReaderNotFrozen,
        Self::SpilledRunShifted,
        Self::FrozenOverSpilled,
        Self::PublishedBehindFloor,
        Self::CutLengthKept,
        Self::CleanBeforeCheckpoint,
        Self::DirtyPageMissed,
        Self::DirtyNotedLate,
        Self::DirtyWindowDropped,
        Self::ReleasedWhileDirty,
        Self::LogTailNotCopied,
        Self::LogCopyNotFlushed,
        Self::LogMoveNotSynced,
        Self::LogMovedWithOneSuperblock,
        Self::LogPlacedBeforeCheckpoint,
        Self::PunchedBeforeCheckpoint,
        Self::HoleUsedAsIs,
        Self::HoleAllocationNotSynced,
        Self::PoisonIgnored,
        Self::RecordChecksumIgnored,
        Self::RecordWithoutPredecessor,
        Self::RecordOfEarlierLap,
        Self::SuperblockChecksumIgnored,
        Self::CleanFlagKept,
        Self::EpochKept,
        Self::RecordsNotRewritten,
        Self::RoundBeforeRewrite,
        Self::RoundBeforeReach,
        Self::CachedReachTrusted,
        Self::ReachInOneSuperblock,
        Self::RoundNotSynced,
        Self::ReachIgnored,
        Self::RecoveredSuperblockBeforeHeap,
        Self::OlderSuperblockFirst,
        Self::GoodSuperblockFirst,
        Self::BarrierNotAwaited,
        Self::HoldAfterGeneration,
        Self::WithdrawnWithoutScan,
        Self::AckBeforeFreeze,
        Self::StaleImageUsed,
        Self::RingSeqBeforeSuperblock,
        Self::RingNotFollowed,
        Self::DeathNotNoticed,
        Self::WriteLockReleasedBeforeEnd,
    ];
}

/// The mutation that a store has, or none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ActiveMutation {
    #[cfg(any(test, feature = "sim"))]
    mutation: Option<Mutation>,
}

impl ActiveMutation {
    /// Returns an active mutation.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn one(mutation: Mutation) -> Self {
        Self { mutation: Some(mutation) }
    }

    /// Returns whether the store has this mutation.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has(self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Returns `false`: no store has a mutation.
    #[cfg(not(any(test, feature = "sim")))]
    pub(crate) const fn has(self, _mutation: Mutation) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_listed_in_order() {
        let numbers = Mutation::ALL.iter().map(|mutation| *mutation as usize);
        assert!(numbers.eq(0..Mutation::ALL.len()));
        assert_eq!(Mutation::ALL.last(), Some(&Mutation::WriteLockReleasedBeforeEnd));
    }
}
