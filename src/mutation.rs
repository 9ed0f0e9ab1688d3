//! Faults that can be planted into the protocol, to show that the tests notice.
//!
//! **Owns** the list of faults, and which one a store has. **Must not know** what
//! each one does: that is a line where the protocol does the right thing.
//!
//! No store has one unless it was asked for with `OpenOptions::mutation`, which is
//! there with the feature `sim` alone. Without it [`ActiveMutation::has`] is a constant.

/// A fault of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Mutation {
    // Commits.
    /// A durable commit returns without an `msync` of its record.
    AcknowledgeBeforeFlush,
    /// A commit is seen by readers before it is durable.
    VisibleBeforeDurable,
    /// A flush does not fill up its block: the next record is appended to a block
    /// that is durable.
    AppendIntoFlushedBlock,
    /// The log's lock is asked whether there is room, and the answer is not heeded:
    /// records overwrite those that are still needed.
    OverrunTheLog,
    /// A record is appended before the length of the file that it needs is durable.
    GrowthNotSynced,
    /// New pages that were written in place are not synced before the record that
    /// names them.
    BulkNotSynced,
    /// The entries of a large transaction are not synced before the record that
    /// names them.
    SpillNotSynced,
    /// No checkpoint follows a large transaction: the place of its entries is used
    /// again while its record may still be replayed.
    SpillNotCheckpointed,
    /// Pages are written in place from the heap's end on, and not from the longest
    /// end that a replayable state has.
    InPlaceFromHeapEnd,

    // Checkpoints.
    /// A checkpoint writes heap pages from records that it did not flush.
    HeapPageBeforeRecord,
    /// A checkpoint writes and syncs both superblocks, and then the heap's pages.
    SuperblockBeforeHeap,
    /// A checkpoint does not sync the heap's pages before the superblock.
    HeapNotSynced,
    /// Both superblocks are written, and then synced at once.
    SuperblocksInOneSync,
    /// A checkpoint writes one superblock, and the log is free all the same.
    LogFreedAfterOneSuperblock,
    /// Snapshots that readers hold get no pages of their own.
    ReaderNotFrozen,
    /// The file is cut, and its length passes for as durable as it was before.
    CutLengthKept,
    /// Closing says in the superblock that the store was closed, and then makes the
    /// checkpoint that closing needs.
    CleanBeforeCheckpoint,

    // The log's move.
    /// The log is moved without the checkpoint that empties it.
    LogMovedWithoutCheckpoint,
    /// One superblock names the new log, and the old one is free.
    LogMovedWithOneSuperblock,
    /// The file's new length is not synced before a record names the new log.
    LogMovedUnsynced,

    // Failures.
    /// The store goes on after a write or flush that failed.
    PoisonIgnored,

    // Recovery.
    /// Records are accepted whatever their checksums are.
    RecordChecksumIgnored,
    /// A record that does not check is stepped over.
    RecordWithoutPredecessor,
    /// Neither a record's position nor its predecessor is looked at, so that one of
    /// an earlier lap of the ring is accepted.
    RecordOfEarlierLap,
    /// Superblocks are accepted whatever their checksums are.
    SuperblockChecksumIgnored,
    /// The first write does not begin with superblocks of a fresh epoch: the flag of
    /// an orderly end stands.
    CleanFlagKept,
    /// Recovery goes on in the epoch that it found.
    EpochKept,
    /// Recovery does not write once more the records that it accepted.
    RecordsNotRewritten,
    /// Recovery writes both superblocks, and then the heap's pages.
    RecoveredSuperblockBeforeHeap,
    /// Recovery writes the older superblock first.
    OlderSuperblockFirst,
    /// Recovery writes over the only superblock that a cut has left.
    GoodSuperblockFirst,

    // Sharing between processes.
    /// A checkpoint does not wait until other processes have kept from their readers
    /// what it is going to write.
    BarrierNotAwaited,
    /// Whoever comes after a process that died in its turn goes on as if it had ended it.
    DeathNotNoticed,
    /// Whoever leaves its turn says so, and then writes down where the log ends.
    WriteLockReleasedBeforeEnd,
}

#[cfg(any(test, feature = "sim"))]
impl Mutation {
    /// All of them.
    pub const ALL: [Self; 34] = [
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
        Self::CutLengthKept,
        Self::CleanBeforeCheckpoint,
        Self::LogMovedWithoutCheckpoint,
        Self::LogMovedWithOneSuperblock,
        Self::LogMovedUnsynced,
        Self::PoisonIgnored,
        Self::RecordChecksumIgnored,
        Self::RecordWithoutPredecessor,
        Self::RecordOfEarlierLap,
        Self::SuperblockChecksumIgnored,
        Self::CleanFlagKept,
        Self::EpochKept,
        Self::RecordsNotRewritten,
        Self::RecoveredSuperblockBeforeHeap,
        Self::OlderSuperblockFirst,
        Self::GoodSuperblockFirst,
        Self::BarrierNotAwaited,
        Self::DeathNotNoticed,
        Self::WriteLockReleasedBeforeEnd,
    ];
}

/// The fault that a store has, or none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ActiveMutation {
    #[cfg(any(test, feature = "sim"))]
    fault: Option<Mutation>,
}

impl ActiveMutation {
    /// One fault.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn one(fault: Mutation) -> Self {
        Self { fault: Some(fault) }
    }

    /// Whether the store has this fault.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has(self, fault: Mutation) -> bool {
        self.fault == Some(fault)
    }

    /// No store has a fault.
    #[cfg(not(any(test, feature = "sim")))]
    pub(crate) const fn has(self, _fault: Mutation) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_listed_in_order() {
        let numbers = Mutation::ALL.iter().map(|fault| *fault as usize);
        assert!(numbers.eq(0..Mutation::ALL.len()));
        assert_eq!(Mutation::ALL.last(), Some(&Mutation::WriteLockReleasedBeforeEnd));
    }
}
