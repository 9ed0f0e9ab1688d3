//! The registry of types as stored in the file: entries and their descriptions.

use zerocopy::little_endian::{U32, U64};

use crate::alloc::{SystemArray, grow_array, store_bytes, type_entry_offset};
use crate::error::{ErrorKind, Result};
use crate::format::checksum;
use crate::format::heap::{MAX_NAME_BYTES, MAX_SCHEMA_BYTES, TypeEntry};
use crate::image::Image;
use crate::persist::{MAX_TYPE_BYTES, Schema};
use crate::workspace::Workspace;

/// Checks that type `number` matches `schema`; fails if it is another type of that name, or
/// contradicts itself.
///
/// Compares the whole description. The checksum in the entry is not enough: a forged file, or a
/// pair of crafted types, can make checksums agree.
pub(super) fn expect_same(image: &Image, number: u32, schema: &Schema) -> Result<()> {
    let (found, text) = (schema_text(image, number)?, schema.to_string());
    let entry = entry(image, number)?;
    let (expected_sum, found_sum) = (checksum::plain(found.as_bytes()), entry.sum.get());
    if found_sum != expected_sum {
        let (offset, what) = (type_entry_offset(image, number)?, "registry of types");
        let expected =
            format!("the checksum {expected_sum:#x} of the description of {}", schema.name);
        return Err(ErrorKind::corrupt(what, offset, expected, format!("{found_sum:#x}")));
    }
    if found != text {
        let (type_name, expected) = (schema.name.clone(), text);
        return Err(ErrorKind::TypeChanged { type_name, expected, found }.into());
    }
    let (size, align) = (entry.size_bytes.get(), entry.align_bytes.get());
    if (size as usize, align as usize) != (schema.size_bytes, schema.align_bytes) {
        let (offset, what) = (type_entry_offset(image, number)?, "registry of types");
        let found = format!("{size} bytes with an alignment of {align} in its entry");
        return Err(ErrorKind::corrupt(what, offset, text.lines().next().unwrap_or(""), found));
    }
    Ok(())
}

fn entry(image: &Image, number: u32) -> Result<&TypeEntry> {
    image.pod("type entry", type_entry_offset(image, number)?)
}

/// Returns the description of type `number`.
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

/// Returns the start of type `number`'s description, which includes its name. Reads no more than
/// that: the description may be long, and a file can give the same long one to each of its types.
fn line_with_name(image: &Image, number: u32) -> Result<(u64, &[u8])> {
    /// Bytes of the line apart from the name, with some slack.
    const BESIDE_BYTES: usize = 64;
    let (offset, bytes) = schema_bytes(image, number)?;
    Ok((offset, &bytes[..bytes.len().min(MAX_NAME_BYTES as usize + BESIDE_BYTES)]))
}

/// Returns the name of type `number`: the part of its description between the first word and the
/// size.
pub(crate) fn type_name(image: &Image, number: u32) -> Result<Option<&str>> {
    let (offset, start) = line_with_name(image, number)?;
    let Some(end) = start.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let named = expect_text(offset, &start[..end])?.split_once(' ');
    Ok(named.and_then(|(_, rest)| rest.rsplit_once(" size ")).map(|(name, _)| name))
}

/// Returns whether type `number` has that name. Rejects nearly all other names without decoding
/// them as text.
pub(super) fn is_named(image: &Image, number: u32, name: &str) -> Result<bool> {
    let (_, bytes) = line_with_name(image, number)?;
    let rest = bytes.iter().position(|byte| *byte == b' ').map(|space| &bytes[space + 1..]);
    let may_be = rest.is_some_and(|rest| rest.starts_with(name.as_bytes()));
    Ok(may_be && type_name(image, number)? == Some(name))
}

/// Refuses a type that the registry cannot keep: its name or description is too long, or its size
/// takes more than 32 bits.
pub(super) fn expect_fits(schema: &Schema) -> Result<()> {
    let name = &schema.name;
    let size_bytes = schema.size_bytes as u64;
    if size_bytes > MAX_TYPE_BYTES {
        let type_name = name.clone();
        return Err(ErrorKind::TypeTooLarge { type_name, size_bytes }.into());
    }
    expect_short("the name of a type", name, name, MAX_NAME_BYTES)?;
    expect_short("the description of a type", name, &schema.to_string(), MAX_SCHEMA_BYTES)
}

/// Refuses a text of more than `max_bytes`; `name` identifies it in the error.
pub(super) fn expect_short(
    what: &'static str,
    name: &str,
    text: &str,
    max_bytes: u64,
) -> Result<()> {
    let found_bytes = text.len() as u64;
    if found_bytes <= max_bytes {
        return Ok(());
    }
    let begin = name.chars().take(40).collect();
    Err(ErrorKind::TextTooLong { what, begin, found_bytes, max_bytes }.into())
}

pub(super) fn register(workspace: &mut Workspace, schema: &Schema) -> Result<u32> {
    if workspace.header()?.registry.len.get() == 0 {
        // Number 0 is flagstone's own; it is the type of the texts below.
        grow_array(workspace, SystemArray::REGISTRY)?;
    }
    let text = schema.to_string();
    let number = grow_array(workspace, SystemArray::REGISTRY)? as u32;
    let schema_offset = store_bytes(workspace, text.as_bytes())?;
    let at = type_entry_offset(workspace, number)?;
    let entry: &mut TypeEntry = workspace.pod_mut("type entry", at)?;
    entry.sum = U64::new(checksum::plain(text.as_bytes()));
    entry.schema_offset = U64::new(schema_offset);
    entry.schema_bytes = U32::new(text.len() as u32);
    entry.size_bytes = U32::new(schema.size_bytes as u32);
    entry.align_bytes = U32::new(schema.align_bytes as u32);
    Ok(number)
}
