//! Named roots: a program's entry points into its data.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

use crate::alloc::{SystemArray, free_bytes, grow_array, store_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::format::heap::{ArrayRef, HeapHeader, MAX_NAME_BYTES, ROOT_SINGLE, RootEntry};
use crate::image::Image;
use crate::persist::{Link, Pointee, Reach};
use crate::workspace::Workspace;

use super::registry::{expect_short, schema_text, type_name};

/// Bytes of an entry.
const ENTRY_BYTES: u64 = size_of::<RootEntry>() as u64;

/// A root, as listed by `roots`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootInfo {
    /// The root's name.
    pub name: String,
    /// The name of its type; in brackets for a slice.
    pub type_name: String,
    /// Offset from the start of the heap; 0 for null.
    pub offset: u64,
    /// Number of elements: 1 for a single object.
    pub count: u64,
}

fn is_slice<P: Pointee + ?Sized>() -> bool {
    size_of::<Link<P>>() == 16
}

fn array(image: &Image) -> Result<ArrayRef> {
    image.roots()
}

fn entry(image: &Image, index: u64) -> Result<&RootEntry> {
    image.pod("root", array(image)?.offset() + index * ENTRY_BYTES)
}

fn name_of<'a>(image: &'a Image, entry: &RootEntry) -> Result<&'a [u8]> {
    let (offset, len) = (entry.name_offset.get(), u64::from(entry.name_bytes.get()));
    if len > MAX_NAME_BYTES {
        let expected = format!("at most {MAX_NAME_BYTES} bytes");
        return Err(ErrorKind::corrupt("root's name", offset, expected, len));
    }
    image.bytes("root's name", offset, len)
}

/// Returns the index of a root, or the index to insert it at. The names are sorted.
///
/// Refuses an empty name: it usually means that the program lost the name somewhere.
fn search(image: &Image, name: &str) -> Result<Result<u64, u64>> {
    if name.is_empty() {
        return Err(ErrorKind::RootNameEmpty.into());
    }
    let (mut low, mut high) = (0, u64::from(array(image)?.len.get()));
    while low < high {
        let middle = (low + high) / 2;
        let found = name_of(image, entry(image, middle)?)?;
        match found.cmp(name.as_bytes()) {
            std::cmp::Ordering::Equal => return Ok(Ok(middle)),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(Err(low))
}

/// Returns the link stored as the root of that name; null if the root does not exist. Logarithmic
/// in the number of roots.
pub(crate) fn get<P: Pointee + ?Sized>(image: &Image, name: &str) -> Result<Link<P>> {
    let Ok(index) = search(image, name)? else {
        return Ok(Link::null());
    };
    let entry = entry(image, index)?;
    expect_type::<P>(image, name, entry)?;
    Ok(Link::from_parts(entry.offset.get(), entry.count.get()))
}

/// Explains why the root of that name has no object, after `get` found none.
#[cold]
pub(crate) fn no_object(image: &Image, name: &str) -> Error {
    let found = search(image, name).and_then(|index| match index {
        Ok(index) => describe(image, entry(image, index)?, name.as_bytes()).map(Some),
        Err(_) => Ok(None),
    });
    let name = name.to_string();
    match found {
        Ok(Some(RootInfo { type_name, .. })) => ErrorKind::RootNull { name, type_name }.into(),
        Ok(None) => nearest(image, &name).map_or_else(
            |error| error,
            |(nearest, roots)| ErrorKind::NoSuchRoot { name, nearest, roots }.into(),
        ),
        Err(error) => error,
    }
}

/// Returns the names of the roots most similar to `name`, the nearest first, and the number of all
/// roots.
fn nearest(image: &Image, name: &str) -> Result<(Vec<String>, u64)> {
    /// Names to show in the error message.
    const MAX_NAMES: usize = 3;
    /// Limit on compared byte pairs: names may be long, and many.
    const MAX_PAIRS: usize = 1 << 24;

    let (mut nearest, mut left) = (Vec::<(f64, &str)>::new(), MAX_PAIRS);
    let folded = name.to_lowercase();
    for entry in entries(image)? {
        let Ok(other) = std::str::from_utf8(name_of(image, entry?)?) else { continue };
        let Some(rest) = left.checked_sub(folded.len() * other.len()) else { continue };
        left = rest;
        let likeness = strsim::jaro_winkler(&folded, &other.to_lowercase());
        let place = nearest.partition_point(|(more, _)| *more >= likeness);
        nearest.insert(place, (likeness, other));
        nearest.truncate(MAX_NAMES);
    }
    let names = nearest.into_iter().map(|(_, name)| name.to_string()).collect();
    Ok((names, array(image)?.len.get().into()))
}

fn expect_type<P: Pointee + ?Sized>(image: &Image, name: &str, entry: &RootEntry) -> Result<()> {
    let found = type_name(image, entry.type_number.get())?.unwrap_or_default();
    let found = display_name(found, entry.count.get() != ROOT_SINGLE);
    let expected = P::target_name();
    if found == expected {
        return Ok(());
    }
    let found_layout = schema_text(image, entry.type_number.get())?;
    let layout = Reach::schema_of::<P::Item>().map(|schema| schema.to_string());
    let expected_layout = layout.unwrap_or_default();
    let name = name.to_string();
    Err(ErrorKind::RootType { name, expected, found, expected_layout, found_layout }.into())
}

fn display_name(type_name: &str, is_slice: bool) -> String {
    if is_slice { format!("[{type_name}]") } else { type_name.to_string() }
}

/// Checks that a `P` can be stored as the root of that name.
pub(crate) fn expect_settable<P: Pointee + ?Sized>(image: &Image, name: &str) -> Result<()> {
    expect_short("the name of a root", name, name, MAX_NAME_BYTES)?;
    match search(image, name)? {
        Ok(index) => expect_type::<P>(image, name, entry(image, index)?),
        Err(_) => Ok(()),
    }
}

/// Stores `link` as the root of that name; the root keeps its type. The caller has checked that
/// the type fits, and that the link is one whole allocation or null.
pub(crate) fn set<P: Pointee + ?Sized>(
    workspace: &mut Workspace,
    name: &str,
    link: Link<P>,
    type_number: u32,
) -> Result<()> {
    let index = match search(workspace, name)? {
        Ok(index) => index,
        Err(index) => insert(workspace, name, index, type_number)?,
    };
    let at = array(workspace)?.offset() + index * ENTRY_BYTES;
    let entry: &mut RootEntry = workspace.pod_mut("root", at)?;
    entry.offset = U64::new(link.offset());
    // A null slice has no elements, whatever its link says. A forged count of ROOT_SINGLE, in
    // particular, would turn it into an object.
    let count = if link.is_null() { 0 } else { link.count() };
    entry.count = U64::new(if is_slice::<P>() { count } else { ROOT_SINGLE });
    Ok(())
}

fn insert(workspace: &mut Workspace, name: &str, index: u64, type_number: u32) -> Result<u64> {
    let name_offset = store_bytes(workspace, name.as_bytes())?;
    let last = grow_array(workspace, SystemArray::ROOTS)?;
    let start = array(workspace)?.offset();
    let moved = start + index * ENTRY_BYTES;
    let bytes = workspace.bytes_mut("roots", moved, (last + 1 - index) * ENTRY_BYTES)?;
    let keep = bytes.len() - ENTRY_BYTES as usize;
    bytes.copy_within(..keep, ENTRY_BYTES as usize);
    let new = RootEntry {
        name_offset: U64::new(name_offset),
        name_bytes: U32::new(name.len() as u32),
        type_number: U32::new(type_number),
        offset: U64::new(0),
        count: U64::new(0),
    };
    bytes[..ENTRY_BYTES as usize].copy_from_slice(new.as_bytes());
    Ok(index)
}

/// Removes a root; returns whether it existed. Its target stays allocated.
pub(crate) fn remove(workspace: &mut Workspace, name: &str) -> Result<bool> {
    let Ok(index) = search(workspace, name)? else {
        return Ok(false);
    };
    let old = *entry(workspace, index)?;
    let roots = array(workspace)?;
    let len = u64::from(roots.len.get());
    let rest = (len - index) * ENTRY_BYTES;
    let bytes = workspace.bytes_mut("roots", roots.offset() + index * ENTRY_BYTES, rest)?;
    bytes.copy_within(ENTRY_BYTES as usize.., 0);
    let end = bytes.len() - ENTRY_BYTES as usize;
    bytes[end..].fill(0);
    let at = std::mem::offset_of!(HeapHeader, roots) + std::mem::offset_of!(ArrayRef, len);
    *workspace.header_mut(at)? = U32::new(len as u32 - 1);
    free_bytes(workspace, old.name_offset.get(), u64::from(old.name_bytes.get()))?;
    Ok(true)
}

/// Lists all roots, sorted by name.
pub(crate) fn list(image: &Image) -> Result<Vec<RootInfo>> {
    let roots = array(image)?;
    // Names do not overlap, so together they must fit in the heap. The check bounds the memory
    // that a forged directory can claim.
    let mut room = image.heap_bytes();
    let describe = |index| {
        let entry = entry(image, index)?;
        let name = name_of(image, entry)?;
        room = room.checked_sub(name.len() as u64).ok_or_else(|| overlap(&roots))?;
        describe(image, entry, name)
    };
    (0..u64::from(roots.len.get())).map(describe).collect()
}

#[cold]
fn overlap(roots: &ArrayRef) -> Error {
    let expected = "names that do not overlap";
    ErrorKind::corrupt(
        "directory of roots",
        roots.offset(),
        expected,
        "more bytes of names than the heap holds",
    )
}

/// Iterates over all roots in file order; yields an error if the array ends too early.
pub(crate) fn entries(image: &Image) -> Result<impl Iterator<Item = Result<&RootEntry>>> {
    let len = u64::from(array(image)?.len.get());
    Ok((0..len).map(move |index| entry(image, index)))
}

fn describe(image: &Image, entry: &RootEntry, name: &[u8]) -> Result<RootInfo> {
    let type_name = type_name(image, entry.type_number.get())?.unwrap_or_default();
    let count = entry.count.get();
    let type_name = display_name(type_name, count != ROOT_SINGLE);
    let name = String::from_utf8_lossy(name).into_owned();
    let count = if count == ROOT_SINGLE { 1 } else { count };
    Ok(RootInfo { name, type_name, offset: entry.offset.get(), count })
}
