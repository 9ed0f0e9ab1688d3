//! An image, and access to it through links.

use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::error::{Error, ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::format::heap::HEAD_PAGES;
use crate::map::{AccessError, HasMap, PrivateMap, machine_page_bytes, machine_page_shift};
use crate::mutation::{ActiveMutation, Mutation};
use crate::persist::{Link, Persist, Pointee};

use super::budget::{Account, Charge, Use};
use super::frozen::Frozen;
use super::page_ranges::PageRanges;
use super::page_set::PageSet;
use super::reader::ReaderLines;
use super::spilled::Spilled;

/// The checks made when a link is followed for reading.
///
/// The default is `Live` if flagstone is built with debug assertions, as `cargo build` and
/// `cargo test` do, and `Bounds` otherwise. [`OpenOptions::link_checks`] sets either. `Live` costs
/// about as much again as following the link, each time.
///
/// [`OpenOptions::link_checks`]: crate::OpenOptions::link_checks
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChecks {
    /// Checks bounds, alignment and bit validity. The target may have been freed since; then its
    /// bytes are those of the last object there, or of a later one.
    Bounds,
    /// Also checks that the link lies in one live allocation of the user. Each link costs a look
    /// at the page's descriptor.
    Live,
}

impl Default for LinkChecks {
    fn default() -> Self {
        if cfg!(debug_assertions) { Self::Live } else { Self::Bounds }
    }
}

/// The heap as one transaction sees it; transactions deref to it.
///
/// Following a link compares its offset with the image's bounds, in constant time. References
/// borrow the transaction.
pub struct Image {
    pub(super) map: PrivateMap,
    pub(super) position: u64,
    /// Machine pages that may have become private since their memory was last released.
    pub(super) touched: PageSet,
    /// How often a page's number is halved to get its machine page's.
    pub(super) machine_page_shift: u32,
    /// Counts these pages; `None` for an image that no open store uses.
    charge: Option<Charge>,
    /// Pages that the records being applied have zeroed and not changed since.
    pub(super) zeroed: PageRanges,
    /// Pages that these records take from the file as they are, and have left alone since.
    pub(super) in_file: PageRanges,
    /// Whether the record being applied has changed the page of the heap's header.
    pub(super) has_new_header: bool,
    traits: ImageTraits,
    /// Pages that checkpoints froze while readers held this image, without those that were private
    /// before.
    pub(super) frozen: Frozen,
    /// Pages that a file has taken over since.
    pub(super) spilled: Spilled,
    pub(super) readers: ReaderLines,
    /// The last checkpoint after which this image gave back what equals the file's.
    pub(super) clean_since: u64,
}

/// Settings that all images of a store share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageTraits {
    pub(crate) link_checks: LinkChecks,
    pub(crate) hash_key: [u8; 16],
    /// The length from which on mappings are accessed at random.
    pub(crate) random_from_bytes: u64,
}

impl HasMap for Image {
    fn map(&self) -> &PrivateMap {
        &self.map
    }
}

impl Image {
    /// Makes an image of a mapping that holds the heap's state at `position`.
    pub(crate) fn new(mut map: PrivateMap, position: u64, traits: ImageTraits) -> Self {
        if traits.link_checks == LinkChecks::Bounds {
            map.enable_fast_path(HEAD_PAGES * PAGE_BYTES);
        }
        map.set_random_from(traits.random_from_bytes);
        let (zeroed, in_file) = (PageRanges::default(), PageRanges::default());
        Self {
            map,
            position,
            touched: PageSet::default(),
            machine_page_shift: machine_page_shift(),
            charge: None,
            zeroed,
            in_file,
            has_new_header: false,
            traits,
            frozen: Frozen::default(),
            spilled: Spilled::default(),
            readers: ReaderLines::default(),
            clean_since: 0,
        }
    }

    /// Counts the image's private pages in `account`, from now on.
    pub(crate) fn charge_to(&mut self, account: &Arc<Account>, usage: Use) {
        self.charge = Some(Charge::new(account, usage, self.touched.len()));
    }

    /// Counts them for another use.
    pub(super) fn charge_as(&self, usage: Use) {
        if let Some(charge) = &self.charge {
            charge.move_to(usage);
        }
        self.frozen.charge_as(usage);
    }

    /// Makes `pages` private with the bytes that they show now, for the readers that hold this image
    /// (I3). Those that are spilled show a file's pages, which no checkpoint writes, and the kernel
    /// refuses to copy them.
    pub(super) fn keep(&self, pages: &PageSet, mutation: ActiveMutation) -> std::io::Result<()> {
        let pages = pages.machine_pages();
        // Until the end: none becomes spilled meanwhile.
        let spilled = self.spilled.lock();
        let rest = match spilled.pages.len() > 0 && !mutation.has(Mutation::FrozenOverSpilled) {
            true => &pages.without(&spilled.pages),
            false => &*pages,
        };
        self.freeze(rest)?;
        let heap_pages = self.heap_machine_pages();
        let in_heap = rest.iter().take_while(|page| *page < heap_pages);
        let new = in_heap.filter(|page| !self.touched.contains(*page));
        self.frozen.add(new, self.charge.as_ref());
        Ok(())
    }

    /// Notes that `spilled` pages need no memory any more.
    pub(super) fn note_spilled(&self, spilled: &PageSet) {
        let touched = self.touched.len() - self.touched.without(spilled).len();
        if let Some(charge) = &self.charge {
            charge.give_back(touched);
        }
        self.frozen.forget(spilled);
        self.spilled.note(spilled.len(), touched);
    }

    /// Counts frozen pages as touched, now that no reader holds this image.
    pub(super) fn thaw(&mut self) {
        if self.frozen.bytes() == 0 {
            return;
        }
        let frozen = self.frozen.take();
        frozen.iter().for_each(|page| _ = self.touch_machine_page(page));
    }

    /// Returns the log position up to which this image follows the log. A later commit has a
    /// larger one.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the random key of the store's hash tables, chosen when the store was created.
    #[inline]
    #[must_use]
    pub fn hash_key(&self) -> [u8; 16] {
        self.traits.hash_key
    }

    /// Returns the target of `link`, or `None` for a null link.
    ///
    /// # Errors
    ///
    /// Fails if the link is out of bounds or misaligned, or if the bytes are not a value of the
    /// type: see [`ErrorKind`]'s `Link…` variants.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let link = tx.alloc(7u64)?;
    /// assert_eq!(tx.get(link)?, Some(&7));
    /// assert_eq!(tx.get(flagstone::Link::<u64>::null())?, None);
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn get<P: Pointee + ?Sized>(&self, link: Link<P>) -> Result<Option<&P>> {
        if link.is_null() {
            return Ok(None);
        }
        match self.follow(link) {
            Some(target) => Ok(Some(target)),
            None => Err(self.refusal(link)),
        }
    }

    /// Returns the target of `link`; a null link is an error.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`ErrorKind::LinkNull`].
    #[inline]
    pub fn at<P: Pointee + ?Sized>(&self, link: Link<P>) -> Result<&P> {
        match self.follow(link) {
            Some(target) if !link.is_null() => Ok(target),
            _ => Err(self.refusal(link)),
        }
    }

    /// Returns the target of `link` if two comparisons can tell that it may be followed, or
    /// `None` if the caller must ask [`at`](Self::at). Compiles to a few instructions, where
    /// `at` includes the slow path.
    #[inline(always)]
    pub(crate) fn fast<P: Pointee + ?Sized>(&self, link: Link<P>) -> Option<&P> {
        self.map.fast_items::<P::Item>(link.offset(), link.count()).map(P::from_items)
    }

    /// Returns a copy of the target of `link`, for types that are `Copy`.
    ///
    /// # Errors
    ///
    /// As [`at`](Self::at).
    #[inline]
    pub fn read<T: Persist + Copy>(&self, link: Link<T>) -> Result<T> {
        self.at(link).copied()
    }

    /// Returns whether the target of `link` lies in a live allocation of the program's: one that was
    /// made, and neither freed nor rolled back, as this transaction sees it. Null is not live, nor is
    /// a link beyond the store or into memory whose description is damaged.
    ///
    /// It looks at memory and not at what the link meant: memory that was freed is used again, and
    /// then an old link to it is live, with another object behind it. Remove links to what is freed;
    /// this tells whether one was forgotten, as [`LinkChecks::Live`](crate::LinkChecks::Live) does
    /// for each link that is followed.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let link = store.update(|tx| tx.alloc(7u64))?;
    /// let before = store.read()?;
    /// store.update(|tx| tx.free(link))?;
    /// assert!(before.is_live(link));
    /// assert!(!store.read()?.is_live(link));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_live<P: Pointee + ?Sized>(&self, link: Link<P>) -> bool {
        !link.is_null() && self.expect_live(link).is_ok()
    }

    /// Returns the target of a link that is not null, if all checks pass.
    ///
    /// Both paths are inlined, and the error is built outside of them: a call that could also
    /// return a target would keep a loop that follows links from holding the bounds in
    /// registers, which costs a third of its speed.
    #[inline(always)]
    fn follow<P: Pointee + ?Sized>(&self, link: Link<P>) -> Option<&P> {
        let (offset, count) = (link.offset(), link.count());
        let items = match self.map.fast_items::<P::Item>(offset, count) {
            Some(items) => items,
            None if self.is_refused(link) => return None,
            None => self.map.items::<P::Item>(offset, count).ok()?,
        };
        Some(P::from_items(items))
    }

    /// Returns whether a check stricter than the bounds check refuses the link.
    #[inline(always)]
    pub(crate) fn is_refused<P: Pointee + ?Sized>(&self, link: Link<P>) -> bool {
        self.traits.link_checks == LinkChecks::Live && self.expect_live(link).is_err()
    }

    /// Returns the reason why a link was refused.
    #[cold]
    #[inline(never)]
    pub(crate) fn refusal<P: Pointee + ?Sized>(&self, link: Link<P>) -> Error {
        if link.is_null() {
            return null_link::<P>();
        }
        if self.traits.link_checks == LinkChecks::Live
            && let Err(error) = self.expect_live(link)
        {
            return error;
        }
        let items = self.map.items::<P::Item>(link.offset(), link.count());
        self.misfit(link, items.err().unwrap_or(AccessError::OutOfBounds))
    }

    /// Like `at`, exclusively. The caller has marked the lines dirty.
    #[inline]
    pub(crate) fn at_mut<P: Pointee + ?Sized>(&mut self, link: Link<P>) -> Result<&mut P> {
        // Checked twice, because an error that borrows `self` cannot be built while the exclusive
        // reference is alive.
        if let Err(misfit) = self.map.items::<P::Item>(link.offset(), link.count()) {
            return Err(self.misfit(link, misfit));
        }
        let items = self.map.items_mut::<P::Item>(link.offset(), link.count());
        items.map(P::from_items_mut).map_err(|_| null_link::<P>())
    }

    /// Moves a value to `link`. The caller has marked the lines dirty.
    #[inline]
    pub(crate) fn put<T: Persist>(&mut self, link: Link<T>, value: T) -> Result<()> {
        let put = self.map.put(link.offset(), value);
        put.map_err(|misfit| self.misfit(link, misfit))
    }

    /// Returns a copy of the value at `link`, whatever its type: see `PrivateMap::value`.
    #[inline]
    pub(crate) fn value<T: Persist>(&self, link: Link<T>) -> Result<T> {
        if self.is_refused(link) {
            return Err(self.refusal(link));
        }
        self.map.value(link.offset()).map_err(|misfit| self.misfit(link, misfit))
    }

    /// Copies bytes within the heap. The caller has marked the lines dirty.
    #[inline]
    pub(crate) fn copy(&mut self, from: u64, to: u64, len_bytes: u64) -> Result<()> {
        let limit = self.map.limit();
        self.map.copy(from, to, len_bytes).map_err(|_| outside("bytes to copy", from, limit))
    }

    /// Checks the bounds and alignment of a link, not the bytes behind it.
    pub(crate) fn expect_place<T: Persist>(&self, link: Link<T>) -> Result<()> {
        let bytes = self.map.items::<u8>(link.offset(), size_of::<T>() as u64);
        if bytes.is_err() {
            return Err(self.misfit(link, AccessError::OutOfBounds));
        }
        if !link.offset().is_multiple_of(align_of::<T>() as u64) {
            return Err(self.misfit(link, AccessError::Misaligned));
        }
        Ok(())
    }

    /// Returns one value at each link, exclusively and at once. The caller has marked the lines
    /// dirty.
    pub(crate) fn disjoint_mut<T: Persist, const N: usize>(
        &mut self,
        links: [Link<T>; N],
    ) -> Result<[&mut T; N]> {
        let limit = self.map.limit();
        self.map.disjoint_mut(links.map(Link::offset)).map_err(|misfit| match misfit {
            AccessError::Overlap(first, second) => {
                ErrorKind::LinksOverlap { first, second, offset: links[second].offset() }.into()
            }
            // The caller has checked each link before marking its lines dirty.
            _ => out_of_bounds::<T>(links[0].offset(), 1, limit),
        })
    }

    #[cold]
    pub(crate) fn misfit<P: Pointee + ?Sized>(&self, link: Link<P>, misfit: AccessError) -> Error {
        let (type_name, offset) = (P::target_name(), link.offset());
        match misfit {
            AccessError::Misaligned => {
                let align_bytes = align_of::<P::Item>() as u64;
                ErrorKind::LinkMisaligned { type_name, offset, align_bytes }.into()
            }
            AccessError::Invalid => ErrorKind::InvalidBits { type_name, offset }.into(),
            AccessError::OutOfBounds | AccessError::Overlap(..) => {
                out_of_bounds::<P::Item>(offset, link.count(), self.map.limit())
            }
        }
    }

    /// Returns one of flagstone's own structs.
    #[inline]
    pub(crate) fn pod<T>(&self, what: &'static str, offset: u64) -> Result<&T>
    where
        T: FromBytes + KnownLayout + Immutable,
    {
        let bytes = self.bytes(what, offset, size_of::<T>() as u64)?;
        T::ref_from_bytes(bytes).map_err(|_| outside(what, offset, self.map.limit()))
    }

    /// Returns bytes that belong to flagstone itself.
    #[inline]
    pub(crate) fn bytes(&self, what: &'static str, offset: u64, len_bytes: u64) -> Result<&[u8]> {
        let bytes = self.map.items::<u8>(offset, len_bytes);
        bytes.map_err(|_| outside(what, offset, self.map.limit()))
    }

    /// Like `bytes`, exclusively. The caller has marked the lines dirty.
    #[inline]
    pub(crate) fn bytes_mut(
        &mut self,
        what: &'static str,
        offset: u64,
        len_bytes: u64,
    ) -> Result<&mut [u8]> {
        let limit = self.map.limit();
        self.map.items_mut::<u8>(offset, len_bytes).map_err(|_| outside(what, offset, limit))
    }

    /// Returns the line with the number `line`, as an array.
    #[inline]
    pub(crate) fn line(&self, line: u64) -> Result<&[u8; 64]> {
        let lines = self.map.items::<[u8; 64]>(line.saturating_mul(64), 1);
        lines.map(|lines| &lines[0]).map_err(|_| outside("line", line, self.map.limit()))
    }

    /// Returns the heap's length in this image.
    pub(crate) fn heap_bytes(&self) -> u64 {
        self.map.limit()
    }

    /// Sets the length from which on the mapping is accessed at random.
    pub(crate) fn set_random_from(&mut self, bytes: u64) {
        self.map.set_random_from(bytes);
    }

    /// Returns whether the mapping is accessed at random: what is not in memory is then loaded page
    /// by page.
    #[inline]
    pub(crate) fn is_random(&self) -> bool {
        self.map.is_random()
    }

    /// Has the system load these bytes in the background, if the mapping is accessed at random.
    pub(crate) fn will_need(&self, offset: u64, len_bytes: u64) {
        self.map.will_need(offset, len_bytes);
    }

    /// Sets the position of the writer's image, which is at the log's end without applying records.
    pub(crate) fn set_position(&mut self, position: u64) {
        self.position = position;
    }

    /// Notes that the page may be private now, with its whole machine page; returns whether that is
    /// new.
    #[inline]
    pub(crate) fn touch(&mut self, page: u64) -> bool {
        let is_new = self.touch_machine_page(page >> self.machine_page_shift);
        #[cfg(any(test, feature = "sim"))]
        if is_new {
            self.map.emulate_copy(page * PAGE_BYTES);
        }
        is_new
    }

    #[inline]
    fn touch_machine_page(&mut self, number: u64) -> bool {
        let is_new = self.touched.insert(number);
        if is_new && let Some(charge) = &mut self.charge {
            charge.add_page();
        }
        is_new
    }

    /// Notes that only the machine pages in `keep` are private now.
    pub(super) fn untouch_all_but(&mut self, keep: &PageSet) {
        self.touched.retain_in(keep);
        if let Some(charge) = &mut self.charge {
            charge.reduce_to(self.touched.len());
        }
    }

    /// Returns the bytes of memory that this image may hold for itself.
    pub(crate) fn private_bytes(&self) -> u64 {
        let touched = self.touched.len() - self.spilled.touched_pages();
        touched * machine_page_bytes() + self.frozen.bytes()
    }
}

#[cold]
fn null_link<P: Pointee + ?Sized>() -> Error {
    ErrorKind::LinkNull { type_name: P::target_name() }.into()
}

#[cold]
fn out_of_bounds<T: Persist>(offset: u64, count: u64, heap_bytes: u64) -> Error {
    let (type_name, size_bytes) = (T::type_name(), size_of::<T>() as u64);
    ErrorKind::LinkOutOfBounds { type_name, offset, count, size_bytes, heap_bytes }.into()
}

#[cold]
fn outside(what: &'static str, offset: u64, heap_bytes: u64) -> Error {
    let expected = format_args!("a place within the heap's {heap_bytes} bytes").to_string();
    ErrorKind::corrupt(what, offset, expected, "one outside of it, or in a log region")
}
