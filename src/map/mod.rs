//! Mapped memory: the one place where offsets become references.
//!
//! **Owns** every mapping and all `unsafe` code of the crate except the
//! `Persist` implementations. **Must not know** logs, transactions or what the
//! bytes mean.
//!
//! # Invariants
//!
//! `M1` `base..base + len_bytes` of a [`PrivateMap`] is one mapping, or several without a gap, or one
//! allocation. It belongs to the map alone, can be read, and keeps its address until a call
//! with `&mut self` moves it or it is dropped. It can be written as well, but for the ranges that a
//! [`SpillFile`] has taken over, of an image that nobody gets a `&mut` to any more.
//! `M2` `limit ≤ len_bytes`, and all bytes below `limit` are initialised.
//! `M3` References into a map borrow it: shared ones from `&self`, exclusive ones from
//! `&mut self`. Each spans one object or array and no more; the raw bytes around them are
//! never borrowed. A call with `&self` may replace what backs a range, if no byte changes
//! (`SpillFile`).
//! `M4` While a reference lives, its bytes change only through it. Within the process
//! this is M3. Through the file: flagstone writes pages of the heap in a checkpoint, and
//! pages past the heaps of all images. References are made only into an image at rest, which
//! has applied all of its records. At that time, each page that a running checkpoint writes
//! either is the image's own, because a record has touched it or the checkpoint has had it
//! copied (docs/design/checkpoint.md, step 2), or it is zero and stays zero. While records are
//! being applied, a page may still be the file's, so applying works by copies alone
//! (`replay`). A round of recovery borrows pages between two records, but of an image that nobody
//! else has, of a file that nobody else writes. Log regions, which do change, are excluded ranges that no reference may
//! touch. A range that a spill file has taken over is of a nameless file that this image has alone, and nobody writes it
//! again. The opener of the store promises that nobody else writes the file (`Store::open`
//! is `unsafe` for this reason). Where opening is safe (`open_copy`, `open_private`,
//! `in_memory`), the mapped file is a nameless file in memory that nobody else has, unless
//! they look for this process's descriptors in `/proc`, as they could for its memory.
//! `M5` The file is never cut below the bytes that a map's `limit` covers, as long as anybody uses
//! the map. (Of a store that several processes share, an idle image may be longer than the file: it
//! is brought up to date, or dropped, before it is used.) This rests on the same promise as M4.
//! `M6` While an `Arc` holds the holder of a map, or an `arc_swap::Guard`, which is as good, nobody
//! gets a `&mut` to it, and nothing changes a map's view through `&`: a copy of its bounds stays true.
//! `M7` A mapping is used and unmapped only in the process that made it: a forked child
//! does not have it ([`ForkGuard`]), or has, of a spill file's range that was being placed, a mapping
//! that it never uses.
//! `M8` Shared mappings (the log and the coordination page) are accessed through atomics
//! alone, so no access of another thread or process is a data race. They are also guarded:
//! where the file cannot provide a page, this process gets a private page of zeros, and the
//! code that stored or loaded finds that out before it relies on the access (`sigbus`).

mod coordination;
mod fast_path;
mod fork;
mod log;
mod machine_page;
mod pinned;
mod private;
mod replay;
mod sigbus;
mod spill_file;
mod static_ref;

pub(crate) use coordination::CoordinationMap;
pub(crate) use fork::ForkGuard;
pub(crate) use log::LogMap;
pub(crate) use machine_page::{
    MACHINE_PAGES_BYTES, machine_page_bytes, machine_page_shift, system_page_bytes,
};
pub(crate) use pinned::{HasMap, PinnedMap};
pub(crate) use private::{AccessError, Excluded, PrivateMap, is_in_view};
pub(crate) use spill_file::SpillFile;
pub(crate) use static_ref::StaticRef;
