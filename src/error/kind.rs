//! The kinds of errors, each with its message.

use std::io;
use std::path::PathBuf;

/// The kind of an error.
///
/// Each kind has the parts of its message, for a program that acts on them:
///
/// ```
/// use flagstone::{ErrorKind, Store};
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = Store::in_memory()?;
/// store.update(|tx| tx.root_or_insert_with("visits", || 3u64).map(drop))?;
/// let tx = store.read()?;
/// let error = tx.root_object::<u64>("vists").unwrap_err();
/// let ErrorKind::NoSuchRoot { nearest, .. } = error.kind() else { return Err(error) };
/// assert_eq!(*nearest, ["visits"]);
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A system call on the store's file failed.
    #[error("{path}: cannot {action}: {source}", path = .path.display())]
    Io {
        /// The attempted action.
        action: &'static str,
        /// The store's file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },

    /// A process that shares the store is alive but makes no progress, and blocks this one.
    #[error("{path}: process {process} has kept this one waiting for {waited:?}, for the write lock or an acknowledgement of a checkpoint; if it is stopped, continue it or end it (nothing is lost), and try again", path = .path.display())]
    ProcessUnresponsive {
        /// The store's file.
        path: PathBuf,
        /// The other process's id; 0 if unknown.
        process: u32,
        /// How long this one has waited.
        waited: std::time::Duration,
    },

    /// The log has grown to its bound, because a process that shares the store holds a snapshot and is
    /// stopped.
    #[error("{path}: the log has grown to {log_bytes} bytes, and may not grow beyond {bound_bytes} (`max_blocked_log_bytes`), because process {process} has held a snapshot for {age:?} and does not answer; continue it (SIGCONT) or end it, nothing is lost then, and try again; or allow more", path = .path.display())]
    LogBlocked {
        /// The store's file.
        path: PathBuf,
        /// The other process's id; 0 if unknown.
        process: u32,
        /// How long it has held its snapshot, or has been waited for.
        age: std::time::Duration,
        /// The log's length.
        log_bytes: u64,
        /// The length up to which it may grow. It grows by doubling, so it may stay below.
        bound_bytes: u64,
    },

    /// The store is already shared by the maximum number of processes.
    #[error("{path}: {most} processes share the store already, and no more can; close it in one of them", path = .path.display())]
    TooManyProcesses {
        /// The store's file.
        path: PathBuf,
        /// The maximum.
        most: usize,
    },

    /// The store was created, but its name may not be durable.
    #[error("{path}: the store is made, and whole; but syncing its folder failed ({source}), so a power cut may take the file away until the system has written its name by itself; open it again to use it", path = .path.display())]
    CreationUnsure {
        /// The store's file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },

    /// A store to be shared lies on a file system that other machines may reach.
    #[error("{path}: lies on {file_system}, which other machines may use as well, whose locks and memory do not reach this one: each would write over the other; put the store on a file system of this machine alone, or, if all processes that open it run on this machine, say so with `assume_local(true)`", path = .path.display())]
    NotOneMachine {
        /// The store's file.
        path: PathBuf,
        /// The type of the file system.
        file_system: String,
    },

    /// The store does not exist, and the options do not create it.
    #[error("{path}: there is no such file, and the program did not ask for a new store; check the path (or open with `create(true)`)", path = .path.display())]
    NoSuchFile {
        /// The path, as given.
        path: PathBuf,
    },

    /// The path names something that is not a regular file.
    #[error("{path}: a store is a regular file, this is {found}; give the path of a file", path = .path.display())]
    NotAFile {
        /// The path, as given.
        path: PathBuf,
        /// The kind of file found there.
        found: &'static str,
    },

    /// The file is empty, and this way of opening does not create a store in it.
    #[error("{path}: the file is empty, and a store never is; open it to write with `create(true)` to make a store of it, or restore a backup", path = .path.display())]
    EmptyFile {
        /// The store's file.
        path: PathBuf,
    },

    /// The file is too short for what lies before a store's heap.
    #[error("{path}: {found_bytes} bytes are too few for a store, whose heap begins at {expected_bytes}; the file was cut off or is not a store", path = .path.display())]
    TooShort {
        /// The store's file.
        path: PathBuf,
        /// Its length.
        found_bytes: u64,
        /// Where a store's heap begins.
        expected_bytes: u64,
    },

    /// The file is not a flagstone store.
    #[error("{path}: not a flagstone store: expected the magic \"{expected}\" at offset 0 or 4096, found \"{found}\"; the file was left as it is", path = .path.display())]
    NotAStore {
        /// The path, as given.
        path: PathBuf,
        /// The magic of a store.
        expected: String,
        /// The first bytes of this file.
        found: String,
    },

    /// The store's creation was interrupted, and this way of opening does not redo it.
    #[error("{path}: a store that was never finished (its creation was interrupted); it holds no data: open it to write with `create(true)` to make it anew, or remove it", path = .path.display())]
    Unfinished {
        /// The store's file.
        path: PathBuf,
    },

    /// The file has a format version that this program does not know.
    #[error("{path}: format version {found}, this program knows {known}; open it with the flagstone that wrote it", path = .path.display())]
    UnknownVersion {
        /// The store's file.
        path: PathBuf,
        /// The file's version.
        found: u32,
        /// The version that this program knows.
        known: u32,
    },

    /// The file was written on a machine of the other byte order.
    #[error("{path}: written on a machine with the other byte order; structs hold native integers, so it opens only there", path = .path.display())]
    ForeignByteOrder {
        /// The store's file.
        path: PathBuf,
    },

    /// An index past the end of a collection.
    #[error("index {index} of a {type_name} of {len} elements; expected one below {limit}")]
    IndexOutOfRange {
        /// The collection's type.
        type_name: String,
        /// The requested index.
        index: u64,
        /// The exclusive upper bound for the index.
        limit: u64,
        /// Elements in the collection.
        len: u64,
    },

    /// A range of a collection whose start is after its end.
    #[error("range {start}..{end} of a {type_name} of {len} elements begins after its end")]
    RangeReversed {
        /// The collection's type.
        type_name: String,
        /// The first element of the range.
        start: u64,
        /// One past the range's last element.
        end: u64,
        /// Elements in the collection.
        len: u64,
    },

    /// Keys that must come in ascending order did not.
    #[error(
        "key {index} of type {type_name} is not above the one before; expected each key once, in ascending order"
    )]
    NotAscending {
        /// The keys' type.
        type_name: String,
        /// The offending key's index, from 0.
        index: u64,
    },

    /// Neither superblock is valid.
    #[error("{path}: both superblocks are damaged (offset 0: {first}; offset 4096: {second}); restore a backup", path = .path.display())]
    SuperblocksDamaged {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with the first.
        first: String,
        /// What is wrong with the second.
        second: String,
    },

    /// The file ends before the data that its superblock and log describe.
    #[error("{path}: {what} needs {expected_bytes} bytes and the file has {found_bytes}: it was truncated; restore a backup", path = .path.display())]
    Truncated {
        /// The store's file.
        path: PathBuf,
        /// The part that is missing.
        what: &'static str,
        /// The file length that the part needs.
        expected_bytes: u64,
        /// The file's actual length.
        found_bytes: u64,
    },

    /// A record of the log is damaged, although it was durable.
    #[error("{path}: the log is damaged at position {position} (file offset {offset}), though it was durable up to {proven_durable}, {}", after_damage(*can_salvage), path = .path.display())]
    LogDamaged {
        /// The store's file.
        path: PathBuf,
        /// The log position where the sequence of valid records ends.
        position: u64,
        /// The same position as an offset in the file.
        offset: u64,
        /// The durable position that a later record or the superblock's reach proves.
        proven_durable: u64,
        /// Whether `salvage(true)` can go on from the state before the damage. It cannot if an
        /// interrupted recovery has written what the lost records say into the heap.
        can_salvage: bool,
    },

    /// A store that was not closed cleanly is opened to be read only, and replaying its log takes
    /// more private memory than the budget.
    #[error("{path}: the store was not closed, and showing its last state without writing the file takes up to {needed_bytes} bytes of memory for the pages that its log changes, more than the budget of {budget_bytes}; open it once to write, which recovers the file in bounded memory, or give that much with `memory_budget_bytes`", path = .path.display())]
    ReplayNeedsMemory {
        /// The store's file.
        path: PathBuf,
        /// The memory that is enough.
        needed_bytes: u64,
        /// The budget that the options give.
        budget_bytes: u64,
    },

    /// The file is already open as a store, in this process or another.
    #[error("{path}: the store is open already, here or in another process; close it there first", path = .path.display())]
    Locked {
        /// The store's file.
        path: PathBuf,
    },

    /// Flagstone does not support this machine.
    #[error("flagstone needs {expected}, this machine has {found}")]
    Unsupported {
        /// The requirement.
        expected: &'static str,
        /// The machine's actual property.
        found: String,
    },

    /// An option of opening has an invalid value.
    #[error("open option {option}: {why}")]
    BadOption {
        /// The option's name.
        option: &'static str,
        /// What is wrong with it.
        why: String,
    },

    /// A null link where a target is required.
    #[error(
        "link to {type_name} is null: it was given no target, or is that of a root which was never set (`root_object` names such a root and those with names like it); give it a target first, as from `alloc` or `root_or_insert_with`, or read with `get`, which answers `None`"
    )]
    LinkNull {
        /// The type of the target.
        type_name: String,
    },

    /// A link leads outside the heap's objects.
    #[error(
        "link to {type_name} at heap offset {offset:#x} with {count} element(s) of {size_bytes} bytes lies outside of the heap's objects, which end at {heap_bytes:#x}; it is damaged or from another store"
    )]
    LinkOutOfBounds {
        /// The type of the target.
        type_name: String,
        /// The link's offset from the start of the heap.
        offset: u64,
        /// Its number of elements.
        count: u64,
        /// Bytes of one element.
        size_bytes: u64,
        /// The heap's length as this transaction sees it.
        heap_bytes: u64,
    },

    /// A link's offset is not a multiple of its type's alignment.
    #[error(
        "link to {type_name} at heap offset {offset:#x} is not a multiple of the type's alignment of {align_bytes}; it is damaged"
    )]
    LinkMisaligned {
        /// The type of the target.
        type_name: String,
        /// The link's offset from the start of the heap.
        offset: u64,
        /// The required alignment.
        align_bytes: u64,
    },

    /// The bytes that a link leads to are not a valid value of its type.
    #[error(
        "bytes at heap offset {offset:#x} are not a value of {type_name} (such as a bool that is neither 0 nor 1, or an enum without that variant); they are damaged or of another type"
    )]
    InvalidBits {
        /// The type of the target.
        type_name: String,
        /// The link's offset from the start of the heap.
        offset: u64,
    },

    /// A link does not lie in one live allocation.
    #[error(
        "link to {type_name} at heap offset {offset:#x} of {len_bytes} bytes does not lie in one live allocation ({found}); it dangles or is damaged"
    )]
    LinkNotLive {
        /// The type of the target.
        type_name: String,
        /// The link's offset from the start of the heap.
        offset: u64,
        /// Bytes that the link spans.
        len_bytes: u64,
        /// The actual contents at that offset.
        found: &'static str,
    },

    /// A type of 4 GiB or more.
    #[error(
        "{type_name} has {size_bytes} bytes, and a type in a store has less than 4 GiB; store a slice, or several objects"
    )]
    TypeTooLarge {
        /// The type.
        type_name: String,
        /// Its size.
        size_bytes: u64,
    },

    /// An allocation of zeros, for a type that has no valid all-zero value.
    #[error(
        "no value of {type_name} has only zero bytes (as an enum without a variant 0 has none); allocate it with `alloc` or `alloc_slice`, from a value"
    )]
    ZerosInvalid {
        /// The type.
        type_name: String,
    },

    /// A stored value owns an allocation that is not live, such as a `Text` that was created in a
    /// rolled-back transaction, or in another store.
    #[error(
        "the value owns an allocation of {type_name} at heap offset {offset:#x}, which is not there ({found}); it was made in a transaction that was rolled back, is of another store, or was released: make it anew, in this transaction"
    )]
    OwnedNotLive {
        /// The type of the owned allocation.
        type_name: String,
        /// The expected offset of that allocation, from the start of the heap.
        offset: u64,
        /// The actual contents at that offset.
        found: String,
    },

    /// A link is not exactly one allocation of its type, which `free` and roots require.
    #[error(
        "link to {type_name} at heap offset {offset:#x} is not one whole allocation of that type ({found}); give the link that `alloc` returned"
    )]
    LinkNotWhole {
        /// The type of the target.
        type_name: String,
        /// The link's offset from the start of the heap.
        offset: u64,
        /// The actual contents at that offset.
        found: String,
    },

    /// Two links of one call overlap.
    #[error(
        "links {first} and {second} of one call overlap at heap offset {offset:#x}; give it links to different objects"
    )]
    LinksOverlap {
        /// The first link's index in the arguments.
        first: usize,
        /// The second link's index.
        second: usize,
        /// The offset where they overlap.
        offset: u64,
    },

    /// A required root does not exist.
    #[error(
        "there is no root {name:?}; {}; set it first (`set_root`, `root_or_insert_with`), or ask with `root`, which gives a null link then",
        near(nearest, *roots)
    )]
    NoSuchRoot {
        /// The requested name.
        name: String,
        /// The most similar names of existing roots, the nearest first; at most three.
        nearest: Vec<String>,
        /// Number of roots in the store.
        roots: u64,
    },

    /// A root that must lead to an object is null.
    #[error(
        "root {name:?}, a {type_name}, is null: it was set to a link without a target; set it to one that `alloc` returned, or ask with `root`, which gives the null link"
    )]
    RootNull {
        /// The root's name.
        name: String,
        /// The root's type; in brackets for a slice.
        type_name: String,
    },

    /// The name of a root is empty.
    #[error("the name of a root is empty; give the root a name of at least one character")]
    RootNameEmpty,

    /// A root has another type than the requested one.
    #[error(
        "root {name:?} is a {found}, and a {expected} was asked for\nexpected:\n{expected_layout}found in the store:\n{found_layout}"
    )]
    RootType {
        /// The root's name.
        name: String,
        /// The requested type.
        expected: String,
        /// The root's type.
        found: String,
        /// The layout of the requested type.
        expected_layout: String,
        /// The layout of the root's type.
        found_layout: String,
    },

    /// A type has another layout in the program than in the store.
    #[error(
        "type {type_name} has another layout in this program than in the store; restore the old definition, or give the new type a name of its own with #[persist(name = \"…\")]\nexpected:\n{expected}found in the store:\n{found}"
    )]
    TypeChanged {
        /// The type's name.
        type_name: String,
        /// The layout in the program, field by field.
        expected: String,
        /// The layout in the store.
        found: String,
    },

    /// Two types of this program have the same name.
    ///
    /// The type that was used first since the store was opened keeps the name. The other one is
    /// refused, even if its layout happens to be the same, and leaves nothing in the store.
    #[error(
        "type name {type_name} is that of two types in this program{}, and a store, which knows types by their names, would take one for the other; give one of them a name of its own with #[persist(name = \"…\")]\nused first: {first_path}\n{first_layout}used now: {second_path}\n{second_layout}",
        if first_path == second_path { " (at one path: in two versions of a crate, or in two blocks of a function)" } else { "" }
    )]
    TypeNameTaken {
        /// The name.
        type_name: String,
        /// The Rust path of the type that was used first.
        first_path: &'static str,
        /// Its layout, field by field.
        first_layout: String,
        /// The Rust path of the refused type.
        second_path: &'static str,
        /// Its layout.
        second_layout: String,
    },

    /// This thread already holds the write transaction.
    #[error(
        "this thread has a write transaction on this store already, and would wait for itself; end that one first"
    )]
    NestedWrite,

    /// A write transaction was leaked, and its thread has ended.
    #[error(
        "a write transaction on this store was leaked (as with `mem::forget`) by a thread that has ended, so that it will never be over; nothing of it was committed: close the store and open it again to write"
    )]
    WriterLeaked,

    /// A savepoint of another transaction, or one invalidated by a rollback to an earlier
    /// savepoint.
    #[error(
        "this savepoint is gone: it belongs to another transaction, or an earlier savepoint was rolled back to"
    )]
    SavepointGone,

    /// Readers hold the maximum number of snapshots.
    #[error(
        "readers hold {held} snapshots, as many as the store may have; the oldest was begun {age:?} ago at {begun_at}; end it sooner, or allow more (`max_snapshots`)"
    )]
    TooManySnapshots {
        /// Snapshots that readers hold.
        held: usize,
        /// How long the oldest snapshot has been held.
        age: std::time::Duration,
        /// The call of `Store::read` that began it.
        begun_at: &'static std::panic::Location<'static>,
    },

    /// The images of the process have used up the memory budget, and no checkpoint gives memory back.
    #[error("{path}: changed pages take {private_bytes} bytes of memory, the budget is {budget_bytes} (`memory_budget_bytes`), and no checkpoint has given any back for {waited:?}; readers hold another {held_bytes} bytes; look for a disk that hangs or, if the store is shared, a process that is stopped; end long readers, or allow more; nothing is lost, and it can be tried again", path = .path.display())]
    MemoryBudget {
        /// The store's file.
        path: PathBuf,
        /// The budget.
        budget_bytes: u64,
        /// Private memory of the store that a checkpoint would give back.
        private_bytes: u64,
        /// Private memory of snapshots that readers hold.
        held_bytes: u64,
        /// How long the transaction has waited without progress.
        waited: std::time::Duration,
    },

    /// The store was opened read-only.
    #[error("{path}: the store was opened to read alone; open it with `open` to change it, or with `open_private` to change a copy", path = .path.display())]
    ReadOnly {
        /// The store's file.
        path: PathBuf,
    },

    /// The store was opened before this process was forked.
    #[error("{path}: the store belongs to the process that opened it, of which this one is a forked child; open the store after forking, or in the parent alone", path = .path.display())]
    Forked {
        /// The store's file.
        path: PathBuf,
    },

    /// An earlier write or flush failed, which poisoned the store.
    #[error("{path}: an earlier write or flush failed ({cause}), so nothing more is written; reads go on as long as the kernel has the bytes; close the store and open it again to recover", path = .path.display())]
    Poisoned {
        /// The store's file.
        path: PathBuf,
        /// The failure that poisoned the store.
        cause: String,
    },

    /// Logging a commit, or its flush, failed: the next open shows whether the commit lasts.
    #[error("{path}: logging the commit and making it durable failed ({cause}): whether it lasts is known after opening the store again", path = .path.display())]
    CommitUnknown {
        /// The store's file.
        path: PathBuf,
        /// The failure.
        cause: String,
    },

    /// The heap cannot grow.
    #[error("{path}: cannot grow the store to {wanted_bytes} bytes: {source}; the transaction can be rolled back, and the store works on", path = .path.display())]
    NoSpace {
        /// The store's file.
        path: PathBuf,
        /// The requested length.
        wanted_bytes: u64,
        /// The operating system's error.
        source: io::Error,
    },

    /// The file would become longer than the program allows.
    #[error("{path}: the file would have to grow to {wanted_bytes} bytes, and the option `max_file_bytes` allows {max_file_bytes}; free what is not needed, or open the store with a larger `max_file_bytes`", path = .path.display())]
    FileLimitReached {
        /// The store's file.
        path: PathBuf,
        /// The length that the transaction needs.
        wanted_bytes: u64,
        /// The option's value.
        max_file_bytes: u64,
    },

    /// An allocation that is too large for any store.
    #[error("cannot allocate {count} element(s) of {size_bytes} bytes: {why}")]
    TooLarge {
        /// Requested elements.
        count: u64,
        /// Bytes of one element.
        size_bytes: u64,
        /// The limit that it exceeds.
        why: &'static str,
    },

    /// A name or a type's description is too long for a store.
    #[error(
        "{what} ({begin:?} and so on) has {found_bytes} bytes, and a store takes at most {max_bytes}; make it shorter"
    )]
    TextTooLong {
        /// The kind of text.
        what: &'static str,
        /// The start of the name.
        begin: String,
        /// Its length.
        found_bytes: u64,
        /// The maximum length.
        max_bytes: u64,
    },

    /// One of flagstone's own structures in the file contradicts itself.
    #[error(
        "{what} at heap offset {offset:#x} is damaged: expected {expected}, found {found}; run `check`, restore a backup"
    )]
    Corrupt {
        /// The structure.
        what: &'static str,
        /// Its heap offset.
        offset: u64,
        /// The expected content.
        expected: String,
        /// The actual content.
        found: String,
    },
}

/// Says what proves that the log is damaged, and what can be done.
fn after_damage(can_salvage: bool) -> &'static str {
    match can_salvage {
        true => {
            "as a later record attests; opening would drop committed transactions: restore a \
             backup, or open with `salvage(true)` to go on from the state before the damage"
        }
        false => {
            "as its superblock attests, and pages of the heap may hold what the lost records say: \
             no committed state can be put together, with `salvage(true)` neither; restore a backup"
        }
    }
}

/// Describes the existing roots, for the message about a missing one.
fn near(nearest: &[String], roots: u64) -> String {
    match nearest {
        [] if roots == 0 => "the store has no roots".to_string(),
        _ => format!("of the store's {roots} root(s), the nearest are {nearest:?}"),
    }
}
