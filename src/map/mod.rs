//! Mapped memory: the one place where offsets become references.
//!
//! **Owns** every mapping and all `unsafe` code of the crate besides the
//! `Persist` implementations. **Must not know** logs, transactions or what the
//! bytes mean.
//!
//! # Invariants
//!
//! `M1` `base..base + len_bytes` of a [`PrivateMap`] is one mapping (or one
//! allocation) that belongs to it alone, can be read and written, and stays
//! where it is until a call with `&mut self` moves it or it is dropped.
//! `M2` `limit ≤ len_bytes`, and all bytes below `limit` are initialised.
//! `M3` References into a map borrow it: shared ones from `&self`, exclusive
//! ones from `&mut self`, each spanning one object or array and no more; raw
//! bytes besides them are never borrowed.
//! `M4` While a shared reference lives, its bytes do not change. Within the
//! process that is M3. Through the file it is the promise of whoever opened
//! the store (`Store::open` is `unsafe` for it) together with the rule of the
//! checkpoint, which writes a page of the file only after every image that
//! could see the change has its own copy (ARCHITECTURE.md, "Freezing").
//! Log regions, which do change, are holes that no reference may touch.
//! `M5` The file is never cut below what a map's `limit` covers.
//! `M6` While an `Arc` holds what has a map, nobody gets a `&mut` to it, and
//! nothing changes a map's view through `&`: a copy of its bounds stays true.
//! `M7` A mapping is used, and unmapped, in the process that made it alone: a forked
//! child does not have it ([`Birth`]).

mod birth;
mod coordination;
mod log;
mod private;
mod window;

pub(crate) use birth::Birth;
pub(crate) use coordination::CoordinationMap;
pub(crate) use log::LogMap;
pub(crate) use private::{Hole, Misfit, PrivateMap};
pub(crate) use window::{HasMap, Held};
