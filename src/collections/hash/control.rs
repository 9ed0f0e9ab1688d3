//! Control bytes (tags): one for each slot of a shard, compared sixteen at a time.
//!
//! A tag marks a slot as empty or deleted, or holds one of 254 hash fragments. A
//! lookup therefore visits a wrong entry about once in 20 times.

use wide::u8x16;

use crate::format::collections::hash::{HOME_SHIFT, TAG_SHIFT};

pub(super) use crate::format::collections::hash::{DELETED, EMPTY, GROUP};

const _: () = assert!(GROUP == size_of::<u8x16>() as u64, "a comparison takes a whole group");

/// Returns the tag of an entry: bits of the hash that choose neither the group nor,
/// in maps of less than 2^24 shards, the shard.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    ((hash >> TAG_SHIFT) as u8).max(DELETED + 1)
}

/// Returns the group where a probe begins. If `groups` is damaged, the result may
/// be out of bounds; callers must check it.
#[inline]
pub(super) fn home(hash: u64, groups: usize) -> usize {
    ((hash >> HOME_SHIFT).wrapping_mul(groups as u64) >> 32) as usize
}

/// Returns the group to probe after this one.
#[inline]
pub(super) fn next(group: usize, groups: usize) -> usize {
    if group + 1 < groups { group + 1 } else { 0 }
}

/// Returns a mask whose bit `i` is set if tag `i` equals `tag`.
#[inline]
pub(super) fn matches(group: &[u8; 16], tag: u8) -> u32 {
    u8x16::new(*group).cmp_eq(u8x16::splat(tag)).move_mask() as u32
}

/// Returns a mask whose bit `i` is set if slot `i` has an entry.
#[inline]
pub(super) fn entries(group: &[u8; 16]) -> u32 {
    !(matches(group, EMPTY) | matches(group, DELETED)) & 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_finds_each_tag_that_is_equal() {
        let mut state = 1u64;
        for _ in 0..2000 {
            let group: [u8; 16] = std::array::from_fn(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                [0, 1, 2, 3, 127, 128, 129, 255][(state >> 60) as usize % 8]
            });
            for tag in [0, 1, 2, 3, 127, 128, 129, 255] {
                let expected =
                    (0..16).filter(|i| group[*i] == tag).fold(0, |mask, i| mask | 1 << i);
                assert_eq!(matches(&group, tag), expected, "{tag} in {group:?}");
            }
        }
    }

    #[test]
    fn a_home_is_one_of_the_groups() {
        for groups in [1, 2, 3, 57, 1000] {
            for hash in [0, 1 << 32, u64::MAX, 0x8000_0000_0000_0000] {
                assert!(home(hash, groups) < groups);
            }
        }
        assert_eq!(next(2, 3), 0);
    }
}
