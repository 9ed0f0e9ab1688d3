//! Types: their numbers, and whether the program's layout is the store's.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::alloc::type_entry_offset;
use crate::error::{ErrorKind, Result};
use crate::format::heap::TYPE_NONE;
use crate::image::Image;
use crate::persist::{ElementRef, Persist, Reach, Reached, Schema, Shape};
use crate::workspace::Workspace;

use super::claims::Claims;
use super::names::Names;
use super::registry::{expect_fits, register};

/// A `TypeId` is a hash already.
#[derive(Default)]
struct OwnHash(u64);

impl Hasher for OwnHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What this opening of the store knows of types, for readers and the writer.
#[derive(Default)]
pub(crate) struct KnownTypes {
    /// Those whose layouts, with all that they link to, were found to agree.
    checked: Mutex<HashSet<TypeId>>,
    /// For types that are met for the first time.
    slow: Mutex<Slow>,
}

#[derive(Default)]
struct Slow {
    claims: Claims,
    names: Names,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a type is asked for with, and what the store knows of it.
struct Looked {
    schema: Schema,
    number: Option<u32>,
    /// Types behind it that the store does not know, and has to before it knows this one.
    missing: Vec<Schema>,
}

impl KnownTypes {
    /// Looks a type up, with all that can be reached from it. Refuses it if one of them has a
    /// name that is another type's, in the program or in the store.
    ///
    /// Entries are learnt by their names only from an image that `is_committed`.
    fn look(&self, image: &Image, element: &ElementRef, is_committed: bool) -> Result<Looked> {
        let all = Reach::of_element(element);
        let schema = schema_of(element, &all);
        let mut slow = lock(&self.slow);
        slow.claims.take(&all)?;
        if is_committed {
            slow.names.learn(image)?;
        }
        let names = &slow.names;
        let number = names.find(image, &schema)?;
        let mut missing = Vec::new();
        for Reached { schema: other, id, .. } in all {
            let is_known = id == element.id || names.find(image, &other)?.is_some();
            // Numbers and arrays of them are registered only where they are objects.
            if !is_known && other.shape != Shape::Primitive {
                missing.push(other);
            }
        }
        if let (Some(number), Some(other)) = (number, missing.first()) {
            let offset = type_entry_offset(image, number)?;
            let expected =
                format!("a description of {}, which {} leads to", other.name, schema.name);
            return Err(ErrorKind::corrupt("registry of types", offset, expected, "none"));
        }
        Ok(Looked { schema, number, missing })
    }
}

fn schema_of(element: &ElementRef, all: &[Reached]) -> Schema {
    if let Some(reached) = all.iter().find(|reached| reached.id == element.id) {
        return reached.schema.clone();
    }
    // A link is not described by itself, as its target says all.
    let (size_bytes, align_bytes) = (element.size_bytes as usize, element.align_bytes as usize);
    Schema { name: (element.name)(), size_bytes, align_bytes, shape: Shape::Primitive }
}

/// Refuses `T` if it, or a type that can be reached from it, has another layout
/// in the store, or a name that is another type's in this program. Looks once for each type
/// and opening of the store.
pub(crate) fn expect_known_layouts<T: Persist>(
    image: &Image,
    known: &KnownTypes,
    is_committed: bool,
) -> Result<()> {
    let id = TypeId::of::<T>();
    if lock(&known.checked).contains(&id) {
        return Ok(());
    }
    let looked = known.look(image, &ElementRef::of::<T>(), is_committed)?;
    // A type that the store does not know yet, or forgets by a rollback, may come
    // with another layout from another process.
    if is_committed && looked.number.is_some() {
        lock(&known.checked).insert(id);
    }
    Ok(())
}

/// The numbers of types that this opening of the store has met, for the writer.
#[derive(Default)]
pub(crate) struct TypeNumbers {
    /// The two that were asked for last: a collection changes blocks of two types
    /// in turns.
    last: [Option<(TypeId, u32)>; 2],
    known: HashMap<TypeId, u32, BuildHasherDefault<OwnHash>>,
    /// Whether the transaction has registered one: then a rollback forgets.
    registered: bool,
}

impl TypeNumbers {
    /// The number of a type, which is registered if it is new.
    #[inline]
    pub(crate) fn number_of(
        &mut self,
        workspace: &mut Workspace,
        types: &KnownTypes,
        element: &ElementRef,
    ) -> Result<u32> {
        match self.met(element.id) {
            Some(number) => Ok(number),
            None => self.find_or_register(workspace, types, element),
        }
    }

    /// The number of a type; none has it where the store does not know the type.
    #[inline]
    pub(crate) fn number_if_known(
        &mut self,
        workspace: &Workspace,
        types: &KnownTypes,
        element: &ElementRef,
    ) -> Result<u32> {
        if let Some(number) = self.met(element.id) {
            return Ok(number);
        }
        let looked = types.look(workspace, element, self.are_committed())?;
        Ok(looked.number.map_or(TYPE_NONE, |number| self.remember(element.id, number)))
    }

    /// The number of a type, if this opening has met it.
    #[inline]
    fn met(&mut self, id: TypeId) -> Option<u32> {
        if let Some((_, number)) = self.last.iter().flatten().find(|(last, _)| *last == id) {
            return Some(*number);
        }
        let number = *self.known.get(&id)?;
        self.last = [Some((id, number)), self.last[0]];
        Some(number)
    }

    fn remember(&mut self, id: TypeId, number: u32) -> u32 {
        self.known.insert(id, number);
        self.last = [Some((id, number)), self.last[0]];
        number
    }

    #[cold]
    fn find_or_register(
        &mut self,
        workspace: &mut Workspace,
        types: &KnownTypes,
        element: &ElementRef,
    ) -> Result<u32> {
        let Looked { schema, number, missing } =
            types.look(workspace, element, self.are_committed())?;
        if let Some(number) = number {
            return Ok(self.remember(element.id, number));
        }
        // Before anything is registered: all of them, or none.
        expect_fits(&schema)?;
        missing.iter().try_for_each(expect_fits)?;
        self.registered = true;
        // With all that it holds or links to: a struct inside of another is never
        // allocated by itself, and its layout has to be remembered too. Those first, so that
        // a type that is known is known with all behind it, whatever fails here.
        for other in &missing {
            register(workspace, other)?;
        }
        let number = register(workspace, &schema)?;
        Ok(self.remember(element.id, number))
    }

    /// What was registered may be gone.
    pub(crate) fn rolled_back(&mut self) {
        if self.registered {
            *self = Self::default();
        }
    }

    /// What was registered may be gone, or not: the transaction goes on.
    pub(crate) fn rolled_back_to_savepoint(&mut self) {
        if self.registered {
            *self = Self { registered: true, ..Self::default() };
        }
    }

    /// Whether the transaction registered none that a rollback would take back.
    pub(crate) fn are_committed(&self) -> bool {
        !self.registered
    }

    /// What was registered stays.
    pub(crate) fn committed(&mut self) {
        self.registered = false;
    }
}
