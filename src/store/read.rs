//! Read transactions.

use std::ops::Deref;

use crate::catalog::{self, RootInfo};
use crate::error::Result;
use crate::image::Image;
use crate::map::Held;
use crate::persist::{Link, Persist, Pointee};

use super::Store;

/// A snapshot: the store as it was when the transaction began, for as long as
/// it lives. It waits for nobody and nobody waits for it.
///
/// It derefs to [`Image`], which follows links. A transaction that lives long
/// costs memory: copies of the pages that change meanwhile.
pub struct ReadTx<'store> {
    store: &'store Store,
    image: Held<Image>,
}

impl Store {
    /// Begins a read transaction at the last visible commit: one that is
    /// durable or deferred.
    ///
    /// Takes tens of nanoseconds while nothing changed; after commits, the
    /// first reader brings the image up to date, at tens of nanoseconds a
    /// changed line.
    ///
    /// # Errors
    ///
    /// The log or the file is damaged, or there is no memory for an image.
    #[inline]
    pub fn read(&self) -> Result<ReadTx<'_>> {
        Ok(ReadTx { store: self, image: Held::new(self.core.snapshot()?) })
    }
}

impl ReadTx<'_> {
    /// As [`Image::get`], with the bounds at hand.
    ///
    /// # Errors
    ///
    /// As [`Image::get`].
    #[inline]
    pub fn get<P: Pointee + ?Sized>(&self, link: Link<P>) -> Result<Option<&P>> {
        match self.follow(link) {
            Some(target) => Ok(Some(target)),
            None if link.is_null() => Ok(None),
            None => Err(self.image.refusal(link)),
        }
    }

    /// As [`Image::at`], with the bounds at hand.
    ///
    /// # Errors
    ///
    /// As [`Image::at`].
    #[inline]
    pub fn at<P: Pointee + ?Sized>(&self, link: Link<P>) -> Result<&P> {
        self.follow(link).ok_or_else(|| self.image.refusal(link))
    }

    /// As [`Image::read`], with the bounds at hand.
    ///
    /// # Errors
    ///
    /// As [`Image::at`].
    #[inline]
    pub fn read<T: Persist + Copy>(&self, link: Link<T>) -> Result<T> {
        self.at(link).copied()
    }

    #[inline]
    fn follow<P: Pointee + ?Sized>(&self, link: Link<P>) -> Option<&P> {
        let (offset, count) = (link.offset(), link.count());
        let allows = |image: &Image| !image.is_refused(link);
        self.image.items::<P::Item>(offset, count, allows).map(P::from_items)
    }

    /// The root `name`; null if it was never set.
    ///
    /// # Errors
    ///
    /// The root has another type, or a type that can be reached from it has
    /// another layout in this program than in the store.
    pub fn root<P: Pointee + ?Sized>(&self, name: &str) -> Result<Link<P>> {
        let link = catalog::root::<P>(&self.image, name)?;
        catalog::expect_known_layouts::<P::Item>(&self.image, &self.store.checked, true)?;
        Ok(link)
    }

    /// All roots, sorted by name.
    ///
    /// # Errors
    ///
    /// The directory of roots is damaged.
    pub fn roots(&self) -> Result<Vec<RootInfo>> {
        catalog::list_roots(&self.image)
    }
}

impl Deref for ReadTx<'_> {
    type Target = Image;

    #[inline]
    fn deref(&self) -> &Image {
        &self.image
    }
}
