//! Mapped memory: the one place where offsets become references.
//!
//! **Owns** every mapping and all `unsafe` code of the crate besides the
//! `Persist` implementations. **Must not know** logs, transactions or what the
//! bytes mean.
//!
//! # Invariants
//!
//! `M1` `base..base + len_bytes` of a [`PrivateMap`] is one mapping (or one allocation)
//! that belongs to it alone, can be read and written, and stays where it is until a call
//! with `&mut self` moves it or it is dropped.
//! `M2` `limit ≤ len_bytes`, and all bytes below `limit` are initialised.
//! `M3` References into a map borrow it: shared ones from `&self`, exclusive ones from
//! `&mut self`, each spanning one object or array and no more; raw bytes besides them are
//! never borrowed.
//! `M4` While a reference lives, its bytes do not change but through it. Within the process
//! that is M3. Through the file: flagstone writes pages of the heap in a checkpoint, and
//! past the heaps of all images. References are made into an image at rest, all of whose
//! records were applied; at that time, each page that a checkpoint on its way writes is the
//! image's own, since a record has touched it or the checkpoint has had it copied
//! (ARCHITECTURE.md, "Freezing"), or it is zero and stays so. While records are being
//! applied it may be the file's, so that is done by copies alone (`replay`). Log regions,
//! which do change, are holes that no reference may touch. That nobody else writes the file
//! is the promise of whoever opened the store (`Store::open` is `unsafe` for it); where
//! that is safe (`open_copy`, `open_private`, `in_memory`), the mapped file is one in
//! memory without a name, that nobody else has, unless they look for this process's
//! descriptors in `/proc`, as they could for its memory.
//! `M5` The file is never cut below what a map's `limit` covers. As M4, it rests on the
//! same promise.
//! `M6` While an `Arc` holds what has a map, nobody gets a `&mut` to it, and nothing
//! changes a map's view through `&`: a copy of its bounds stays true.
//! `M7` A mapping is used, and unmapped, in the process that made it alone: a forked child
//! does not have it ([`ForkGuard`]).
//! `M8` What is mapped shared, the log and the page where processes meet, is got at through
//! atomics alone, so that no access of another thread or process is a data race; and it is
//! guarded: where the file cannot give a page, this process gets one of its own, of zeros,
//! and whoever stored or loaded finds that out before it goes by it (`sigbus`).

mod coordination;
mod fast_path;
mod fork;
mod log;
mod private;
mod replay;
mod sigbus;

pub(crate) use coordination::CoordinationMap;
pub(crate) use fast_path::{HasMap, PinnedMap};
pub(crate) use fork::ForkGuard;
pub(crate) use log::LogMap;
pub(crate) use private::{AccessError, Excluded, PrivateMap};
