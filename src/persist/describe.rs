//! Walks from a type to all that it leads to, and describes each.

use std::any::{TypeId, type_name};

use super::reach::{ElementRef, Reach, Reached};
use super::schema::{Field, Schema, Shape};
use super::{Element, Persist};

impl Reach {
    /// Returns all types reachable from `T`, including `T`.
    #[must_use]
    pub fn of<T: Persist>() -> Vec<Schema> {
        let reached = Self::of_element(&ElementRef::of::<T>());
        reached.into_iter().map(|reached| reached.schema).collect()
    }

    /// Like `of`, for elements of an allocation.
    pub(crate) fn of_element(element: &ElementRef) -> Vec<Reached> {
        let mut reach = Self::default();
        (element.reach)(&mut reach);
        reach.reached
    }

    /// Returns the description of `T` alone, without those of the types it leads to.
    #[must_use]
    pub fn schema_of<T: Persist>() -> Option<Schema> {
        let mut reached = Self::of_element(&ElementRef::of::<T>()).into_iter();
        reached.find(|reached| reached.id == TypeId::of::<T>()).map(|reached| reached.schema)
    }

    /// Like `enter` and `add`, for the elements of an allocation that no Rust struct describes.
    /// Returns whether they are new here.
    pub(crate) fn block<E: Element>(&mut self, fields: impl FnOnce() -> Vec<Field>) -> bool {
        if !self.seen.insert(TypeId::of::<E>()) {
            return false;
        }
        self.reached.push(Reached {
            id: TypeId::of::<E>(),
            path: type_name::<E>(),
            schema: Schema {
                name: E::element_name(),
                size_bytes: E::SIZE_BYTES as usize,
                align_bytes: E::ALIGN_BYTES as usize,
                shape: Shape::Struct(fields()),
            },
        });
        true
    }

    /// Adds a type whose name describes it fully.
    pub fn primitive<T: Persist>(&mut self) {
        if self.enter::<T>() {
            self.add::<T>(Shape::Primitive);
        }
    }

    /// Returns whether `T` is new here. If so, the caller adds it and visits its parts.
    pub fn enter<T: Persist>(&mut self) -> bool {
        self.seen.insert(TypeId::of::<T>())
    }

    /// Adds the description of `T`.
    pub fn add<T: Persist>(&mut self, shape: Shape) {
        self.reached.push(Reached {
            id: TypeId::of::<T>(),
            path: type_name::<T>(),
            schema: Schema {
                name: T::type_name(),
                size_bytes: size_of::<T>(),
                align_bytes: align_of::<T>(),
                shape,
            },
        });
    }
}
