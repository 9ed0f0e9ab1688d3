//! Splits text into lines and words, as `grep -wi` does.
//!
//! A word is a longest run of letters, digits and `_`, in UTF-8; bytes that are not UTF-8 belong
//! to no word. Words that differ only in case are equal.

use std::collections::HashMap;

/// A file's text, split.
#[derive(Default)]
pub struct Text {
    /// The offset of each line in bytes.
    pub line_starts: Vec<u64>,
    pub words: HashMap<String, Occurrences>,
}

/// The occurrences of a word in one file.
#[derive(Default)]
pub struct Occurrences {
    /// The number of occurrences, including repetitions within a line.
    pub count: u64,
    /// Line numbers from 1, ascending, without repetitions.
    pub lines: Vec<u32>,
}

impl Text {
    /// Splits `bytes`; returns `None` if there are more lines than a `u32` can count.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut text = Self::default();
        let mut start = 0;
        // A newline ends a line; the last line may lack it.
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            text.line_starts.push(start);
            start += line.len() as u64;
            let number = u32::try_from(text.line_starts.len()).ok()?;
            text.add_line(number, line);
        }
        Some(text)
    }

    fn add_line(&mut self, number: u32, line: &[u8]) {
        let mut word = String::new();
        for chunk in line.utf8_chunks() {
            for letter in chunk.valid().chars() {
                if is_of_word(letter) {
                    word.push(fold(letter));
                } else {
                    self.end_word(number, &mut word);
                }
            }
            // A chunk ends at bytes that are not UTF-8, or at the end of the line.
            self.end_word(number, &mut word);
        }
    }

    fn end_word(&mut self, line: u32, word: &mut String) {
        if word.is_empty() {
            return;
        }
        // Looked up by reference first: most words are known, and need no copy.
        match self.words.get_mut(word.as_str()) {
            Some(occurrences) => occurrences.add(line),
            None => self.words.entry(word.clone()).or_default().add(line),
        }
        word.clear();
    }
}

impl Occurrences {
    fn add(&mut self, line: u32) {
        self.count += 1;
        if self.lines.last() != Some(&line) {
            self.lines.push(line);
        }
    }
}

/// Returns the word as the index stores it, or `None` if `typed` is not exactly one word.
pub fn as_word(typed: &str) -> Option<String> {
    let is_word = !typed.is_empty() && typed.chars().all(is_of_word);
    is_word.then(|| typed.chars().map(fold).collect())
}

/// Returns whether a character belongs to a word. Numbers such as ² and ½ do not, as for grep.
/// Neither do decimal digits of other scripts, although they do for grep: the standard library
/// cannot distinguish the two.
fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
        || letter == '_'
        || (!letter.is_ascii() && letter.is_alphabetic())
}

/// Returns the letter that represents `letter` in either case.
fn fold(letter: char) -> char {
    match letter {
        _ if letter.is_ascii() => letter.to_ascii_lowercase(),
        // Letters beyond ASCII whose capitals are ASCII: `grep -i` treats them as equal to those.
        'ı' => 'i',
        'ſ' => 's',
        _ => small(letter),
    }
}

/// Returns the lowercase form if it is a single letter; the Kelvin sign is not a `k`.
fn small(letter: char) -> char {
    let mut small = letter.to_lowercase();
    match (small.next(), small.next()) {
        (Some(one), None) if !one.is_ascii() => one,
        _ => letter,
    }
}
