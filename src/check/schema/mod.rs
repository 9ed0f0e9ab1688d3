//! What values look like, as the registry describes their types.
//!
//! **Owns** the reading of descriptions, the parts of each type's values, and their names. **Must
//! not know** the program's types, nor where values lie.

pub(super) mod field_path;
mod fields;
pub(super) mod grammar;
pub(super) mod layout;
mod plans;
pub(super) mod read;
mod roles;
pub(super) mod shapes;
