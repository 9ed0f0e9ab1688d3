//! The collections of the standard library, in a store.
//!
//! **Owns** the layout of vectors, texts, hash tables and trees in the heap. **Must
//! not know** pages, logs or files: all of it is safe code on top of transactions,
//! and no module here contains unsafe code.
//!
//! # Usage
//!
//! A collection is a small plain struct. It can be a root, a field, or an element
//! of another collection. Methods that only read are on the struct and take any
//! transaction. Methods that modify are on the [`Link`](crate::Link) to it and take
//! the write transaction. `link.field(field!(User, numbers))` is the link to a
//! collection that is a field.
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
//! # Ownership
//!
//! A collection owns its memory and its elements, and these in turn own what they
//! hold. A [`Link`](crate::Link) never owns anything. Therefore:
//!
//! - A value given to a collection belongs to it. A value that a method returns
//!   (`pop`, `remove`, the old value of `insert`) belongs to the caller, who stores
//!   it elsewhere or calls [`WriteTx::release`](crate::WriteTx::release).
//! - A method that discards values (`clear`, `truncate`, `retain`) releases them
//!   with everything that they own.
//!   [`WriteTx::free_deep`](crate::WriteTx::free_deep) releases an object with
//!   everything that it owns.
//! - Rust's drop releases nothing: a collection as a value is only a few numbers.
//!   If it is overwritten through `&mut`, or forgotten, its memory leaks;
//!   [`Store::check`](crate::Store::check) lists the blocks that no root reaches.
//!   The compiler warns if a returned text or collection is dropped, but not if it
//!   is inside an `Option`, a pair or a struct (`pop`, `remove`, the old value of
//!   `insert`): release it.
//!
//! # Closures
//!
//! A closure whose method `std` has, such as that of `retain`, gets what `std`'s gets, and cannot read
//! what elements own. Beside each `retain` is a `retain_with`, whose closure gets the transaction for
//! reading as well, and may fail:
//!
//! ```
//! # fn main() -> Result<(), flagstone::Error> {
//! # use flagstone::{Store, Text, collections::HashSet};
//! # let store = Store::in_memory()?;
//! # let mut tx = store.write()?;
//! let names = tx.alloc(HashSet::<Text>::new())?;
//! names.extend(&mut tx, ["Ada", "Bo"])?;
//! names.retain_with(&mut tx, |tx, name| Ok(name.as_str(tx)?.len() > 2))?;
//! assert!(!tx.at(names)?.contains(&tx, "Bo")?);
//! # Ok(()) }
//! ```
//!
//! All of them ask about every element before they remove the first one: a closure that fails or
//! panics removes nothing.
//!
//! # Errors
//!
//! Every method returns an error for a damaged struct, node or length instead of
//! trusting it. A change that failed with such an error, or because the file could
//! not grow, may be half done: roll the transaction back. The same holds for an
//! `Ord` that panicked while trees were joined.

#![deny(unsafe_code)]

mod array;
pub mod btree;
mod bytes;
mod deque;
pub mod hash;
mod key;
mod retain;
mod text;
mod vec;

pub use btree::{BTreeMap, BTreeSet, prefix};
pub use bytes::Bytes;
pub use deque::{Deque, DequeIter};
pub use hash::{HashMap, HashMapReader, HashSet};
pub use key::{Key, KeyHasher, OrdKey, Pair, SortedKey, StoredKey};
pub use text::Text;
pub use vec::{Vec, VecIter};
