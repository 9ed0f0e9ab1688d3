//! Promise: a file can be checked without opening it as a store. Nothing in it changes, its log
//! is read, and whatever prevents opening it is a finding with a position. This holds for the
//! library and the tool.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use flagstone::{Durability, Link, OpenOptions, Report};
use testkit::forge::{self, COORDINATION, HEAP, PAGE, SLOTS};
use testkit::scratch::{ScratchFile, check_file};
use testkit::{TestResult, assert_refused, open, open_with};

/// Returns the report of a file; checks that its bytes and times have not changed.
fn checked(file: &ScratchFile) -> TestResult<Report> {
    let look = || -> TestResult<_> {
        let found = fs::metadata(file)?;
        let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
        Ok((fs::read(file)?, times, found.ino()))
    };
    let before = look()?;
    let report = check_file(file)?;
    assert!(before == look()?, "it was changed");
    Ok(report)
}

/// Returns the report of a file with this content.
fn report_of(bytes: &[u8]) -> TestResult<Report> {
    checked(&ScratchFile::with(bytes)?)
}

/// Returns its findings.
fn findings_of(bytes: &[u8]) -> TestResult<Vec<String>> {
    Ok(shown(&report_of(bytes)?))
}

/// Returns the bytes of a store that was closed, and of one that was killed after `numbers`
/// commits, of which the last is not durable.
fn files(numbers: u64) -> TestResult<[Vec<u8>; 2]> {
    let path = ScratchFile::new()?;
    let options = OpenOptions::new().log_bytes(64 * 1024);
    let store = open_with(&path, &options)?;
    store.update(|tx| tx.root_or_insert_with("table", || [0u64; 400]).map(drop))?;
    let closed = forge::closed(store, &path)?;
    let store = open_with(&path, &options)?;
    for number in 1..=numbers {
        let mut tx = store.write()?;
        let table: Link<[u64; 400]> = tx.root("table")?;
        tx.at_mut(table)?[number as usize] = number;
        if number == numbers {
            tx.set_durability(Durability::Deferred);
        }
        tx.commit()?;
    }
    Ok([closed, fs::read(&path)?])
}

fn shown(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_sound_file_has_no_findings_whether_it_was_closed_or_not() -> TestResult {
    for bytes in files(5)? {
        let file = ScratchFile::with(&bytes)?;
        let report = checked(&file)?;
        assert!(report.is_clean() && report.torn_end.is_none(), "{:?}", shown(&report));
        assert!(report.pages > 16 && report.unreachable.allocations == 0);
        // The store still opens, with the contents of the log.
        open(&file)?.check()?.into_result()?;
    }
    Ok(())
}

#[test]
fn a_file_that_may_only_be_read_is_checked() -> TestResult {
    let [_, killed] = files(2)?;
    let file = ScratchFile::with(&killed)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400))?;
    assert!(checked(&file)?.is_clean());
    Ok(())
}

#[test]
fn an_open_store_is_not_checked() -> TestResult {
    let [closed, _] = files(1)?;
    let file = ScratchFile::with(&closed)?;
    let store = open(&file)?;
    assert_refused!(check_file(&file), Locked { .. });
    drop(store);
    let _ = check_file(&file)?;
    assert_refused!(check_file(Path::new("/nowhere/at/all")), NoSuchFile { .. });
    assert_refused!(check_file(Path::new("/dev/null")), NotAFile { .. });
    let foreign = ScratchFile::with(&[7; 50_000])?;
    assert_refused!(check_file(&foreign), NotAStore { .. });
    Ok(())
}

#[test]
fn each_superblock_is_looked_at_and_both_are_compared() -> TestResult {
    let files = files(3)?;
    for (slot, what) in SLOTS.into_iter().zip(["0x0", "0x10000"]) {
        for bytes in &files {
            let mut bytes = bytes.clone();
            bytes[slot + 70] ^= 1;
            let file = ScratchFile::with(&bytes)?;
            let found = shown(&checked(&file)?);
            assert!(found.len() == 1 && found[0].contains("superblock"), "{found:?}");
            assert!(found[0].contains(&format!("file offset {what}: ")), "{found:?}");
            assert!(found[0].contains("the next change writes this one anew"), "{found:?}");
            let store = open(&file)?;
            let _ = store.update(|tx| tx.alloc(1u64))?;
            store.close()?;
            assert!(checked(&file)?.is_clean(), "it was written anew");
        }
    }
    // Each superblock is valid on its own.
    let set = |slot: usize, field: usize, number: u64| -> TestResult<Vec<String>> {
        let mut bytes = files[0].clone();
        forge::superblock(&mut bytes[slot..slot + PAGE], |block| {
            forge::set_number(block, field, number);
        });
        findings_of(&bytes)
    };
    let change = |slot: usize, field: usize| {
        set(slot, field, forge::number(&files[0], slot + field) ^ 0x1000)
    };
    let other = |slot| if slot == SLOTS[0] { SLOTS[1] } else { SLOTS[0] };
    let older = other(forge::newest(&files[0]));
    for (field, what) in
        [(32, "two stores"), (72, "two states"), (112, "two states"), (200, "know")]
    {
        let found = change(older, field)?;
        assert!(found.iter().any(|found| found.contains(what)), "{field}: {found:?}");
    }
    // Both name the position that the log gets to.
    let reach = forge::number(&files[0], 104);
    for (slot, reach, what) in [
        (older, reach + 4096, "two states"),
        (older, reach - 8, "the reach is impossible"),
        (other(older), reach + 4096, "the reach is impossible"),
    ] {
        let found = set(slot, 128, reach)?;
        assert!(found.iter().any(|found| found.contains(what)), "{slot}: {found:?}");
    }
    Ok(())
}

#[test]
fn bytes_that_must_be_zero_are_zero() -> TestResult {
    let [closed, _] = files(1)?;
    let ends = [SLOTS[1], COORDINATION, HEAP].map(|end| end - 1);
    for at in [512, PAGE, SLOTS[1] + 512, COORDINATION + PAGE].into_iter().chain(ends) {
        let mut bytes = closed.clone();
        bytes[at] = 9;
        let found = findings_of(&bytes)?;
        let expected = format!("file offset {at:#x}: expected zeros, found 0x09");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:?}");
    }
    // Remains of processes that shared the store are not damage.
    let mut bytes = closed;
    bytes[COORDINATION..COORDINATION + PAGE].fill(9);
    assert!(report_of(&bytes)?.is_clean());
    Ok(())
}

#[test]
fn damage_of_the_log_is_found_where_a_later_record_proves_it_durable() -> TestResult {
    let [_, killed] = files(5)?;
    let records = forge::records(&killed);
    let commits: Vec<_> = records.iter().filter(|record| killed[record.start + 3] == 1).collect();
    assert_eq!(commits.len(), 5);
    for commit in &commits[..4] {
        let mut bytes = killed.clone();
        bytes[commit.end - 3] ^= 64;
        let file = ScratchFile::with(&bytes)?;
        let report = checked(&file)?;
        let found = shown(&report);
        assert!(found.len() == 1 && found[0].contains("the log is damaged"), "{found:?}");
        assert_eq!(report.findings[0].file_offset, commit.start as u64);
        assert!(report.torn_end.is_none());
        // The heap in the state before the damage was checked too.
        assert!(report.pages > 16);
        assert_refused!(open(&file), LogDamaged { .. });
    }
    // No later record proves the last one durable.
    for at in [commits[4].start, commits[4].start + 9, commits[4].start + 26, commits[4].end - 1] {
        let mut bytes = killed.clone();
        bytes[at] ^= 1;
        let report = report_of(&bytes)?;
        assert!(report.is_clean(), "{:?}", shown(&report));
        let end = report.torn_end.expect("a note");
        assert_eq!(end.file_offset, commits[4].start as u64);
        assert!(end.what.contains("not whole"), "{end}");
    }
    Ok(())
}

#[test]
fn damage_that_prevents_opening_is_a_finding() -> TestResult {
    let [closed, _] = files(1)?;
    let mut both = closed.clone();
    SLOTS.into_iter().for_each(|slot| both[slot + 100] ^= 1);
    let found = findings_of(&both)?;
    assert!(found.len() == 3 && found[2].contains("cannot be looked at"), "{found:?}");
    assert!(found[..2].iter().all(|found| found.contains("neither can be used")), "{found:?}");
    for (len, what) in [(closed.len() - 1, "truncated"), (HEAP - 1, "too few")] {
        let found = findings_of(&closed[..len])?;
        assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
    }
    Ok(())
}

#[cfg(feature = "cli")]
mod tool {
    use std::process::Command;

    use super::*;

    fn run(arguments: &[&Path]) -> TestResult<(Option<i32>, String, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flagstone"));
        let output = command.arg("check").args(arguments).output()?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    }

    #[test]
    fn the_exit_code_is_0_if_sound_1_for_findings_and_2_for_errors() -> TestResult {
        let [closed, killed] = files(4)?;
        let sound = ScratchFile::with(&killed)?;
        let (code, out, error) = run(&[&sound])?;
        assert_eq!((code, &*error), (Some(0), ""), "{out}");
        assert!(out.contains(" 0 findings") && out.lines().count() == 1, "{out}");

        let mut torn = killed.clone();
        let last = forge::records(&torn).pop().expect("a record");
        torn[last.start + 40] ^= 1;
        let (code, out, _) = run(&[&ScratchFile::with(&torn)?])?;
        assert!(code == Some(0) && out.starts_with("note: file offset 0x"), "{out}");

        let mut damaged = closed.clone();
        (damaged[HEAP + 3000], damaged[COORDINATION]) = (1, 1);
        let (code, out, _) = run(&[&ScratchFile::with(&damaged)?])?;
        assert_eq!(code, Some(1));
        assert!(out.contains("heap offset 0x") && out.contains("expected zeros"), "{out}");

        let (code, out, error) = run(&[Path::new("/nowhere")])?;
        assert!(code == Some(2) && out.is_empty() && error.contains("no such file"), "{error}");
        let store = open(&sound)?;
        let (code, _, error) = run(&[&sound])?;
        assert!(code == Some(2) && error.contains("open already"), "{error}");
        drop(store);
        assert_eq!(run(&[])?.0, Some(2));
        Ok(())
    }

    #[test]
    fn the_exit_code_is_1_for_findings_that_nobody_reads() -> TestResult {
        let [mut damaged, _] = files(4)?;
        damaged[HEAP + 3000] = 1;
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_flagstone"));
        let file = ScratchFile::with(&damaged)?;
        let status = command.arg("check").arg(&file).stdout(writer).status()?;
        assert_eq!(status.code(), Some(1));
        Ok(())
    }

    #[test]
    fn verbose_output_lists_what_is_lost() -> TestResult {
        let file = ScratchFile::new()?;
        let store = open(&file)?;
        let mut tx = store.write()?;
        let gone = tx.alloc(7u64)?;
        let table = tx.alloc_slice([gone; 2])?;
        tx.set_root("table", table)?;
        tx.free(gone)?;
        let _ = tx.alloc(8u128)?;
        tx.commit()?;
        store.close()?;
        let (code, out, _) = run(&[&file])?;
        assert!(code == Some(0) && out.contains("1 unreachable allocations of 16 bytes"), "{out}");
        assert!(out.contains("2 dangling links") && out.lines().count() == 1, "{out}");
        let (code, out, _) = run(&[Path::new("-v"), &file])?;
        assert!(
            code == Some(0) && out.contains("u128 of 16 bytes, which no root reaches"),
            "{out}"
        );
        assert!(out.contains("Link<u64>: a link to 0x"), "{out}");
        Ok(())
    }
}
