//! Finds the registry entry for a name without reading all entries each time.
//!
//! **Invariant** `N1`: a learnt entry is committed, so it never goes away, and no other entry
//! takes its number.

use std::collections::BTreeSet;

use crate::alloc::type_entry_offset;
use crate::error::{Error, ErrorKind, Result};
use crate::format::checksum;
use crate::format::heap::TYPE_FIRST_USER;
use crate::image::Image;
use crate::persist::Schema;

use super::registry::{expect_same, is_named, type_name};

/// The names of entries, as hashes: a file may give every entry the same long name, and copies of
/// them would take more memory than the file.
pub(super) struct Names {
    /// The first entry that is not learnt yet.
    next: u32,
    learnt: BTreeSet<(u64, u32)>,
    /// The first entry whose name cannot be read.
    unreadable: Option<u32>,
}

impl Default for Names {
    fn default() -> Self {
        Self { next: TYPE_FIRST_USER, learnt: BTreeSet::new(), unreadable: None }
    }
}

fn sum(name: &str) -> u64 {
    checksum::plain(name.as_bytes())
}

impl Names {
    /// Learns the entries that are new in `image`, all of them committed (N1). Reads each entry
    /// once.
    pub(super) fn learn(&mut self, image: &Image) -> Result<()> {
        let len = image.registry()?.len.get();
        for number in self.next..len {
            match type_name(image, number) {
                Ok(Some(name)) => drop(self.learnt.insert((sum(name), number))),
                Ok(None) => {}
                Err(_) => drop(self.unreadable.get_or_insert(number)),
            }
        }
        self.next = self.next.max(len);
        Ok(())
    }

    /// Returns the number of a type if the store knows it. Fails if the store knows another type
    /// by that name, or two.
    pub(super) fn find(&self, image: &Image, schema: &Schema) -> Result<Option<u32>> {
        let len = image.registry()?.len.get();
        let sum = sum(&schema.name);
        let learnt = self.learnt.range((sum, 0)..=(sum, u32::MAX)).map(|(_, number)| *number);
        // The current transaction registered the entries past `next`.
        let numbers = learnt.filter(|number| *number < len).chain(self.next..len);
        let mut found = None;
        for number in numbers {
            if !is_named(image, number, &schema.name)? {
                continue;
            }
            if let Some(other) = found.replace(number) {
                return Err(twice(image, &schema.name, other, number));
            }
        }
        if let Some(number) = found {
            expect_same(image, number, schema)?;
        }
        if found.is_none()
            && let Some(number) = self.unreadable.filter(|number| *number < len)
        {
            // The unreadable entry may be the right one; return the error that says why it is
            // unreadable.
            type_name(image, number)?;
        }
        Ok(found)
    }
}

#[cold]
fn twice(image: &Image, name: &str, first: u32, second: u32) -> Error {
    let offset = type_entry_offset(image, second).unwrap_or(0);
    let expected = format!("one description of {name}");
    let found = format!("two, of types {first} and {second}");
    ErrorKind::corrupt("registry of types", offset, expected, found)
}
