//! Promise: the example programs do what their help says, and agree with `wc` and `grep` where
//! they say so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flagstone::persist;
use tempfile::TempDir;
use testkit::programs::{complains, example, output, says};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, open};

#[test]
fn each_example_has_help() {
    for name in ["integer", "window", "index", "phonebook", "dashboard"] {
        let help = says(example(name).arg("--help"));
        assert!(help.contains("Usage:"), "{name}: {help}");
    }
}

fn integer(command: &str, file: &Path) -> Command {
    let mut program = example("integer");
    program.arg(command).arg(file);
    program
}

/// Returns the number in `value: N`.
fn value(said: &str) -> i64 {
    let number = said.strip_prefix("value: ").map(str::trim_end);
    number.and_then(|text| text.parse().ok()).expect(said)
}

#[test]
fn the_integer_is_doubled_by_each_read() -> TestResult {
    let file = ScratchFile::new()?;
    for _ in 0..3 {
        // The second and third round replace the existing number.
        let written = value(&says(&mut integer("write", &file)));
        assert!((-100..=100).contains(&written));
        for factor in [1, 2, 4] {
            let read = value(&says(&mut integer("read", &file)));
            assert_eq!(read, written * factor);
        }
    }
    Ok(())
}

#[test]
fn an_integer_that_cannot_be_doubled_stays() -> TestResult {
    #[persist]
    struct Number {
        value: i64,
    }

    let file = ScratchFile::new()?;
    let number = || Number { value: i64::MIN / 2 };
    let _ = open(&file)?.update(|tx| tx.root_or_insert_with("number", number))?;
    assert_eq!(value(&says(&mut integer("read", &file))), i64::MIN / 2);
    for _ in 0..2 {
        let complaint = complains(&mut integer("read", &file));
        assert!(complaint.contains(&i64::MIN.to_string()), "{complaint}");
        assert!(complaint.contains("does not fit"), "{complaint}");
    }
    Ok(())
}

#[test]
fn integer_refuses_files_that_are_not_its_own() -> TestResult {
    #[persist]
    struct Number {
        half: u32,
        other_half: f32,
    }

    let folder = TempDir::new()?;
    let missing = folder.path().join("missing");
    let complaint = complains(&mut integer("read", &missing));
    assert!(complaint.contains("missing"), "{complaint}");
    assert!(!missing.exists(), "read created a file");

    let foreign = folder.path().join("foreign");
    fs::write(&foreign, "a letter to somebody")?;
    for command in ["read", "write"] {
        let complaint = complains(&mut integer(command, &foreign));
        assert!(complaint.contains("not a flagstone store") || complaint.contains("too few"));
        assert_eq!(fs::read(&foreign)?, b"a letter to somebody");
        complains(&mut integer(command, folder.path()));
    }

    let other = folder.path().join("other");
    let number = || Number { half: 1, other_half: 2.0 };
    let _ = open(&other)?.update(|tx| tx.root_or_insert_with("number", number))?;
    for command in ["read", "write"] {
        let complaint = complains(&mut integer(command, &other));
        assert!(complaint.contains("other_half"), "{complaint}");
    }
    Ok(())
}

#[test]
fn window_ends_silently_when_its_reader_closes() -> TestResult {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), "some text")?;
    for how in [&["--rounds", "1"][..], &["--private"]] {
        let mut program = example("window");
        let program = program.arg(file.path()).args(how).stderr(Stdio::piped());
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = program.stdout(writer).spawn()?.wait_with_output()?;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.success(), "{}", output.status);
    }
    Ok(())
}

/// Returns lines, words and bytes, as `wc` counts them.
fn wc(bytes: &[u8], folder: &Path) -> [u64; 3] {
    let part = folder.join("part");
    fs::write(&part, bytes).expect("a folder to write to");
    let said = says(Command::new("wc").args(["-l", "-w", "-c"]).arg(part));
    let mut numbers = said.split_whitespace().map(str::parse);
    [(); 3].map(|()| numbers.next().and_then(Result::ok).expect("three numbers"))
}

#[test]
fn window_counts_as_wc_does() -> TestResult {
    let file = ScratchFile::new()?;
    let mut text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("LICENSE-APACHE"))?;
    text.extend(b"CRLF\r\n\r\n \x01\x02 \x0b\x0ca\x7fb \x7f\ttab\t\tno newline");
    fs::write(&file, &text)?;

    let all = text.len();
    let ranges = [(0, all), (1, all - 1), (4095, 3), (4096, 4096), (4097, 1)];
    let near_end = [(all - 1, 1), (all - 39, 38), (8191, all - 8191)];
    for (offset, length) in ranges.into_iter().chain(near_end) {
        let [lines, words, bytes] = wc(&text[offset..offset + length], file.folder());
        let expected = format!("lines {lines}, words {words}, bytes {bytes}\n");
        for private in [false, true] {
            let mut window = example("window");
            window.arg(&file).args(["--rounds", "1"]);
            window.args(["--offset", &offset.to_string()]);
            window.args(["--length", &length.to_string()]);
            window.args(private.then_some("--private"));
            let said = says(&mut window);
            assert!(said.contains(&expected), "{window:?}: {said} {expected}");
            assert!(said.contains("ratio"), "{said}");
            assert_eq!(said.contains("capitals"), private);
        }
    }
    assert_eq!(fs::read(&file)?, text, "a private change reached the file");
    Ok(())
}

#[test]
fn window_refuses_what_cannot_be_mapped() -> TestResult {
    let file = ScratchFile::new()?;
    fs::write(&file, "0123456789")?;
    let refused = [
        ["--offset", "10"],
        ["--offset", "11"],
        ["--offset", "18446744073709551615"],
        ["--length", "0"],
        ["--length", "11"],
        ["--offset", "-1"],
    ];
    for arguments in refused {
        complains(example("window").arg(&file).args(arguments));
    }
    for path in [file.folder(), &file.beside("missing")] {
        complains(example("window").arg(path));
    }
    Ok(())
}

/// A folder with files, and an index of them.
struct Indexed {
    folder: TempDir,
}

impl Indexed {
    fn new() -> TestResult<Self> {
        let folder = TempDir::new()?;
        fs::create_dir(folder.path().join("files"))?;
        Ok(Self { folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> std::io::Result<()> {
        fs::write(self.file(name), content)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut index = example("index");
        index.arg("store").args(arguments);
        index.current_dir(self.folder.path());
        index
    }

    fn add(&self) -> String {
        says(&mut self.command(&["add", "files"]))
    }

    /// Returns the lines found, sorted.
    fn find(&self, words: &[&str]) -> Vec<Vec<u8>> {
        sorted_lines(&output(self.command(&["find"]).args(words)))
    }

    /// Returns the lines that grep finds, sorted.
    fn grep(&self, word: &str) -> Vec<Vec<u8>> {
        let mut grep = Command::new("grep");
        // -a: bytes that are not UTF-8 do not make a file binary.
        grep.args(["-a", "-nwi", "-r", "-e", word, "files"]);
        sorted_lines(&output(grep.current_dir(self.folder.path())))
    }

    /// Returns the figures of `stats`, without the names.
    fn stats(&self) -> Vec<u64> {
        let stats = says(&mut self.command(&["stats"]));
        let value = |line: &str| line.split_whitespace().last()?.parse().ok();
        stats.lines().map(|line| value(line).expect(line)).collect()
    }

    fn expect_sound(&self) -> TestResult {
        let report = open(&self.folder.path().join("store"))?.check()?;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.unreachable.allocations, 0, "{:?}", report.unreachable);
        assert_eq!(report.dangling.links, 0, "{:?}", report.dangling);
        Ok(())
    }
}

fn sorted_lines(output: &Output) -> Vec<Vec<u8>> {
    let lines = output.stdout.split_inclusive(|&byte| byte == b'\n');
    let mut lines: Vec<_> = lines.map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

/// Text that is hard to split: not UTF-8, carriage returns, letters beyond ASCII, a last line
/// without a newline.
const ODD: &[u8] = b"\xffodd\nodd\xff\nODD\r\n\nodd odd\nodd_\nodd-even\nodd\x0beven\n\
    \xc3\xa9odd\nodd\xc3\xa9\nodd\xc2\xb2\n\xe2\x80\x94odd\xe2\x80\x94\nmaria odds\n\0odd\nlast Odd";

/// Returns an index of this repository's sources, and of other files.
fn sources() -> TestResult<Indexed> {
    let indexed = Indexed::new()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Copied, since the sources may change during the test.
    for (number, entry) in walkdir::WalkDir::new(root.join("src")).into_iter().enumerate() {
        let entry = entry?;
        if entry.file_type().is_file() {
            fs::copy(entry.path(), indexed.file(&format!("{number}.rs")))?;
        }
    }
    fs::copy(root.join("LICENSE-APACHE"), indexed.file("LICENSE-APACHE"))?;
    // Its NUL comes late enough for it to count as text.
    indexed.write("odd", [&b"fill\n".repeat(2000), ODD].concat())?;
    indexed.write("empty", "")?;
    Ok(indexed)
}

#[test]
fn index_finds_what_grep_finds() -> TestResult {
    let indexed = sources()?;
    let said = indexed.add();
    assert!(said.contains(" added, 0 replaced, 0 unchanged, 0 dropped, 0 binary, 0 failed"));

    let top = says(&mut indexed.command(&["top", "25"]));
    let frequent = top.lines().filter_map(|line| line.split(' ').next_back());
    let others = "transaction Transaction ODD odd_ even maria fill a i k s _ 0 64 2 absent_word";
    for word in frequent.chain(others.split(' ')) {
        assert_eq!(indexed.find(&[word]), indexed.grep(word), "{word}");
    }
    // The sources may contain the word too.
    let odd = indexed.grep("odd");
    let odd = odd.iter().filter(|line| line.starts_with(b"files/odd:")).count();
    assert_eq!(odd, 10, "this grep splits text otherwise");

    // Several words: the lines that contain them all.
    let mut both = indexed.grep("fn");
    let others = indexed.grep("self");
    both.retain(|line| others.contains(line));
    assert!(!both.is_empty());
    assert_eq!(indexed.find(&["self", "fn"]), both);
    indexed.expect_sound()
}

#[test]
fn index_adds_an_unchanged_file_once() -> TestResult {
    let indexed = Indexed::new()?;
    indexed.write("one", "first\n")?;
    indexed.write("two", "first second\n")?;
    indexed.write("binary", b"first\0\n")?;
    assert!(indexed.add().starts_with("2 added, 0 replaced, 0 unchanged, 0 dropped, 1 binary"));
    let before = indexed.stats();
    assert!(indexed.add().starts_with("0 added, 0 replaced, 2 unchanged, 0 dropped, 1 binary"));
    assert_eq!(indexed.stats(), before);
    assert_eq!(indexed.find(&["first"]).len(), 2);
    Ok(())
}

#[test]
fn index_follows_changed_and_vanished_files() -> TestResult {
    let indexed = Indexed::new()?;
    indexed.write("changed", "old word\n")?;
    indexed.write("vanished", "gone word\n")?;
    indexed.write("kept", "word\n")?;
    indexed.add();

    // Neither the length nor the time shows that it changed.
    let changed = fs::metadata(indexed.file("changed"))?.modified()?;
    indexed.write("changed", "new word\n")?;
    let file = fs::File::options().write(true).open(indexed.file("changed"))?;
    file.set_modified(changed)?;
    let complaint = complains(&mut indexed.command(&["find", "old"]));
    assert!(complaint.contains("has changed since"), "{complaint}");
    fs::remove_file(indexed.file("vanished"))?;
    let complaint = complains(&mut indexed.command(&["find", "gone"]));
    assert!(complaint.contains("vanished"), "{complaint}");

    assert!(indexed.add().starts_with("0 added, 1 replaced, 1 unchanged, 1 dropped"));
    for word in ["old", "new", "gone", "word"] {
        assert_eq!(indexed.find(&[word]), indexed.grep(word), "{word}");
    }
    fs::remove_dir_all(indexed.folder.path().join("files"))?;
    assert!(indexed.add().starts_with("0 added, 0 replaced, 0 unchanged, 2 dropped"));
    complains(&mut indexed.command(&["add", "files"]));
    indexed.expect_sound()
}

#[test]
fn index_frees_what_it_replaces() -> TestResult {
    let indexed = Indexed::new()?;
    let [mut this, mut that] = [String::new(), String::new()];
    for number in 0..500 {
        this += &format!("this{number} both{number} {}\n", number % 7);
        that += &format!("that{number}\n both{number} {} more\n", number % 9);
    }
    indexed.write("kept", &this[..1000])?;
    let mut stats = Vec::new();
    for _ in 0..8 {
        for text in [&this, &that] {
            indexed.write("replaced", text)?;
            indexed.add();
            stats.push(indexed.stats());
        }
    }
    for (round, now) in stats.iter().enumerate().skip(2) {
        let (then, now) = (&stats[round % 2], &now[..]);
        let [files, words, postings, live_bytes, file_bytes] = *now else {
            panic!("five figures: {now:?}");
        };
        assert_eq!(then[..3], [files, words, postings]);
        // The store's hash key determines when a table grows. Lengths may therefore differ, but a
        // leaked text would make a larger difference.
        for (then, now) in [(then[3], live_bytes), (then[4], file_bytes)] {
            assert!(now < then + then / 6, "round {round}: {then} bytes, then {now}");
        }
    }
    indexed.expect_sound()
}

#[test]
fn index_refuses_invalid_requests() -> TestResult {
    let indexed = Indexed::new()?;
    let store = indexed.folder.path().join("store");
    for arguments in [["add", "absent"], ["find", "word"], ["top", "3"], ["add", "/dev/null"]] {
        complains(&mut indexed.command(&arguments));
        assert!(!store.exists(), "{arguments:?} created a store");
    }
    indexed.add();
    for arguments in [["find", "two words"], ["find", ""], ["find", "a-b"], ["add", "absent"]] {
        complains(&mut indexed.command(&arguments));
    }
    // An empty result is reported as grep does.
    let nothing = output(&mut indexed.command(&["find", "word"]));
    assert_eq!(nothing.status.code(), Some(1));

    indexed.write("letter", "dear somebody")?;
    fs::copy(indexed.file("letter"), &store)?;
    complains(&mut indexed.command(&["add", "files"]));
    assert_eq!(fs::read(&store)?, b"dear somebody");
    Ok(())
}

#[test]
fn the_dashboard_continues_with_the_same_file() -> TestResult {
    let file = ScratchFile::new()?;
    let mut kept = 0;
    for _ in 0..2 {
        let said = says(example("dashboard").arg(&file).args(["--seconds", "1", "--readers", "2"]));
        assert!(said.starts_with("commits "), "{said}");
        let last = said.lines().last().unwrap_or_default();
        let now: u64 = last.split(' ').next().and_then(|count| count.parse().ok()).expect(&said);
        // The maximum number that is kept.
        assert!(now > kept || now == 500_000, "{now} after {kept}");
        kept = now;
    }
    assert!(open(&file)?.check()?.is_clean());
    assert!(complains(example("dashboard").arg(file.folder())).contains("a directory"));
    Ok(())
}
