//! A window on an ordinary file: memory that maps a part of it, at any offset and of any length,
//! read-only or private.
//!
//! Counts lines, words and bytes by reading memory, as `wc` counts them, and compares the time
//! with `read` of the same part. It shows the two kinds of mapping that a flagstone store
//! consists of.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write, stdout};
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use memmap2::{Mmap, MmapMut, MmapOptions};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Bytes per call of `read`: roughly what `cp` and `wc` use.
const READ_BYTES: usize = 128 * 1024;

/// Map a part of a file, count its lines, words and bytes, and compare with `read`.
///
/// No other program may truncate the file while this runs.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// An ordinary file.
    file: PathBuf,

    /// Start of the window, in bytes.
    #[arg(long, default_value_t = 0)]
    offset: u64,

    /// Length of the window in bytes; without it, to the end of the file.
    #[arg(long)]
    length: Option<u64>,

    /// Map a private copy, write capitals into it, and show that the file does not change.
    #[arg(long)]
    private: bool,

    /// How often both ways are timed.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// A part of a file, known to be within it.
struct Window<'a> {
    file: &'a File,
    offset: u64,
    length: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has closed it.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("window: {}: {error}", arguments.file.display());
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let found = error.downcast_ref::<io::Error>();
    found.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let file = open(&arguments.file)?;
    let window = Window::new(&file, arguments.offset, arguments.length)?;
    let counts = if arguments.private { change_privately(&window)? } else { count(&window.map()?) };
    writeln!(stdout(), "{counts}")?;
    compare_times(&window, arguments.rounds, &counts)
}

/// Opens an ordinary file. Checks its type first: opening a FIFO would wait for a writer.
fn open(path: &Path) -> Result<File, Box<dyn Error>> {
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        return Err("is a folder; give the path of a file".into());
    }
    if !metadata.is_file() {
        return Err("is no ordinary file, so it cannot be mapped".into());
    }
    Ok(File::open(path)?)
}

impl<'a> Window<'a> {
    /// Returns an error if the window is empty or ends past the file: accessing memory past the
    /// end of a file raises SIGBUS, so it is checked here.
    fn new(file: &'a File, offset: u64, length: Option<u64>) -> Result<Self, Box<dyn Error>> {
        let file_bytes = file.metadata()?.len();
        let Some(rest) = file_bytes.checked_sub(offset) else {
            return Err(format!("--offset {offset} is past its {file_bytes} bytes").into());
        };
        let length = length.unwrap_or(rest);
        if length > rest {
            let what = format!("--length {length} is more than the {rest} bytes");
            return Err(format!("{what} from --offset {offset} to the end").into());
        }
        if length == 0 {
            return Err("the window has no bytes, and memory of length 0 cannot be mapped".into());
        }
        Ok(Self { file, offset, length: usize::try_from(length)? })
    }

    /// The kernel maps whole pages; memmap2 begins at the page that contains the offset and
    /// returns the requested bytes.
    fn options(&self) -> MmapOptions {
        let mut options = MmapOptions::new();
        options.offset(self.offset).len(self.length);
        options
    }

    /// Maps the window read-only: its memory is the page cache.
    fn map(&self) -> io::Result<Mmap> {
        // SAFETY: the window is within the file, and the user was told that nobody else may
        // change the file while this runs. Nothing can enforce that; every mapping of a file
        // requires it.
        unsafe { self.options().map(self.file) }
    }

    /// Maps the window as a private copy: a page is copied when it is first written, and no
    /// change reaches the file.
    fn map_private(&self) -> io::Result<MmapMut> {
        // SAFETY: as in `map`; unwritten pages are still the file's.
        unsafe { self.options().map_copy(self.file) }
    }

    /// Passes the window to `each`, in the pieces that `read` returns.
    fn read(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut file = self.file;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut rest = file.take(self.length as u64);
        let mut buffer = vec![0; READ_BYTES.min(self.length)];
        loop {
            match rest.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => each(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the hash of the file's current content, by `read`.
    fn hash_of_file(&self) -> io::Result<u64> {
        let mut hash = Xxh3::new();
        self.read(|piece| hash.update(piece))?;
        Ok(hash.digest())
    }
}

/// Writes capitals into a private mapping; returns its counts, which equal the file's.
fn change_privately(window: &Window<'_>) -> Result<Counts, Box<dyn Error>> {
    let before = window.hash_of_file()?;
    let mut memory = window.map_private()?;
    let small = memory.iter().filter(|byte| byte.is_ascii_lowercase()).count();
    memory.make_ascii_uppercase();
    let after = window.hash_of_file()?;

    let mut out = stdout().lock();
    writeln!(out, "private: {small} small letters became capitals")?;
    writeln!(out, "hash of the memory  {:016x}", xxh3_64(&memory))?;
    writeln!(out, "hash of the file    {after:016x}, before {before:016x}")?;
    if before != after {
        return Err("changed meanwhile (by another program: a private mapping cannot)".into());
    }
    Ok(count(&memory))
}

/// Times both ways alternately, each from the start: a new mapping, whose pages fault in, against
/// calls of `read`.
fn compare_times(
    window: &Window<'_>,
    rounds: u32,
    expected: &Counts,
) -> Result<(), Box<dyn Error>> {
    let mut out = stdout().lock();
    let mut ratios = Vec::new();
    // The first round is not printed: it loads the file into the page cache.
    for round in 0..=rounds {
        let (by_memory, memory_time) = timed(|| Ok(count(&window.map()?)))?;
        let (by_read, read_time) = timed(|| count_by_read(window))?;
        if by_memory != *expected || by_read != *expected {
            return Err("changed while it was counted".into());
        }
        if round == 0 {
            continue;
        }
        let ratio = memory_time.as_secs_f64() / read_time.as_secs_f64();
        let (memory, read) = (millis(memory_time), millis(read_time));
        writeln!(out, "round {round}: memory {memory}, read {read}, ratio {ratio:.2}")?;
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    writeln!(out, "median ratio {median:.2} (below 1: memory is faster)")?;
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Duration)> {
    let start = Instant::now();
    let value = work()?;
    Ok((value, start.elapsed()))
}

fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn count(bytes: &[u8]) -> Counts {
    let mut counts = Counts::default();
    counts += bytes;
    counts
}

fn count_by_read(window: &Window<'_>) -> io::Result<Counts> {
    let mut counts = Counts::default();
    window.read(|piece| counts += piece)?;
    Ok(counts)
}

/// The counts of `wc`; bytes are added piece by piece.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    lines: u64,
    words: u64,
    bytes: u64,
    /// Whether the last byte was in a word, which the next piece may continue.
    in_word: bool,
}

impl AddAssign<&[u8]> for Counts {
    /// Counts words as `wc` does: white space ends a word, a printable character belongs to one,
    /// and a control character does neither. All non-ASCII bytes count as letters, which is
    /// correct for UTF-8 except for its rarer spaces.
    ///
    /// The loop does not branch on a byte: text is hard to predict, and a misprediction costs
    /// more than the arithmetic.
    fn add_assign(&mut self, piece: &[u8]) {
        let (mut lines, mut words, mut in_word) = (0, 0, self.in_word);
        for &byte in piece {
            let is_space = (byte == b' ') | matches!(byte, b'\t'..=b'\r');
            let is_letter = (byte > b' ') & (byte != 0x7f);
            lines += u64::from(byte == b'\n');
            words += u64::from(is_letter & !in_word);
            in_word = is_letter | (in_word & !is_space);
        }
        self.lines += lines;
        self.words += words;
        self.bytes += piece.len() as u64;
        self.in_word = in_word;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, words, bytes, .. } = self;
        write!(f, "lines {lines}, words {words}, bytes {bytes}")
    }
}
