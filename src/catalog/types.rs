//! Numbers types, and checks that the program's layouts are the store's.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Mutex;

use crate::alloc::type_entry_offset;
use crate::error::{ErrorKind, Result};
use crate::format::heap::TYPE_NONE;
use crate::image::Image;
use crate::persist::{ElementRef, Persist, Reach, Reached, Schema, Shape};
use crate::sync::unpoisoned;
use crate::workspace::Workspace;

use super::claims::Claims;
use super::names::Names;
use super::registry::{expect_fits, register};

/// A hasher for `TypeId`, which is a hash already.
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

/// The types known since the store was opened, for readers and the writer.
#[derive(Default)]
pub(crate) struct KnownTypes {
    /// Types whose layouts agree with the store, including the types they link to.
    checked: Mutex<HashSet<TypeId>>,
    /// State for types that are met for the first time.
    slow: Mutex<Slow>,
}

#[derive(Default)]
struct Slow {
    claims: Claims,
    names: Names,
}

/// The result of looking up a type.
struct LookedUp {
    schema: Schema,
    number: Option<u32>,
    /// Types reachable from it that the store does not know; they must be registered before it.
    missing: Vec<Schema>,
}

impl KnownTypes {
    /// Looks up a type, and every type reachable from it. Refuses it if one of them has the name
    /// of another type, in the program or in the store.
    ///
    /// Learns entries by name only from an image that `is_committed`.
    fn look_up(&self, image: &Image, element: &ElementRef, is_committed: bool) -> Result<LookedUp> {
        let all = Reach::of_element(element);
        let schema = schema_of(element, &all);
        let mut slow = unpoisoned(self.slow.lock());
        slow.claims.take(&all)?;
        if is_committed {
            slow.names.learn(image)?;
        }
        let names = &slow.names;
        let number = names.find(image, &schema)?;
        let mut missing = Vec::new();
        for Reached { schema: other, id, .. } in all {
            let is_known = id == element.id || names.find(image, &other)?.is_some();
            // Numbers and arrays of numbers are registered only when allocated as objects.
            if !is_known && other.shape != Shape::Primitive {
                missing.push(other);
            }
        }
        if let (Some(number), Some(other)) = (number, missing.first()) {
            let offset = type_entry_offset(image, number)?;
            let expected =
                format!("a description of {}, which {} refers to", other.name, schema.name);
            return Err(ErrorKind::corrupt("registry of types", offset, expected, "none"));
        }
        Ok(LookedUp { schema, number, missing })
    }
}

fn schema_of(element: &ElementRef, all: &[Reached]) -> Schema {
    if let Some(reached) = all.iter().find(|reached| reached.id == element.id) {
        return reached.schema.clone();
    }
    // A link has no schema itself, since its target's schema says everything.
    let (size_bytes, align_bytes) = (element.size_bytes as usize, element.align_bytes as usize);
    Schema { name: (element.name)(), size_bytes, align_bytes, shape: Shape::Primitive }
}

/// Refuses `T` if it, or a type reachable from it, has another layout in the store, or the name of
/// another type of this program. Checks each type once per open store.
pub(crate) fn expect_known_layouts<T: Persist>(
    image: &Image,
    known: &KnownTypes,
    is_committed: bool,
) -> Result<()> {
    let id = TypeId::of::<T>();
    if unpoisoned(known.checked.lock()).contains(&id) {
        return Ok(());
    }
    let found = known.look_up(image, &ElementRef::of::<T>(), is_committed)?;
    // A type that the store does not know yet, or forgets in a rollback, may still arrive with
    // another layout from another process.
    if is_committed && found.number.is_some() {
        unpoisoned(known.checked.lock()).insert(id);
    }
    Ok(())
}

/// The numbers of the types met since the store was opened, for the writer.
#[derive(Default)]
pub(crate) struct TypeNumbers {
    /// The last two types asked for: a collection alternates between blocks of two types.
    last: [Option<(TypeId, u32)>; 2],
    known: HashMap<TypeId, u32, BuildHasherDefault<OwnHash>>,
    /// Whether the transaction registered a type, so that a rollback must forget it.
    registered: bool,
}

impl TypeNumbers {
    /// Returns the number of a type, and registers the type if it is new.
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

    /// Returns the number of a type, or `TYPE_NONE` if the store does not know the type.
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
        let found = types.look_up(workspace, element, self.is_committed())?;
        Ok(found.number.map_or(TYPE_NONE, |number| self.remember(element.id, number)))
    }

    /// Returns the number of a type if it was met before.
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
        let LookedUp { schema, number, missing } =
            types.look_up(workspace, element, self.is_committed())?;
        if let Some(number) = number {
            return Ok(self.remember(element.id, number));
        }
        // Checked before anything is registered: all of the types are registered, or none.
        expect_fits(&schema)?;
        missing.iter().try_for_each(expect_fits)?;
        self.registered = true;
        // Registers the types that it holds or links to as well: a struct nested in another is
        // never allocated separately, but the store must remember its layout too. They go first: a
        // known type then has all its dependencies known, even if a later step fails.
        for other in &missing {
            register(workspace, other)?;
        }
        let number = register(workspace, &schema)?;
        Ok(self.remember(element.id, number))
    }

    /// Forgets all numbers if the transaction registered a type, since the rollback undid that.
    pub(crate) fn roll_back(&mut self) {
        if self.registered {
            *self = Self::default();
        }
    }

    /// Forgets all numbers, since the rollback may have undone some; the transaction goes on.
    pub(crate) fn roll_back_to_savepoint(&mut self) {
        if self.registered {
            *self = Self { registered: true, ..Self::default() };
        }
    }

    /// Returns whether a rollback would undo no registration.
    pub(crate) fn is_committed(&self) -> bool {
        !self.registered
    }

    /// Marks the registered types as permanent.
    pub(crate) fn commit(&mut self) {
        self.registered = false;
    }
}
