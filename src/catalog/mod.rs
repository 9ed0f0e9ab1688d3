//! The registry of types and the directory of roots.
//!
//! **Owns** the file's data on types and named roots. **Must not know** the lifetime of a
//! transaction or how a commit works.

#![forbid(unsafe_code)]

mod claims;
mod names;
mod registry;
mod roots;
mod types;

pub(crate) use registry::schema_text;
pub use roots::RootInfo;
pub(crate) use roots::{
    entries as root_entries, expect_settable as expect_root, get as root, list as list_roots,
    no_object as no_root_object, remove as remove_root, set as set_root,
};
pub(crate) use types::{KnownTypes, TypeNumbers, expect_known_layouts};
