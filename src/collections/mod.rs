//! Counterparts of the collections of the standard library that lie in a store.
//!
//! **Owns** how vectors, texts, hash tables and trees lie in the heap. **Must
//! not know** pages, logs or files: all of it is safe code on top of
//! transactions, and no module here has unsafe code of its own.
//!
//! # How they are used
//!
//! A collection is a small plain struct. It can be a root, a field, or an
//! element of another collection. What only reads is called on the struct, with
//! any transaction; what changes is called on the [`Link`](crate::Link) to it,
//! with the write transaction. `link.field(field!(User, numbers))` is the link
//! to a collection that is a field.
//!
//! ```
//! use flagstone::{Store, collections::Vec};
//!
//! # fn main() -> Result<(), flagstone::Error> {
//! let store = Store::in_memory()?;
//! let mut tx = store.write()?;
//! let primes = tx.root_or_insert_with("primes", Vec::<u64>::new)?;
//! primes.extend(&mut tx, [2, 3, 5, 7])?;
//! tx.commit()?;
//!
//! let tx = store.read()?;
//! let primes = tx.root_object::<Vec<u64>>("primes")?;
//! assert_eq!(primes.as_slice(&tx)?, [2, 3, 5, 7]);
//! # Ok(()) }
//! ```
//!
//! # Who owns what
//!
//! A collection owns its memory and its elements, and these own what they own
//! in turn. A [`Link`](crate::Link) never owns anything. So:
//!
//! - A value that is given to a collection belongs to it. A value that a method
//!   returns (`pop`, `remove`, the old value of `insert`) belongs to the caller,
//!   who stores it elsewhere or calls [`WriteTx::release`](crate::WriteTx::release).
//! - What a method drops (`clear`, `truncate`, `retain`) it releases, as deep as
//!   it goes. [`WriteTx::free_deep`](crate::WriteTx::free_deep) releases an
//!   object with all it owns.
//! - Nothing is released by Rust's own drop: a collection as a value is only a
//!   few numbers. One that is overwritten through `&mut`, or forgotten, leaks its
//!   memory; [`Store::check`](crate::Store::check) lists what no root reaches. The
//!   compiler warns where a text or a collection that a method returned is dropped, but
//!   not where it is in an `Option`, a pair or a struct (`pop`, `remove`, the old value of
//!   `insert`): release what is in there.
//!
//! # Errors
//!
//! Each method returns an error for a struct, a node or a length that is
//! damaged, instead of trusting it. A change that failed with such an error, or
//! because the file could not grow, may be half done: roll the transaction back.
//! The same holds for an `Ord` that panicked while trees were joined.

#![deny(unsafe_code)]

mod array;
pub mod btree;
mod bytes;
mod deque;
pub mod hash;
mod key;
mod text;
mod vec;

pub use btree::{BTreeMap, BTreeSet};
pub use bytes::Bytes;
pub use deque::{Deque, DequeIter};
pub use hash::{HashMap, HashMapReader, HashSet};
pub use key::{Key, KeyHasher, OrdKey, Pair, SortedKey, StoredKey};
pub use text::Text;
pub use vec::Vec;
