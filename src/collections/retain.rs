//! Asks whether an entry of a map stays.

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Link, Persist, bytes_of};

/// What a test said of an entry.
pub(super) struct Answer<V> {
    pub(super) is_kept: bool,
    /// The value, if the test changed it. It is stored for an entry that is removed too: otherwise
    /// whatever the test moved out of it would be released with the entry.
    pub(super) changed: Option<V>,
}

/// Asks `keep` about an entry. It gets a copy of the value, since a transaction lends either one
/// exclusive reference or shared ones; so a test that fails or panics changes nothing.
pub(super) fn ask<K: Persist, V: Persist>(
    tx: &Image,
    key: Link<K>,
    value: Link<V>,
    keep: &mut impl FnMut(&Image, &K, &mut V) -> Result<bool>,
) -> Result<Answer<V>> {
    let (key, before) = (tx.at(key)?, tx.at(value)?);
    let mut value = tx.value(value)?;
    let is_kept = keep(tx, key, &mut value)?;
    let is_changed = bytes_of(&value) != bytes_of(before);
    Ok(Answer { is_kept, changed: is_changed.then_some(value) })
}
