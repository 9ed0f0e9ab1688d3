//! Carries out plans on a real file, with SIGKILLs.
//!
//! **Owns** the parent's side: it runs children in sequence, each a new run of the same program,
//! kills each where the plan says so, and tells the next child which states must have survived.
//! It does not fork, since a fork of a multi-threaded process may call almost nothing. **Must not
//! know** subjects: the children, which start from nothing, do all work on them.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::child::make_child;
use super::course::RunOutcome;
use super::failure::Summary;
use super::mailbox::{Folder, Job, Notes};
use super::plan::{Kill, Plan, Signal};
use super::replay::Opening;
use super::violation::{Violation, ViolationKind};

/// How often the parent polls a child's notes.
const PULSE: Duration = Duration::from_micros(100);
/// How long a child may take for one operation.
const TIMEOUT: Duration = Duration::from_secs(60);

const SIGKILL: i32 = 9;

/// The command that runs this program again.
#[derive(Debug)]
pub(super) struct ChildCommand {
    /// The arguments that lead to the same run.
    pub(super) arguments: Vec<OsString>,
    /// The ordinal of the run in its thread.
    pub(super) ordinal: usize,
    /// The source location of the run, and its subject.
    pub(super) run: String,
    /// The path of the store.
    pub(super) store: PathBuf,
    /// The folder through which parent and children communicate.
    pub(super) folder: PathBuf,
}

/// Returns the arguments with which this program reaches the calling test again. A test's thread
/// carries the test's name; any other program is run with its own arguments. A test program would
/// run all its tests with those, and a thread without a name may belong to a test, so such a
/// thread is refused.
pub(super) fn own_arguments() -> io::Result<Vec<OsString>> {
    let thread = std::thread::current();
    match thread.name() {
        Some("main") => Ok(std::env::args_os().skip(1).collect()),
        Some(test) => {
            let how = ["--exact", "--nocapture", "--include-ignored"];
            Ok(std::iter::once(test).chain(how).map(OsString::from).collect())
        }
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a thread without a name does not tell how a child comes to this run; call `run` on \
             the test's own thread, give the thread the test's name, or say it with \
             `Harness::child_arguments`",
        )),
    }
}

type Found<T = ()> = Result<T, (usize, Violation)>;

struct Parent<'a> {
    again: &'a ChildCommand,
    folder: Folder,
    job: Job,
    summary: Summary,
    /// Delays from start to kill of the openings that follow, unless they finish earlier.
    openings_micros: Vec<u64>,
}

/// How a child ended.
enum End {
    Killed,
    ByItself(ExitStatus),
}

/// Runs a plan whose kills are signals.
pub(super) fn run(again: &ChildCommand, plan: &Plan) -> RunOutcome {
    let summary = Summary { runs: 1, ..Summary::default() };
    let mut parent = match Parent::new(again, plan.clone(), summary) {
        Ok(parent) => parent,
        Err(error) => {
            let violation = Some((0, not_run(error)));
            return RunOutcome { openings: Vec::new(), summary, violation };
        }
    };
    let remove = |()| remove_if_there(&again.store).map_err(|error| (0, not_run(error)));
    let violation = parent.whole_plan().and_then(remove).err();
    RunOutcome { openings: parent.job.openings, summary: parent.summary, violation }
}

fn not_run(error: impl std::fmt::Display) -> Violation {
    Violation::new(ViolationKind::NotRun, format_args!("a child cannot be run: {error}"))
}

impl<'a> Parent<'a> {
    fn new(again: &'a ChildCommand, plan: Plan, summary: Summary) -> io::Result<Self> {
        remove_if_there(&again.store)?;
        remove_if_there(&again.folder.join("violation"))?;
        let job = Job {
            parent: std::process::id(),
            ordinal: again.ordinal,
            run: again.run.clone(),
            plan,
            store: again.store.clone().into_os_string(),
            openings: Vec::new(),
            first: 0,
            last: 0,
            acknowledged: 0,
            address: None,
        };
        let folder = Folder::open(&again.folder)?;
        Ok(Self { again, folder, job, summary, openings_micros: Vec::new() })
    }

    fn whole_plan(&mut self) -> Found {
        loop {
            let (end, notes) = self.one_child()?;
            self.learn(&notes);
            match end {
                End::Killed => self.summary.sigkills += 1,
                End::ByItself(status) => {
                    self.expect_done(status, &notes)?;
                    let operations = self.job.plan.operations.len();
                    if self.job.first == operations {
                        return Ok(());
                    }
                    // One more child verifies what the last one left.
                    self.job.first = operations;
                }
            }
        }
    }

    /// Runs one child until it ends or is killed.
    fn one_child(&mut self) -> Found<(End, Notes)> {
        let before = self.job.first.saturating_sub(1);
        let failed = |error| (before, not_run(error));
        self.folder.begin(&self.job).map_err(failed)?;
        let mut child = self.spawn().map_err(failed)?;
        let end = self.watch(&mut child);
        if end.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let notes = self.folder.notes().map_err(failed)?;
        // A child without an operation failed in the opening after the previous operation.
        let operation =
            notes.operation.checked_sub(1).map_or(before, |operation| operation as usize);
        Ok((end.map_err(|violation| (operation, violation))?, notes))
    }

    fn spawn(&self) -> io::Result<Child> {
        let output = self.folder.output()?;
        let mut command = Command::new(std::env::current_exe()?);
        make_child(&mut command, self.folder.path());
        command
            .args(&self.again.arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
    }

    /// Waits until a kill is due, then kills.
    fn watch(&mut self, child: &mut Child) -> Result<End, Violation> {
        let mut opening = self.openings_micros.pop();
        let (mut last, mut since) = (Notes::default(), Instant::now());
        loop {
            if let Some(status) = child.try_wait().map_err(not_run)? {
                return Ok(End::ByItself(status));
            }
            let notes = self.folder.notes().map_err(not_run)?;
            if let Some(signal) = self.due(&notes) {
                sleep(Duration::from_micros(signal.delay_micros.unwrap_or(0)));
                return kill(child).map_err(not_run);
            }
            if let Some(delay) = opening.take_if(|_| notes.begun != 0) {
                sleep(Duration::from_micros(delay));
                if self.folder.notes().map_err(not_run)?.found == 0 {
                    return kill(child).map_err(not_run);
                }
            }
            if notes != last {
                (last, since) = (notes, Instant::now());
            } else if since.elapsed() > TIMEOUT {
                let what = format!("nothing happened for {} s", TIMEOUT.as_secs());
                return Err(Violation::new(ViolationKind::ChildHangs, what));
            }
            sleep(PULSE);
        }
    }

    /// Returns the kill that is due.
    fn due(&self, notes: &Notes) -> Option<&Signal> {
        let operation = self.job.plan.operations.get(notes.due.checked_sub(1)? as usize)?;
        match operation.kill.as_ref()? {
            Kill::Signal(signal) => Some(signal),
            Kill::Power(_) => None,
        }
    }

    /// Takes over what a child noted before it ended.
    fn learn(&mut self, notes: &Notes) {
        self.summary.transactions += notes.transactions;
        self.summary.reopenings += notes.reopenings;
        let Some(found) = notes.found.checked_sub(1) else {
            return;
        };
        let job = &mut self.job;
        if let Some(after_operation) = job.first.checked_sub(1) {
            job.openings.push(Opening { after_operation, number: found as usize });
        }
        (job.last, job.acknowledged) = (notes.last as usize, notes.acknowledged as usize);
        job.address = Some(notes.address as usize);
        if notes.operation == 0 {
            return;
        }
        job.first = notes.operation as usize;
        let kill = &job.plan.operations[job.first - 1].kill;
        if let Some(Kill::Signal(signal)) = kill {
            self.openings_micros.clone_from(&signal.openings_micros);
        }
    }

    /// Checks that a child that was not killed has finished the plan.
    fn expect_done(&self, status: ExitStatus, notes: &Notes) -> Found {
        if let Some(found) = self.folder.violation() {
            return Err(found);
        }
        if status.success() && notes.done != 0 {
            return Ok(());
        }
        let words = self.folder.last_words();
        let violation = if notes.begun == 0 {
            let arguments = &self.again.arguments;
            not_run(format_args!(
                "this program, run again with the arguments {arguments:?}, did not come to this \
                 run ({status}); `Harness::child_arguments` says how it does. It printed: {words}"
            ))
        } else {
            let what = format!("the child ended with {status}; it printed: {words}");
            Violation::new(ViolationKind::ChildDied, what)
        };
        Err((notes.operation.saturating_sub(1) as usize, violation))
    }
}

/// Kills a child, unless it has just ended.
fn kill(child: &mut Child) -> io::Result<End> {
    child.kill()?;
    let status = child.wait()?;
    Ok(if status.signal() == Some(SIGKILL) { End::Killed } else { End::ByItself(status) })
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
