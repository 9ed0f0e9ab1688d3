//! The types that a walk from one type has reached.

use std::any::TypeId;
use std::collections::HashSet;

use super::schema::Schema;

/// Collects the descriptions of all types reachable from one.
///
/// A type that is met a second time is not entered again, so the walk ends for recursive types.
/// Types are told apart by identity and not by name: two types with the same name are both
/// described, and the store refuses them.
#[derive(Default)]
pub struct Reach {
    pub(super) seen: HashSet<TypeId>,
    pub(super) reached: Vec<Reached>,
}

/// A type that was reached.
pub(crate) struct Reached {
    pub(crate) id: TypeId,
    /// Its path in the program, for messages; not part of its identity in a file.
    pub(crate) path: &'static str,
    pub(crate) schema: Schema,
}

/// A kind of element of an allocation, as a value.
#[derive(Clone, Copy)]
pub(crate) struct ElementRef {
    pub(crate) id: TypeId,
    pub(crate) size_bytes: u64,
    pub(crate) align_bytes: u64,
    pub(crate) name: fn() -> String,
    pub(crate) reach: fn(&mut Reach),
}
