//! The registry of types and the directory of roots.
//!
//! **Owns** what the file says of types and named roots. **Must not know**
//! transactions' lifetimes or how a commit works.

#![forbid(unsafe_code)]

mod registry;
mod roots;

pub(crate) use registry::{CheckedTypes, TypeNumbers, expect_known_layouts, schema_text};
pub use roots::RootInfo;
pub(crate) use roots::{
    entries as root_entries, expect_settable as expect_root, get as root, list as list_roots,
    remove as remove_root, set as set_root,
};
