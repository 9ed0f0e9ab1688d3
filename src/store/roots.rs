//! Named roots, in the write transaction.

use crate::catalog::{self, RootInfo};
use crate::error::Result;
use crate::persist::{ElementRef, Link, Persist, Pointee};

use super::write::WriteTx;

impl WriteTx<'_> {
    /// Returns the link stored as root `name`; null if it was never set. See
    /// [`root_object`](Self::root_object) for the object that it leads to.
    ///
    /// # Errors
    ///
    /// As for [`ReadTx::root`](super::ReadTx::root).
    pub fn root<P: Pointee + ?Sized>(&self, name: &str) -> Result<Link<P>> {
        let link = catalog::root::<P>(self, name)?;
        self.expect_known_layouts::<P::Item>()?;
        Ok(link)
    }

    /// Returns the object, or the slice, that the root `name` leads to; see
    /// [`ReadTx::root_object`](super::ReadTx::root_object).
    ///
    /// # Errors
    ///
    /// As for [`ReadTx::root_object`](super::ReadTx::root_object).
    pub fn root_object<P: Pointee + ?Sized>(&self, name: &str) -> Result<&P> {
        let link = self.expect_root::<P>(name)?;
        self.at(link)
    }

    /// Returns the object, or the slice, that the root `name` leads to, to change it.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let days = tx.alloc_slice([0u64; 7])?;
    /// tx.set_root("days", days)?;
    /// tx.root_object_mut::<[u64]>("days")?[2] += 1;
    /// assert_eq!(tx.root_object::<[u64]>("days")?, [0, 0, 1, 0, 0, 0, 0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`root_object`](Self::root_object) and [`at_mut`](Self::at_mut).
    pub fn root_object_mut<P: Pointee + ?Sized>(&mut self, name: &str) -> Result<&mut P> {
        let link = self.expect_root::<P>(name)?;
        self.at_mut(link)
    }

    /// Returns the link stored as root `name`, or an error if it is null.
    fn expect_root<P: Pointee + ?Sized>(&self, name: &str) -> Result<Link<P>> {
        let link = self.root::<P>(name)?;
        if link.is_null() {
            return Err(catalog::no_root_object(self, name));
        }
        Ok(link)
    }

    /// Sets the root `name` to `link`. A root keeps the type it was first set to until it is
    /// removed.
    ///
    /// # Errors
    ///
    /// The root has another type; its type has another layout in the store, or shares its name
    /// with another type of this program; the link is neither null nor exactly one live allocation
    /// of its type; or the name is empty.
    pub fn set_root<P: Pointee + ?Sized>(&mut self, name: &str, link: Link<P>) -> Result<()> {
        let request = self.request_of(link)?;
        self.expect_known_layouts::<P::Item>()?;
        if !link.is_null() {
            self.expect_whole(P::target_name, link.offset(), &request)?;
        }
        catalog::expect_root::<P>(self, name)?;
        let type_number = self.request_for(&ElementRef::of::<P::Item>(), None)?.type_number;
        catalog::set_root(self.workspace(), name, link, type_number)
    }

    /// Removes the root `name`; returns whether it existed. Its target stays allocated.
    ///
    /// # Errors
    ///
    /// The directory of roots is damaged, or the name is empty.
    pub fn remove_root(&mut self, name: &str) -> Result<bool> {
        catalog::remove_root(self.workspace(), name)
    }

    /// Lists all roots, sorted by name.
    ///
    /// # Errors
    ///
    /// The directory of roots is damaged.
    pub fn roots(&self) -> Result<Vec<RootInfo>> {
        catalog::list_roots(self)
    }

    /// Returns the link stored as root `name`; if it is null, allocates an object from `make` and
    /// sets the root to it. A caller that does not need the link discards it with `let _ =`.
    ///
    /// # Errors
    ///
    /// As for [`root`](Self::root), [`alloc`](Self::alloc) and [`set_root`](Self::set_root).
    pub fn root_or_insert_with<T: Persist>(
        &mut self,
        name: &str,
        make: impl FnOnce() -> T,
    ) -> Result<Link<T>> {
        let link = self.root::<T>(name)?;
        if !link.is_null() {
            return Ok(link);
        }
        let link = self.alloc(make())?;
        self.set_root(name, link)?;
        Ok(link)
    }

    fn expect_known_layouts<T: Persist>(&self) -> Result<()> {
        let is_committed = self.writer.numbers.is_committed();
        catalog::expect_known_layouts::<T>(self, &self.store.types, is_committed)
    }
}
