//! A reference that lives for ever, in an atomic word.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Acquire, Ordering::Release};

/// A place for a reference that threads store and load without a lock.
pub(crate) struct StaticRef<T: 'static>(AtomicPtr<T>);

impl<T> Default for StaticRef<T> {
    fn default() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }
}

impl<T: Sync> StaticRef<T> {
    #[inline]
    pub(crate) fn store(&self, target: &'static T) {
        self.0.store(ptr::from_ref(target).cast_mut(), Release);
    }

    /// Returns what was stored last, if anything was.
    pub(crate) fn load(&self) -> Option<&'static T> {
        // SAFETY: it is null, or comes from the `&'static T` of a `store`; `T: Sync` lets this thread
        // have that reference too.
        unsafe { self.0.load(Acquire).as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_comes_back() {
        static NUMBERS: [u64; 2] = [3, 5];
        let place = StaticRef::default();
        assert!(place.load().is_none());
        for number in &NUMBERS {
            place.store(number);
            assert_eq!(place.load(), Some(number));
        }
    }
}
