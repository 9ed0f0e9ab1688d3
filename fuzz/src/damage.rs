//! Edits that damage a file.

use std::collections::BTreeSet;

use arbitrary::Arbitrary;

use crate::repair::Repair;
use crate::samples::Sample;
use testkit::forge::{self, HEAP, PAGE};

/// Maximum length of a file that was lengthened.
const MAX_BYTES: usize = 768 << 10;

/// An edit.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Edit {
    Byte {
        at: Place,
        value: u8,
    },
    Bit {
        at: Place,
        bit: u8,
    },
    Word {
        at: Place,
        value: Value,
    },
    /// Half a word, such as a page number or a length.
    Half {
        at: Place,
        value: u16,
    },
    /// Copies another word: a link to what another link owns.
    Copy {
        from: Place,
        to: Place,
    },
    SwapPages {
        a: u16,
        b: u16,
    },
    CopyPage {
        from: u16,
        to: u16,
    },
    ZeroPage {
        page: u16,
    },
    Cut {
        bytes: u32,
    },
    Lengthen {
        pages: u8,
    },
}

/// Where an edit is made.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Place {
    /// Some byte of the file.
    Any(u32),
    /// A byte of a word outside of the log that is not zero.
    Live(u16, u8),
    /// A byte of the log.
    Log(u16),
}

/// The new value of a word.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Value {
    Any(u64),
    Small(u16),
    /// One bit.
    Power(u8),
    /// All bits below one.
    Ones(u8),
    /// More or less than the old value.
    Add(i8),
    /// The heap offset of a word that is not zero.
    Offset(u16),
}

impl Place {
    fn in_file(self, sample: &Sample, len: usize) -> usize {
        let at = match self {
            Self::Any(at) => at as usize,
            Self::Live(word, byte) => {
                let words = &sample.words;
                words[usize::from(word) % words.len()] as usize + usize::from(byte % 8)
            }
            Self::Log(at) => sample.log.start + usize::from(at) % sample.log.len(),
        };
        at % len
    }
}

impl Value {
    fn of(self, old: u64, sample: &Sample) -> u64 {
        match self {
            Self::Any(value) => value,
            Self::Small(value) => value.into(),
            Self::Power(bit) => 1 << (bit % 64),
            Self::Ones(bit) => (1u64 << (bit % 64)).wrapping_sub(1),
            Self::Add(change) => old.wrapping_add_signed(change.into()),
            Self::Offset(word) => {
                let at = sample.words[usize::from(word) % sample.words.len()];
                u64::from(at).wrapping_sub(HEAP as u64)
            }
        }
    }
}

/// Returns a sample's file after these edits, with its checksums repaired as `repair` says.
pub fn damaged(sample: &Sample, edits: &[Edit], repair: Repair) -> Vec<u8> {
    let mut bytes = sample.bytes.clone();
    let mut pages = BTreeSet::new();
    for edit in edits {
        apply(*edit, sample, &mut bytes, &mut pages);
    }
    repair.run(&mut bytes, &pages);
    bytes
}

fn apply(edit: Edit, sample: &Sample, bytes: &mut Vec<u8>, pages: &mut BTreeSet<usize>) {
    let len = bytes.len();
    if len < PAGE {
        return;
    }
    let byte_at = |place: Place| place.in_file(sample, len);
    let word_at = |place: Place| place.in_file(sample, len - 7) / 8 * 8;
    let mut note = |at: usize| pages.extend(at.checked_sub(HEAP).map(|at| at / PAGE));
    match edit {
        Edit::Byte { at, value } => {
            let at = byte_at(at);
            note(at);
            bytes[at] = value;
        }
        Edit::Bit { at, bit } => {
            let at = byte_at(at);
            note(at);
            bytes[at] ^= 1 << (bit % 8);
        }
        Edit::Word { at, value } => {
            let at = word_at(at);
            note(at);
            let value = value.of(forge::number(bytes, at), sample);
            forge::set_number(bytes, at, value);
        }
        Edit::Half { at, value } => {
            let at = at.in_file(sample, len - 7) / 4 * 4;
            note(at);
            forge::set_number32(bytes, at, value.into());
        }
        Edit::Copy { from, to } => {
            let (from, to) = (word_at(from), word_at(to));
            note(to);
            bytes.copy_within(from..from + 8, to);
        }
        Edit::SwapPages { a, b } => {
            let [a, b] = [a, b].map(|page| usize::from(page) % (len / PAGE) * PAGE);
            note(a);
            note(b);
            for i in 0..PAGE {
                bytes.swap(a + i, b + i);
            }
        }
        Edit::CopyPage { from, to } => {
            let [from, to] = [from, to].map(|page| usize::from(page) % (len / PAGE) * PAGE);
            note(to);
            bytes.copy_within(from..from + PAGE, to);
        }
        Edit::ZeroPage { page } => {
            let page = usize::from(page) % (len / PAGE) * PAGE;
            note(page);
            bytes[page..page + PAGE].fill(0);
        }
        Edit::Cut { bytes: by } => bytes.truncate(by as usize % len),
        Edit::Lengthen { pages } => {
            bytes.resize((len + usize::from(pages) * PAGE).min(MAX_BYTES), 0);
        }
    }
}
