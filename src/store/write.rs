//! The write transaction.

use std::ops::Deref;

use crate::alloc::{self, Request};
use crate::catalog::TypeNumbers;
use crate::engine::{WriteLock, Writer};
use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{ElementRef, Link, Owned, Persist, Pointee, expect_range};
use crate::sync::MutexGuard;
use crate::workspace::Workspace;

use super::gate::Passed;
use super::handle::Store;
use super::options::Durability;
use super::validated::ValidatedCache;

/// The write transaction: it changes structs in place, in private memory that no reader sees
/// before [`commit`](Self::commit). Dropping it rolls everything back.
///
/// It derefs to [`Image`], so it reads its own writes. Only one exists at a time; other threads
/// that want to write wait. It must end on the thread where it began.
///
/// A transaction that a program leaks, as with [`std::mem::forget`], never ends: none of it is
/// committed, readers go on, the store can be closed, and every later attempt to write gets an
/// error.
#[must_use = "a write transaction that is dropped rolls everything back: keep it, and call `commit`"]
pub struct WriteTx<'store> {
    pub(super) store: &'store Store,
    pub(super) writer: WriterGuard<'store>,
    pub(super) durability: Durability,
    /// Tells transactions that have savepoints apart: a savepoint is valid in its own only.
    pub(super) serial: Option<u64>,
    pub(super) validated: ValidatedCache,
    /// Scratch list of the pieces that a value owns; empty between calls.
    pub(super) owned: Owned,
    /// Whether it was committed or rolled back, so that a drop has nothing to undo.
    pub(super) is_over: bool,
}

/// All the locks of the writer. Field order is release order: the gate opens to another thread of
/// this process after the mutexes are free, and before another process may write.
/// [`WriteTx::release_writer`] releases them.
pub(super) struct WriterGuard<'store> {
    pub(super) writer: MutexGuard<'store, Writer>,
    pub(super) numbers: MutexGuard<'store, TypeNumbers>,
    pub(super) _passed: Passed<'store>,
    pub(super) _write_lock: WriteLock<'store>,
}

pub(super) fn request(element: &ElementRef, type_number: u32, count: Option<u64>) -> Request {
    let ElementRef { size_bytes, align_bytes, .. } = *element;
    Request { type_number, size_bytes, align_bytes, count }
}

impl<'store> WriteTx<'store> {
    #[inline]
    pub(super) fn workspace(&mut self) -> &mut Workspace {
        &mut self.writer.writer.workspace
    }

    /// Builds the allocator request for an element; registers its type if it is new.
    #[inline]
    pub(super) fn request_for(
        &mut self,
        element: &ElementRef,
        count: Option<u64>,
    ) -> Result<Request> {
        let WriterGuard { writer, numbers, .. } = &mut self.writer;
        let type_number = numbers.number_of(&mut writer.workspace, &self.store.types, element)?;
        Ok(request(element, type_number, count))
    }

    /// Builds the request that the target of `link` was allocated with. A new type is not
    /// registered: no allocation can have it yet, and a refused call must leave nothing behind.
    pub(super) fn request_of<P: Pointee + ?Sized>(&mut self, link: Link<P>) -> Result<Request> {
        let is_slice = size_of::<Link<P>>() == 16;
        let element = ElementRef::of::<P::Item>();
        let WriterGuard { writer, numbers, .. } = &mut self.writer;
        let types = &self.store.types;
        let type_number = numbers.number_if_known(&writer.workspace, types, &element)?;
        Ok(request(&element, type_number, is_slice.then(|| link.count())))
    }

    /// Allocates an object that holds `value`. Constant time.
    ///
    /// # Errors
    ///
    /// The file cannot grow; the value owns an allocation that is not live
    /// ([`ErrorKind::OwnedNotLive`]); or the allocator's structures are damaged. Roll the
    /// transaction back then.
    pub fn alloc<T: Persist>(&mut self, value: T) -> Result<Link<T>> {
        self.expect_owned(&value)?;
        let request = self.request_for(&ElementRef::of::<T>(), None)?;
        let offset = alloc::allocate(self.workspace(), &request)?;
        let link = Link::from_parts(offset, 1);
        self.put_new(link, value)?;
        Ok(link)
    }

    /// Allocates an array from the values of an iterator that knows its length.
    ///
    /// An empty array takes some space too: its link is not null, and must be freed like any other
    /// to reclaim that space. Use [`Link::null`] for no array.
    ///
    /// # Errors
    ///
    /// As for [`alloc`](Self::alloc); and the iterator reported a wrong length.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let squares = tx.alloc_slice([0, 1, 4, 9u64])?;
    /// assert_eq!(tx.at(squares)?[3], 9);
    /// # Ok(()) }
    /// ```
    pub fn alloc_slice<T, I>(&mut self, values: I) -> Result<Link<[T]>>
    where
        T: Persist,
        I: IntoIterator<Item = T>,
        I::IntoIter: ExactSizeIterator,
    {
        let values = values.into_iter();
        let count = values.len() as u64;
        let link = self.alloc_array(count)?;
        let size = size_of::<T>() as u64;
        self.workspace().mark_dirty(link.offset(), count * size)?;
        let (mut written, mut values) = (0, values);
        for (index, value) in (0..count).zip(&mut values) {
            let place = Link::from_parts(link.offset() + index * size, 1);
            self.expect_owned(&value)?;
            self.workspace().image_mut().put(place, value)?;
            written += 1;
        }
        if written < count || values.next().is_some() {
            self.free(link)?;
            let size_bytes = size;
            let why = "the iterator yielded more or fewer elements than its length";
            return Err(ErrorKind::TooLarge { count, size_bytes, why }.into());
        }
        Ok(link)
    }

    /// Allocates an array that is a copy of `values`.
    ///
    /// # Errors
    ///
    /// As for [`alloc`](Self::alloc).
    pub fn alloc_slice_copy<T: Persist + Copy>(&mut self, values: &[T]) -> Result<Link<[T]>> {
        self.alloc_slice(values.iter().copied())
    }

    fn alloc_array<T: Persist>(&mut self, count: u64) -> Result<Link<[T]>> {
        let request = self.request_for(&ElementRef::of::<T>(), Some(count))?;
        let offset = alloc::allocate(self.workspace(), &request)?;
        Ok(Link::from_parts(offset, count))
    }

    /// Writes to a fresh allocation.
    #[inline]
    fn put_new<T: Persist>(&mut self, link: Link<T>, value: T) -> Result<()> {
        let workspace = self.workspace();
        workspace.mark_dirty(link.offset(), size_of::<T>() as u64)?;
        workspace.image_mut().put(link, value)
    }

    /// Returns the target of `link`, to change it; `None` for a null link.
    ///
    /// # Errors
    ///
    /// As for [`Image::get`]; and the link does not lie in one live allocation.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let link = tx.alloc(1u64)?;
    /// if let Some(value) = tx.get_mut(link)? {
    ///     *value += 1;
    /// }
    /// assert_eq!(tx.read(link)?, 2);
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn get_mut<P: Pointee + ?Sized>(&mut self, link: Link<P>) -> Result<Option<&mut P>> {
        if link.is_null() {
            return Ok(None);
        }
        self.at_mut(link).map(Some)
    }

    /// Returns the target of `link`, to change it; a null link is an error.
    ///
    /// # Errors
    ///
    /// As for [`get_mut`](Self::get_mut), and [`ErrorKind::LinkNull`].
    #[inline]
    pub fn at_mut<P: Pointee + ?Sized>(&mut self, link: Link<P>) -> Result<&mut P> {
        // Also checks null, bounds, alignment and bits.
        self.at(link)?;
        let workspace = self.workspace();
        workspace.expect_live(link)?;
        let len_bytes = link.count().saturating_mul(size_of::<P::Item>() as u64);
        workspace.mark_dirty(link.offset(), len_bytes)?;
        workspace.image_mut().at_mut(link)
    }

    /// Replaces the target of `link`, whatever bytes it had.
    ///
    /// # Errors
    ///
    /// As for [`at_mut`](Self::at_mut), except that the old value's bits do not matter; and
    /// [`ErrorKind::OwnedNotLive`].
    #[inline]
    pub fn put<T: Persist>(&mut self, link: Link<T>, value: T) -> Result<()> {
        self.expect_owned(&value)?;
        self.put_header(link, value)
    }

    /// Returns several objects at once, to change them.
    ///
    /// # Errors
    ///
    /// As for [`at_mut`](Self::at_mut); and two of the links overlap.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let (a, b) = (tx.alloc(1u64)?, tx.alloc(2u64)?);
    /// let [x, y] = tx.get_disjoint_mut([a, b])?;
    /// std::mem::swap(x, y);
    /// assert_eq!((tx.read(a)?, tx.read(b)?), (2, 1));
    /// # Ok(()) }
    /// ```
    pub fn get_disjoint_mut<T: Persist, const N: usize>(
        &mut self,
        links: [Link<T>; N],
    ) -> Result<[&mut T; N]> {
        for link in links {
            self.at(link)?;
            let workspace = self.workspace();
            workspace.expect_live(link)?;
            workspace.mark_dirty(link.offset(), size_of::<T>() as u64)?;
        }
        self.workspace().image_mut().disjoint_mut(links)
    }

    /// Copies elements within an array, as `slice::copy_within` does, without validating the other
    /// elements.
    ///
    /// # Errors
    ///
    /// A range that is not within the array; otherwise as for [`at_mut`](Self::at_mut).
    pub fn copy_within<T: Persist + Copy>(
        &mut self,
        array: Link<[T]>,
        from: std::ops::Range<u64>,
        to: u64,
    ) -> Result<()> {
        let type_name = <[T]>::target_name;
        if array.is_null() {
            return Err(ErrorKind::LinkNull { type_name: type_name() }.into());
        }
        expect_range(type_name, from.clone(), array.len())?;
        let (count, size) = (from.end - from.start, size_of::<T>() as u64);
        expect_range(type_name, to..to.saturating_add(count), array.len())?;
        let workspace = self.workspace();
        workspace.expect_live(array)?;
        if count == 0 {
            return Ok(());
        }
        let start = array.offset();
        workspace.mark_dirty(start + to * size, count * size)?;
        workspace.image_mut().copy(start + from.start * size, start + to * size, count * size)
    }

    /// Frees an object or array, given the link that `alloc` or `alloc_slice` returned, not a link
    /// into it. Null is an error. Objects that it links to stay allocated.
    ///
    /// # Errors
    ///
    /// The link is not exactly one live allocation of its type.
    pub fn free<P: Pointee + ?Sized>(&mut self, link: Link<P>) -> Result<()> {
        if link.is_null() {
            return Err(ErrorKind::LinkNull { type_name: P::target_name() }.into());
        }
        let request = self.request_of(link)?;
        self.expect_whole(P::target_name, link.offset(), &request)?;
        self.free_validated(link.offset(), &request)
    }

    /// Rolls the transaction back, as dropping it does.
    pub fn rollback(mut self) {
        self.roll_back();
        self.release_writer();
    }

    fn roll_back(&mut self) {
        // A forked child has a copy of the parent's transaction, and must not change its image.
        if !self.store.core.is_own_process() {
            return;
        }
        // The program has read here what others committed, and may go on with a read transaction.
        self.store.core.must_see_visible();
        self.writer.numbers.roll_back();
        // If this fails, the next transaction reports it.
        let _ = self.store.core.roll_back(&mut self.writer.writer.workspace);
    }

    /// Releases the writer's locks, in the order of the fields of [`WriterGuard`]. The transaction
    /// is over: it was committed or rolled back.
    pub(super) fn release_writer(mut self) {
        self.is_over = true;
        drop(self);
    }
}

/// Rolls back a transaction that the program drops, or that a panic ends. The locks, which are
/// fields, are released after that.
impl Drop for WriteTx<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.roll_back();
        }
    }
}

impl Deref for WriteTx<'_> {
    type Target = Image;

    #[inline]
    fn deref(&self) -> &Image {
        &self.writer.writer.workspace
    }
}

const _: () = {
    const fn is_sync<T: Sync>() {}
    is_sync::<WriteTx<'static>>();
};
