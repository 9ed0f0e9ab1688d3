//! Types: their numbers, and whether the program's layout is the store's.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use zerocopy::little_endian::{U32, U64};

use crate::alloc::{SystemArray, grow_array, store_bytes, type_entry_offset};
use crate::error::{ErrorKind, Result};
use crate::format::checksum;
use crate::format::heap::{
    MAX_NAME_BYTES, MAX_SCHEMA_BYTES, TYPE_FIRST_USER, TYPE_NONE, TypeEntry,
};
use crate::image::Image;
use crate::persist::{ElementRef, Persist, Reach, Schema, Shape};
use crate::workspace::Workspace;

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
        element: &ElementRef,
    ) -> Result<u32> {
        match self.met(element.id) {
            Some(number) => Ok(number),
            None => self.find_or_register(workspace, element),
        }
    }

    /// The number of a type; none has it where the store does not know the type.
    #[inline]
    pub(crate) fn number_if_known(
        &mut self,
        workspace: &mut Workspace,
        element: &ElementRef,
    ) -> Result<u32> {
        if let Some(number) = self.met(element.id) {
            return Ok(number);
        }
        let schema = schema_of(element, &Reach::of_element(element));
        match find(workspace, &schema)? {
            Some(_) => self.find_or_register(workspace, element),
            None => Ok(TYPE_NONE),
        }
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

    fn find_or_register(&mut self, workspace: &mut Workspace, element: &ElementRef) -> Result<u32> {
        // Before anything is registered: all of them, or none.
        let all = Reach::of_element(element);
        let schema = schema_of(element, &all);
        expect_fits(&schema)?;
        for schema in &all {
            expect_fits(schema)?;
            find(workspace, schema)?;
        }
        let number = match find(workspace, &schema)? {
            Some(number) => number,
            None => {
                self.registered = true;
                register(workspace, &schema)?
            }
        };
        // With all that it holds or links to: a struct inside of another is never
        // allocated by itself, and its layout has to be remembered too.
        for other in all {
            if other.shape != Shape::Primitive && find(workspace, &other)?.is_none() {
                self.registered = true;
                register(workspace, &other)?;
            }
        }
        self.known.insert(element.id, number);
        self.last = [Some((element.id, number)), self.last[0]];
        Ok(number)
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

/// Types whose layouts, with all that they link to, were found to agree.
#[derive(Default)]
pub(crate) struct CheckedTypes(Mutex<HashSet<TypeId>>);

/// Refuses `T` if it, or a type that can be reached from it, has another layout
/// in the store. Looks once for each type and opening of the store.
pub(crate) fn expect_known_layouts<T: Persist>(
    image: &Image,
    checked: &CheckedTypes,
    is_committed: bool,
) -> Result<()> {
    let id = TypeId::of::<T>();
    let is_checked = |set: &Mutex<HashSet<TypeId>>| {
        set.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    };
    if is_checked(&checked.0) {
        return Ok(());
    }
    let name = T::type_name();
    let mut all_known = is_committed;
    for schema in Reach::of::<T>() {
        // Numbers and arrays of them are registered only where they are objects.
        let may_miss = schema.shape == Shape::Primitive && schema.name != name;
        all_known &= find(image, &schema)?.is_some() || may_miss;
    }
    // A type that the store does not know yet, or forgets by a rollback, may come
    // with another layout.
    if !all_known {
        return Ok(());
    }
    checked.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    Ok(())
}

fn schema_of(element: &ElementRef, all: &[Schema]) -> Schema {
    let name = (element.name)();
    if let Some(schema) = all.iter().find(|schema| schema.name == name) {
        return schema.clone();
    }
    // A link is not described by itself, as its target says all.
    let (size_bytes, align_bytes) = (element.size_bytes as usize, element.align_bytes as usize);
    Schema { name, size_bytes, align_bytes, shape: Shape::Primitive }
}

/// The number of a type, if the store knows it; an error if the store knows
/// another layout under its name. Names are read only where no identity is the
/// type's: a store has many types, and nearly all that are asked for are known.
fn find(image: &Image, schema: &Schema) -> Result<Option<u32>> {
    let text = schema.to_string();
    let identity = checksum::plain(text.as_bytes());
    let numbers = TYPE_FIRST_USER..image.registry()?.len.get();
    for number in numbers.clone() {
        if entry(image, number)?.identity.get() == identity {
            return Ok(Some(number));
        }
    }
    for number in numbers {
        if may_be_named(image, number, &schema.name)?
            && type_name(image, number)? == Some(&schema.name)
        {
            let found = schema_text(image, number)?;
            let (type_name, expected) = (schema.name.clone(), text);
            return Err(ErrorKind::TypeChanged { type_name, expected, found }.into());
        }
    }
    Ok(None)
}

/// Whether the description of type `number` goes on with `name` after its first word:
/// tells nearly all others apart without reading them as text.
fn may_be_named(image: &Image, number: u32, name: &str) -> Result<bool> {
    let (_, bytes) = line_with_name(image, number)?;
    let rest = bytes.iter().position(|byte| *byte == b' ').map(|space| &bytes[space + 1..]);
    Ok(rest.is_some_and(|rest| rest.starts_with(name.as_bytes())))
}

fn entry(image: &Image, number: u32) -> Result<&TypeEntry> {
    image.pod("type entry", type_entry_offset(image, number)?)
}

/// The text that describes type `number`.
pub(crate) fn schema_text(image: &Image, number: u32) -> Result<String> {
    let (offset, bytes) = schema_bytes(image, number)?;
    expect_text(offset, bytes).map(str::to_string)
}

fn schema_bytes(image: &Image, number: u32) -> Result<(u64, &[u8])> {
    let entry = entry(image, number)?;
    let (offset, len) = (entry.schema_offset.get(), u64::from(entry.schema_bytes.get()));
    if len > MAX_SCHEMA_BYTES {
        let expected = format!("at most {MAX_SCHEMA_BYTES} bytes");
        return Err(ErrorKind::corrupt("type's description", offset, expected, len));
    }
    Ok((offset, image.bytes("type's description", offset, len)?))
}

fn expect_text(offset: u64, bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes)
        .map_err(|error| ErrorKind::corrupt("type's description", offset, "UTF-8", error))
}

/// The begin of type `number`'s description, where its name is. No more is read for it: the
/// description may be long, and a file can give the same long one to each of its types.
fn line_with_name(image: &Image, number: u32) -> Result<(u64, &[u8])> {
    /// What stands in the line beside the name, with some room.
    const BESIDE_BYTES: usize = 64;
    let (offset, bytes) = schema_bytes(image, number)?;
    Ok((offset, &bytes[..bytes.len().min(MAX_NAME_BYTES as usize + BESIDE_BYTES)]))
}

/// The name of type `number`: in its description between the first word and the size.
pub(crate) fn type_name(image: &Image, number: u32) -> Result<Option<&str>> {
    let (offset, start) = line_with_name(image, number)?;
    let Some(end) = start.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let named = expect_text(offset, &start[..end])?.split_once(' ');
    Ok(named.and_then(|(_, rest)| rest.rsplit_once(" size ")).map(|(name, _)| name))
}

/// Refuses a type that is too long for a store to describe.
fn expect_fits(schema: &Schema) -> Result<()> {
    let name = &schema.name;
    expect_short("the name of a type", name, name, MAX_NAME_BYTES)?;
    expect_short("the description of a type", name, &schema.to_string(), MAX_SCHEMA_BYTES)
}

/// Refuses a text of more than `most_bytes`; `name` says whose it is.
pub(super) fn expect_short(
    what: &'static str,
    name: &str,
    text: &str,
    most_bytes: u64,
) -> Result<()> {
    let found_bytes = text.len() as u64;
    if found_bytes <= most_bytes {
        return Ok(());
    }
    let begin = name.chars().take(40).collect();
    Err(ErrorKind::TextTooLong { what, begin, found_bytes, most_bytes }.into())
}

fn register(workspace: &mut Workspace, schema: &Schema) -> Result<u32> {
    if workspace.header()?.registry.len.get() == 0 {
        // Number 0 is flagstone's own, which the texts below are of.
        grow_array(workspace, SystemArray::REGISTRY)?;
    }
    let text = schema.to_string();
    let number = grow_array(workspace, SystemArray::REGISTRY)? as u32;
    let schema_offset = store_bytes(workspace, text.as_bytes())?;
    let at = type_entry_offset(workspace, number)?;
    let entry: &mut TypeEntry = workspace.pod_mut("type entry", at)?;
    entry.identity = U64::new(checksum::plain(text.as_bytes()));
    entry.schema_offset = U64::new(schema_offset);
    entry.schema_bytes = U32::new(text.len() as u32);
    entry.size_bytes = U32::new(schema.size_bytes as u32);
    entry.align_bytes = U32::new(schema.align_bytes as u32);
    Ok(number)
}
