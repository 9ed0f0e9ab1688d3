//! The kinds of failure, each with its message.

use std::io;
use std::path::PathBuf;

use super::near;

/// Every kind of failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A system call on the store's file failed.
    #[error("{path}: cannot {action}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The store's file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },

    /// A process that shares the store lives and does not go on, so that this one could not.
    #[error("{path}: process {process} has kept this one waiting for {waited:?}, for its turn to write or an answer to a checkpoint; if it is stopped, continue it or end it (nothing is lost), and try again", path = .path.display())]
    ProcessUnresponsive {
        /// The store's file.
        path: PathBuf,
        /// The other process; 0 if it is not known.
        process: u32,
        /// How long this one has waited.
        waited: std::time::Duration,
    },

    /// As many processes share the store as can.
    #[error("{path}: {most} processes share the store already, and no more can; close it in one of them", path = .path.display())]
    TooManyProcesses {
        /// The store's file.
        path: PathBuf,
        /// How many can.
        most: usize,
    },

    /// The store was made, and its name may not be durable.
    #[error("{path}: the store is made, and whole; but syncing its folder failed ({source}), so a power cut may take the file away until the system has written its name by itself; open it again to use it", path = .path.display())]
    CreationUnsure {
        /// The store's file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },

    /// A store to be shared lies where other machines may reach it.
    #[error("{path}: lies on {file_system}, which other machines may use as well, whose locks and memory do not reach this one: each would write over the other; put the store on a file system of this machine alone, or, if all processes that open it run on this machine, say so with `assume_local(true)`", path = .path.display())]
    NotOneMachine {
        /// The store's file.
        path: PathBuf,
        /// What kind of file system it is.
        file_system: String,
    },

    /// There is no store, and none is to be created.
    #[error("{path}: there is no such file, and the program did not ask for a new store; check the path (or open with `create(true)`)", path = .path.display())]
    NoSuchFile {
        /// The path as given.
        path: PathBuf,
    },

    /// The path names something that is not a regular file.
    #[error("{path}: a store is a regular file, this is {found}; give the path of a file", path = .path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
        /// What lies there.
        found: &'static str,
    },

    /// The file is empty, and the way of opening makes no store of it.
    #[error("{path}: the file is empty, and a store never is; open it to write with `create(true)` to make a store of it, or restore a backup", path = .path.display())]
    EmptyFile {
        /// The store's file.
        path: PathBuf,
    },

    /// The file is too short to hold a store's first pages.
    #[error("{path}: {found_bytes} bytes are too few for a store, whose first pages alone take {expected_bytes}; the file was cut off or is not a store", path = .path.display())]
    TooShort {
        /// The store's file.
        path: PathBuf,
        /// Its length.
        found_bytes: u64,
        /// What the first pages take.
        expected_bytes: u64,
    },

    /// The file is something else.
    #[error("{path}: not a flagstone store: expected the magic \"{expected}\" at offset 0 or 4096, found \"{found}\"; the file was left as it is", path = .path.display())]
    NotAStore {
        /// The path as given.
        path: PathBuf,
        /// What a store begins with.
        expected: String,
        /// What this file begins with.
        found: String,
    },

    /// Creation of the store did not come to its end, and the way of opening does not make it
    /// anew.
    #[error("{path}: a store that was never finished (its creation was interrupted); it holds no data: open it to write with `create(true)` to make it anew, or remove it", path = .path.display())]
    Unfinished {
        /// The store's file.
        path: PathBuf,
    },

    /// The file was written by a program that this one does not know.
    #[error("{path}: format version {found}, this program knows {known}; open it with the flagstone that wrote it", path = .path.display())]
    UnknownVersion {
        /// The store's file.
        path: PathBuf,
        /// The file's version.
        found: u32,
        /// This program's.
        known: u32,
    },

    /// The file's structs have the other byte order.
    #[error("{path}: written on a machine with the other byte order; structs hold native integers, so it opens only there", path = .path.display())]
    ForeignByteOrder {
        /// The store's file.
        path: PathBuf,
    },

    /// A position in a collection that it does not have.
    #[error("index {index} of a {type_name} of {len} elements; expected one below {limit}")]
    IndexOutOfRange {
        /// The collection's type.
        type_name: String,
        /// The index that was asked for.
        index: u64,
        /// What it had to be below.
        limit: u64,
        /// Elements that there are.
        len: u64,
    },

    /// A range of a collection that ends before it begins.
    #[error("range {start}..{end} of a {type_name} of {len} elements begins after its end")]
    RangeReversed {
        /// The collection's type.
        type_name: String,
        /// The first element that was asked for.
        start: u64,
        /// The one after the last.
        end: u64,
        /// Elements that there are.
        len: u64,
    },

    /// Keys that had to come in ascending order did not.
    #[error(
        "key {index} of type {type_name} is not above the one before; expected each key once, in ascending order"
    )]
    NotAscending {
        /// The keys' type.
        type_name: String,
        /// Which one, counted from 0.
        index: u64,
    },

    /// Neither superblock can be used.
    #[error("{path}: both superblocks are damaged (offset 0: {first}; offset 4096: {second}); restore a backup", path = .path.display())]
    SuperblocksDamaged {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with the first.
        first: String,
        /// What is wrong with the second.
        second: String,
    },

    /// The file ends before what its superblock and log describe.
    #[error("{path}: {what} needs {expected_bytes} bytes and the file has {found_bytes}: it was truncated; restore a backup", path = .path.display())]
    Truncated {
        /// The store's file.
        path: PathBuf,
        /// Which part is missing.
        what: &'static str,
        /// The length it needs.
        expected_bytes: u64,
        /// The length it has.
        found_bytes: u64,
    },

    /// A record in the middle of the log is damaged, though it had been durable.
    #[error("{path}: the log is damaged at position {position} (file offset {offset}), though a later record attests that it was durable up to {proven_durable}; opening would drop committed transactions: restore a backup, or open with `salvage(true)` to go on from the state before the damage", path = .path.display())]
    LogDamaged {
        /// The store's file.
        path: PathBuf,
        /// Where the sequence of records ends too early.
        position: u64,
        /// The same as an offset in the file.
        offset: u64,
        /// The durable position that a later record names.
        proven_durable: u64,
    },

    /// Another store, in this process or another, has the file open.
    #[error("{path}: the store is open already, here or in another process; close it there first", path = .path.display())]
    Locked {
        /// The store's file.
        path: PathBuf,
    },

    /// The machine is one that flagstone does not support.
    #[error("flagstone needs {expected}, this machine has {found}")]
    Unsupported {
        /// What is needed.
        expected: &'static str,
        /// What there is.
        found: String,
    },

    /// An option of opening makes no sense.
    #[error("open option {option}: {why}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        why: String,
    },

    /// A link that must point at something is null.
    #[error(
        "link to {type_name} is null: it was given no target, or is that of a root which was never set (`root_object` names such a root and those with names like it); give it a target first, as from `alloc` or `root_or_insert_with`, or read with `get`, which answers `None`"
    )]
    LinkNull {
        /// The type of the target.
        type_name: String,
    },

    /// A link leads outside of the heap's objects.
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
        /// The heap's length as this transaction knows it.
        heap_bytes: u64,
    },

    /// A link's offset is no multiple of its type's alignment.
    #[error(
        "link to {type_name} at heap offset {offset:#x} is not a multiple of the type's alignment of {align_bytes}; it is damaged"
    )]
    LinkMisaligned {
        /// The type of the target.
        type_name: String,
        /// The link's offset from the start of the heap.
        offset: u64,
        /// What it must be a multiple of.
        align_bytes: u64,
    },

    /// The bytes behind a link are not a value of its type.
    #[error(
        "bytes at heap offset {offset:#x} are not a value of {type_name} (such as a bool that is neither 0 nor 1, or an enum without that variant); they are damaged or of another type"
    )]
    InvalidBits {
        /// The type of the target.
        type_name: String,
        /// The link's offset from the start of the heap.
        offset: u64,
    },

    /// A link does not lie in an allocation that is in use.
    #[error(
        "link to {type_name} at heap offset {offset:#x} of {len_bytes} bytes does not lie in one live allocation ({found}); it dangles or is damaged"
    )]
    LinkNotLive {
        /// The type of the target.
        type_name: String,
        /// The link's offset from the start of the heap.
        offset: u64,
        /// Bytes that it spans.
        len_bytes: u64,
        /// What lies there instead.
        found: &'static str,
    },

    /// Zeros were asked for where they are no value.
    #[error(
        "no value of {type_name} has only zero bytes (as an enum without a variant 0 has none); allocate it with `alloc` or `alloc_slice`, from a value"
    )]
    ZerosInvalid {
        /// The type.
        type_name: String,
    },

    /// A value that is stored owns memory which is not there, such as a `Text` that was made in a
    /// transaction which was rolled back, or in another store.
    #[error(
        "the value owns an allocation of {type_name} at heap offset {offset:#x}, which is not there ({found}); it was made in a transaction that was rolled back, is of another store, or was released: make it anew, in this transaction"
    )]
    OwnedNotLive {
        /// The type of what it owns.
        type_name: String,
        /// Where that should be, from the start of the heap.
        offset: u64,
        /// What lies there instead.
        found: String,
    },

    /// A link is not exactly one allocation of its type, as `free` and roots want it.
    #[error(
        "link to {type_name} at heap offset {offset:#x} is not one whole allocation of that type ({found}); give the link that `alloc` returned"
    )]
    LinkNotWhole {
        /// The type of the target.
        type_name: String,
        /// The link's offset from the start of the heap.
        offset: u64,
        /// What lies there instead.
        found: String,
    },

    /// Two links that were asked for at once lie over each other.
    #[error(
        "links {first} and {second} of one call overlap at heap offset {offset:#x}; give it links to different objects"
    )]
    LinksOverlap {
        /// The first one's place in the arguments.
        first: usize,
        /// The second one's.
        second: usize,
        /// Where they meet.
        offset: u64,
    },

    /// A root that must be there is not.
    #[error(
        "there is no root {name:?}; {}; set it first (`set_root`, `root_or_insert_with`), or ask with `root`, which gives a null link then",
        near(nearest, *roots)
    )]
    NoSuchRoot {
        /// The name that was asked for.
        name: String,
        /// The names most like it that roots have, the nearest first: three at most.
        nearest: Vec<String>,
        /// Roots that the store has.
        roots: u64,
    },

    /// A root that must lead to an object is null.
    #[error(
        "root {name:?}, a {type_name}, is null: it was set to a link without a target; set it to one that `alloc` returned, or ask with `root`, which gives the null link"
    )]
    RootNull {
        /// The root's name.
        name: String,
        /// The type that it has; in brackets for a slice.
        type_name: String,
    },

    /// The name of a root is empty.
    #[error("the name of a root is empty; give the root a name of at least one character")]
    RootNameEmpty,

    /// A root was stored with another type than the one asked for.
    #[error(
        "root {name:?} is a {found}, and a {expected} was asked for\nexpected:\n{expected_layout}found in the store:\n{found_layout}"
    )]
    RootType {
        /// The root's name.
        name: String,
        /// The type asked for.
        expected: String,
        /// The type that it has.
        found: String,
        /// The layout of the type asked for.
        expected_layout: String,
        /// The layout of the type that it has.
        found_layout: String,
    },

    /// A type's layout in the program is not the one in the store.
    #[error(
        "type {type_name} has another layout in this program than in the store; restore the old definition, or give the new type a name of its own with #[persist(name = \"…\")]\nexpected:\n{expected}found in the store:\n{found}"
    )]
    TypeChanged {
        /// The type's name.
        type_name: String,
        /// The program's layout, field by field.
        expected: String,
        /// The store's.
        found: String,
    },

    /// Two types of this program have one name.
    ///
    /// The one that was used first, since the store was opened, has the name; the other is
    /// refused, also if its layout happens to be the same. Nothing of it is in the store.
    #[error(
        "type name {type_name} is that of two types in this program{}, and a store, which knows types by their names, would take one for the other; give one of them a name of its own with #[persist(name = \"…\")]\nused first: {first_path}\n{first_layout}used now: {second_path}\n{second_layout}",
        if first_path == second_path { " (at one path: in two versions of a crate, or in two blocks of a function)" } else { "" }
    )]
    TypeNameTaken {
        /// The name.
        type_name: String,
        /// Where the program has the type that was used first.
        first_path: &'static str,
        /// Its layout, field by field.
        first_layout: String,
        /// Where the program has the type that is refused.
        second_path: &'static str,
        /// Its layout.
        second_layout: String,
    },

    /// The thread that asks for the write transaction holds one.
    #[error(
        "this thread has a write transaction on this store already, and would wait for itself; end that one first"
    )]
    NestedWrite,

    /// A write transaction was leaked, and its thread has ended.
    #[error(
        "a write transaction on this store was leaked (as with `mem::forget`) by a thread that has ended, so that it will never be over; nothing of it was committed: close the store and open it again to write"
    )]
    WriterLeaked,

    /// A savepoint of another transaction, or one that was rolled back past.
    #[error(
        "this savepoint is gone: it belongs to another transaction, or an earlier savepoint was rolled back to"
    )]
    SavepointGone,

    /// Readers hold as many snapshots as the store may have.
    #[error(
        "readers hold {held} snapshots, as many as the store may have; the oldest was begun {age:?} ago at {begun_at}; end it sooner, or allow more (`max_snapshots`)"
    )]
    TooManySnapshots {
        /// Snapshots that are held.
        held: usize,
        /// How long the oldest has been held.
        age: std::time::Duration,
        /// The call of `Store::read` that began it.
        begun_at: &'static std::panic::Location<'static>,
    },

    /// The store was opened to read.
    #[error("{path}: the store was opened to read alone; open it with `open` to change it, or with `open_private` to change a copy", path = .path.display())]
    ReadOnly {
        /// The store's file.
        path: PathBuf,
    },

    /// The store was opened before this process was forked from another.
    #[error("{path}: the store belongs to the process that opened it, of which this one is a forked child; open the store after forking, or in the parent alone", path = .path.display())]
    Forked {
        /// The store's file.
        path: PathBuf,
    },

    /// An earlier write or flush failed.
    #[error("{path}: an earlier write or flush failed ({cause}), so nothing more is written; reads go on as long as the kernel has the bytes; close the store and open it again to recover", path = .path.display())]
    Poisoned {
        /// The store's file.
        path: PathBuf,
        /// The failure that did it.
        cause: String,
    },

    /// The flush of a commit failed: whether it lasts shows at the next opening.
    #[error("{path}: the commit was logged, but making it durable failed ({cause}): whether it lasts is known after opening the store again", path = .path.display())]
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
        /// The length that was wanted.
        wanted_bytes: u64,
        /// The operating system's answer.
        source: io::Error,
    },

    /// An allocation that no store can hold.
    #[error("cannot allocate {count} element(s) of {size_bytes} bytes: {why}")]
    TooLarge {
        /// Elements asked for.
        count: u64,
        /// Bytes of one.
        size_bytes: u64,
        /// Which limit it breaks.
        why: &'static str,
    },

    /// A name, or a type's description, that is too long for a store.
    #[error(
        "{what} ({begin:?} and so on) has {found_bytes} bytes, and a store takes at most {max_bytes}; make it shorter"
    )]
    TextTooLong {
        /// Which text it is.
        what: &'static str,
        /// How the name begins.
        begin: String,
        /// Its length.
        found_bytes: u64,
        /// The longest there may be.
        max_bytes: u64,
    },

    /// One of flagstone's own structures in the file contradicts itself.
    #[error(
        "{what} at heap offset {offset:#x} is damaged: expected {expected}, found {found}; run `check`, restore a backup"
    )]
    Corrupt {
        /// Which structure.
        what: &'static str,
        /// Where it lies.
        offset: u64,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
}
