//! Promise: a store is open once, or shared by all processes that share it, even on a file system
//! that a program serves, where the kernel may treat each name as a separate file and report an
//! outdated length. Such a store is neither reported as truncated nor created anew. A store that
//! other machines may reach is shared only with the user's explicit consent.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use flagstone::{ErrorKind, Link, OpenOptions, Result, Store};
use testkit::forge::{COORDINATION, PAGE};
use testkit::power::Test;
use testkit::power::scratch_fs::Bench;
use testkit::power::served::{Manners, Served};
use testkit::scratch::open_shared;
use testkit::{TestResult, assert_refused, open, open_with};

/// The ways of opening that create a store.
const WAYS: [&str; 3] = ["open", "open_copy", "open_shared"];

fn open_by(way: &str, path: &Path) -> Result<Store> {
    let options = OpenOptions::new().log_bytes(64 * 1024).assume_local(true);
    match way {
        "open" => open_with(path, &options),
        "open_copy" => options.open_copy(path),
        _ => open_shared(path, &options),
    }
}

fn put(store: &Store, numbers: &[u64]) -> Result<()> {
    store.update(|tx| {
        let numbers: Link<[u64]> = tx.alloc_slice_copy(numbers)?;
        tx.set_root("numbers", numbers)
    })
}

fn numbers(store: &Store) -> Result<Vec<u64>> {
    let tx = store.read()?;
    Ok(tx.at(tx.root::<[u64]>("numbers")?)?.to_vec())
}

/// Opens a store in another process, which reports the result and keeps the store open.
fn open_elsewhere(way: &str, path: &Path) -> TestResult<(Child, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--play", "opener", way]).arg(path);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    Ok((child, line.trim().to_string()))
}

fn play_opener(way: &str, path: &Path) -> TestResult {
    let opened = open_by(way, path);
    match &opened {
        Ok(store) => println!("open {:?}", numbers(store)?),
        Err(error) if matches!(error.kind(), ErrorKind::Locked { .. }) => println!("locked"),
        Err(error) => println!("{error}"),
    }
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn end((mut child, _): (Child, String)) -> TestResult {
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

fn expect_one_writer(served: &Served) -> TestResult {
    for first in WAYS {
        let path = served.path(first);
        let store = open_by(first, &path)?;
        put(&store, &[1, 2, 3])?;
        for second in WAYS {
            let elsewhere = open_elsewhere(second, &path)?;
            let is_shared = [first, second] == ["open_shared"; 2];
            let expected = if is_shared { "open [1, 2, 3]" } else { "locked" };
            assert_eq!(elsewhere.1, expected, "{second} beside {first}");
            if !is_shared {
                assert_refused!(open_by(second, &path), Locked { .. });
            }
            end(elsewhere)?;
        }
        put(&store, &[4])?;
        store.close()?;
        let store = open_by(first, &path)?;
        assert_eq!(numbers(&store)?, [4]);
        store.check()?.into_result()?;
        store.close()?;
    }
    let left: Vec<_> = fs::read_dir(served.path(""))?.flatten().map(|it| it.file_name()).collect();
    assert_eq!(left.len(), WAYS.len(), "{left:?}");
    Ok(())
}

/// Returns the first bytes of a store, without the coordination page, whose content has no
/// meaning while the store is closed.
fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = fs::read(path)?;
    bytes[COORDINATION..COORDINATION + PAGE].fill(0);
    Ok(bytes)
}

/// Tests two names of one store; the kernel caches a wrong length for the second.
fn expect_nothing_lost_by_another_name(served: &Served, is_found: bool) -> TestResult {
    let path = served.path("store");
    // This name gets the true length: the file was created under it.
    fs::write(&path, "")?;
    let store = open(&path)?;
    put(&store, &[7; 1000])?;
    store.close()?;
    for way in WAYS {
        let name = served.path(&format!("name-{way}"));
        fs::hard_link(&path, &name)?;
        let before = bytes(&path)?;
        match open_by(way, &name) {
            Ok(store) => assert_eq!(numbers(&store)?, [7; 1000], "{way}"),
            Err(error) => {
                assert!(!is_found, "{way}: {error}");
                assert!(bytes(&path)? == before, "{way}: it was changed; {error}");
            }
        }
        assert_eq!(numbers(&open(&path)?)?, [7; 1000], "{way}");
    }
    Ok(())
}

fn expect_no_false_truncation(served: &Served) -> TestResult {
    let (path, name) = (served.path("store"), served.path("name"));
    open(&path)?.close()?;
    fs::hard_link(&path, &name)?;
    open(&name)?.close()?;
    // The file grows under one name, and the kernel caches the old length under the other.
    let store = open(&path)?;
    put(&store, &[9; 500_000])?;
    store.close()?;
    let store = open(&name)?;
    assert_eq!(numbers(&store)?, [9; 500_000]);
    store.close()?;
    // A truncated file is truncated.
    fs::File::options().write(true).open(&path)?.set_len(400_000)?;
    assert_refused!(open(&path), Truncated { .. });
    Ok(())
}

fn expect_refusal_to_share(served: &Served) -> TestResult {
    let path = served.path("shared");
    let share = || open_shared(&path, &OpenOptions::new());
    assert_refused!(share(), NotOneMachine { file_system, .. } if file_system.contains("FUSE"));
    assert!(!path.exists(), "it was made");
    fs::write(&path, "")?;
    assert_refused!(share(), NotOneMachine { .. });
    assert_eq!(fs::metadata(&path)?.len(), 0, "a store was made of it");
    fs::remove_file(&path)?;
    open(&path)?.close()?;
    let error = share().err().ok_or("it is shared")?;
    assert!(error.to_string().contains("assume_local(true)"), "{error}");
    open_by("open_shared", &path)?.close()?;
    Ok(())
}

fn expect_in_place(served: &Served) -> TestResult {
    expect_one_writer(served)?;
    // A process that comes too late finds the store there.
    let path = served.path("together");
    let barrier = std::sync::Barrier::new(4);
    let open_one = || {
        barrier.wait();
        let opened = open_by("open", &path);
        barrier.wait();
        match &opened {
            Ok(_) => 1,
            Err(error) if matches!(error.kind(), ErrorKind::Locked { .. }) => 0,
            Err(error) => panic!("{error}"),
        }
    };
    let won: u32 = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(open_one));
        threads.map(|thread| thread.join().expect("a thread")).into_iter().sum()
    });
    assert_eq!(won, 1);
    Ok(())
}

fn test(name: &str, manners: Manners, run: fn(&Served) -> TestResult) -> Test {
    let run = move || {
        let bench = Bench::new()?;
        run(&Served::start(&bench.path("served"), manners)?)
    };
    let probe = || {
        let bench = Bench::new()?;
        Served::start(&bench.path("served"), Manners::default()).map(drop)
    };
    Test { name: name.to_string(), probe: Box::new(probe), run: Box::new(run) }
}

/// Acts as a process that one of these tests started.
pub fn play(arguments: &[String]) -> Option<TestResult> {
    let [part, way, path] = arguments else { return None };
    (part == "opener").then(|| play_opener(way, Path::new(path)))
}

pub fn tests() -> Vec<Test> {
    let plain = Manners::default();
    let stale = Manners { stale: true, ..plain };
    let late = Manners { lies: 3, ..stale };
    let lying = Manners { lies: u32::MAX, ..stale };
    let alone = Manners { without_links: true, ..plain };
    vec![
        test("each name is a file of its own", plain, expect_one_writer),
        test("a length is remembered that was never true", stale, expect_one_writer),
        test("a length is told that was never true", late, expect_one_writer),
        test("files have one name", alone, expect_in_place),
        test("another name, remembered as empty", stale, |served| {
            expect_nothing_lost_by_another_name(served, true)
        }),
        test("another name, told to be empty at first", late, |served| {
            expect_nothing_lost_by_another_name(served, true)
        }),
        test("another name, told to be empty for ever", lying, |served| {
            expect_nothing_lost_by_another_name(served, false)
        }),
        test("another name, remembered as shorter", stale, expect_no_false_truncation),
        test("it is not shared without a word", plain, expect_refusal_to_share),
    ]
}
