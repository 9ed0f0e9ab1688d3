//! Promise: the harness accepts sound structures, finds what crashes break, both in a user's
//! structure and in the protocol, and shows a short history that leads there, the same each time.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use flagstone::harness::{
    Choices, Failure, Harness, Kills, Subject, Summary, Verdict, ViolationKind,
};
use flagstone::sim::Mutation;
use flagstone::{Image, Link, ReadTx, WriteTx, persist};
use testkit::scratch::ScratchFile;
use testkit::{expect_one_passed, this_test};

/// The data of all subjects here: a sum, and the number of additions.
#[persist]
#[derive(Clone, Copy, Default)]
struct Account {
    sum: u64,
    additions: u64,
    /// The number of the last addition.
    number: u64,
    /// The account's address in memory when it was last stored.
    address: u64,
    note: Link<u64>,
}

const ROOT: &str = "account";

#[derive(Debug)]
struct Add(u64);

/// The difference between subjects: how they add.
trait Adds {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict;

    fn verify(&self, _tx: &ReadTx<'_>, _account: &Account) -> Verdict {
        Ok(())
    }
}

impl<F: Fn(&mut WriteTx<'_>, Link<Account>, u64) -> Verdict> Adds for F {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
        self(tx, account, number)
    }
}

struct Keeps<A>(A);

impl<A: Adds> Subject for Keeps<A> {
    /// The sum, and the number of additions.
    type Model = (u64, u64);
    type Step = Add;

    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx.root_or_insert_with(ROOT, Account::default)?;
        Ok(())
    }

    fn choose(&self, choices: &mut Choices, _model: &(u64, u64)) -> Add {
        Add(choices.below(100))
    }

    fn apply(&self, tx: &mut WriteTx<'_>, step: &Add, _model: &(u64, u64)) -> Verdict {
        let account = tx.root(ROOT)?;
        self.0.add(tx, account, step.0)
    }

    fn advance(&self, model: &mut (u64, u64), step: &Add) {
        model.0 += step.0;
        model.1 += 1;
    }

    fn verify(&self, tx: &ReadTx<'_>, model: &(u64, u64)) -> Verdict {
        let account = tx.at(tx.root::<Account>(ROOT)?)?;
        self.0.verify(tx, account)?;
        let found = (account.sum, account.additions);
        let why = || format!("found {found:?}, expected {model:?}").into();
        (found == *model).then_some(()).ok_or_else(why)
    }
}

fn add(account: &mut Account, number: u64) {
    account.sum += number;
    account.additions += 1;
}

fn sound(tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
    add(tx.at_mut(account)?, number);
    Ok(())
}

fn expect_failure(run: Result<Summary, Failure>) -> Failure {
    let failure = run.expect_err("there is something to be found");
    println!("{failure}");
    failure
}

/// Expects a violation of this kind after so many steps, with this text.
fn expect_violation(
    run: Result<Summary, Failure>,
    (kind, steps, text): (ViolationKind, usize, &str),
) -> Failure {
    let failure = expect_failure(run);
    assert_eq!((failure.violation().kind, failure.steps()), (kind, steps));
    assert!(failure.violation().what.contains(text), "{failure}");
    failure
}

fn expect_not_run(run: Result<Summary, Failure>, what: &str) {
    let failure = expect_failure(run);
    assert_eq!(failure.violation().kind, ViolationKind::NotRun);
    assert!(failure.violation().what.contains(what), "{failure}");
}

#[test]
fn a_sound_structure_survives_power_cuts() {
    let summary = Harness::new().runs(50).run(|| Keeps(sound)).unwrap();
    println!("{summary}");
    assert_eq!(summary.runs, 50);
    assert!(summary.power_cuts > 2000 && summary.images > 1500);
}

#[test]
fn a_sound_structure_survives_sigkills() {
    let summary = Harness::new().kills(Kills::Sigkill).runs(8).run(|| Keeps(sound)).unwrap();
    println!("{summary}");
    assert!(summary.sigkills > 40 && summary.reopenings > 40);
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Numbers its additions from a static, which starts anew in a new process.
fn number_from_a_static(tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
    let account = tx.at_mut(account)?;
    let next = NUMBER.fetch_add(1, SeqCst) + 1;
    if next <= account.number {
        return Err(format!("{next} is given again, after {}", account.number).into());
    }
    account.number = next;
    add(account, number);
    Ok(())
}

#[test]
fn state_in_a_static_is_missing_after_a_sigkill() {
    let failure =
        expect_failure(Harness::new().kills(Kills::Sigkill).run(|| Keeps(number_from_a_static)));
    let history = [
        "transaction",
        "    Add(0)",
        "    commit, durable: state 1",
        "SIGKILL",
        "opened: state 1",
        "transaction",
        "    Add(0)",
        "    commit, durable: state 2",
    ];
    assert_eq!(failure.history(), history);
}

#[test]
fn a_static_survives_a_simulated_power_cut() {
    Harness::new().run(|| Keeps(number_from_a_static)).unwrap();
}

/// Counts an addition when the next one comes: two parts in two transactions.
#[derive(Default)]
struct CountsLater {
    not_yet_counted: Cell<u64>,
}

impl Adds for CountsLater {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
        let account = tx.at_mut(account)?;
        account.sum += number;
        account.additions += self.not_yet_counted.replace(1);
        Ok(())
    }

    fn verify(&self, _tx: &ReadTx<'_>, account: &Account) -> Verdict {
        let all = account.additions + self.not_yet_counted.get();
        (all == account.additions).then_some(()).ok_or_else(|| "not all are counted".into())
    }
}

#[test]
fn a_change_that_is_written_too_late_is_found() {
    let failure = expect_failure(Harness::new().run(|| Keeps(CountsLater::default())));
    assert_eq!(failure.steps(), 1);
}

/// Refuses numbers over 50, after it has added them.
fn commit_half(tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
    let account = tx.at_mut(account)?;
    account.sum += number;
    if number > 50 {
        return Ok(());
    }
    account.additions += 1;
    Ok(())
}

#[test]
fn half_of_a_change_is_found_with_the_smallest_number() {
    let expected = (ViolationKind::Disagrees, 1, "");
    let failure = expect_violation(Harness::new().run(|| Keeps(commit_half)), expected);
    let history = ["transaction", "    Add(51)", "    commit, durable: state 1"];
    assert_eq!(failure.history(), history);
}

fn address_of(tx: &Image, account: Link<Account>) -> flagstone::Result<u64> {
    Ok(std::ptr::from_ref(tx.at(account)?).addr() as u64)
}

/// Stores the address of what it added to.
fn keep_an_address(tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
    let known = tx.at(account)?.address;
    let now = address_of(tx, account)?;
    if known != 0 && known != now {
        return Err("the account is not where it was".into());
    }
    let account = tx.at_mut(account)?;
    account.address = now;
    add(account, number);
    Ok(())
}

#[test]
fn an_address_does_not_outlive_the_process() {
    // A child runs the test up to its own run, which so has to be the first.
    for kills in [Kills::Sigkill, Kills::PowerCuts] {
        let run = Harness::new().kills(kills).run(|| Keeps(keep_an_address));
        expect_violation(run, (ViolationKind::Refused, 2, "is not where it was"));
    }
}

/// Allocates a note for each addition, and forgets the previous one.
fn leak(tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
    let note = tx.alloc(number)?;
    let account = tx.at_mut(account)?;
    account.note = note;
    add(account, number);
    Ok(())
}

#[test]
fn leaks_are_found_unless_they_are_allowed() {
    let run = Harness::new().run(|| Keeps(leak));
    expect_violation(run, (ViolationKind::Unreachable, 2, ""));
    Harness::new().runs(3).allow_unreachable().run(|| Keeps(leak)).unwrap();
}

/// Frees its note, and keeps the link.
fn leave_a_link(tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
    let note = tx.alloc(number)?;
    let account = tx.at_mut(account)?;
    account.note = note;
    add(account, number);
    Ok(tx.free(note)?)
}

#[test]
fn dangling_links_are_found_unless_they_are_allowed() {
    let run = Harness::new().run(|| Keeps(leave_a_link));
    expect_violation(run, (ViolationKind::Dangling, 1, ""));
    Harness::new().runs(3).allow_dangling().run(|| Keeps(leave_a_link)).unwrap();
}

/// Panics at the third addition.
fn panic_at_the_third(tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
    let account = tx.at_mut(account)?;
    assert!(account.additions < 2, "that is enough");
    add(account, number);
    Ok(())
}

#[test]
fn a_panic_is_a_finding_with_its_message() {
    let run = Harness::new().run(|| Keeps(panic_at_the_third));
    expect_violation(run, (ViolationKind::Panicked, 3, "that is enough"));
}

/// Ends its process at the third addition.
fn exit_at_the_third(tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
    let account = tx.at_mut(account)?;
    if account.additions == 2 {
        eprintln!("that is enough");
        std::process::abort();
    }
    add(account, number);
    Ok(())
}

#[test]
fn a_child_that_dies_is_a_finding_with_its_last_output() {
    let run = Harness::new().kills(Kills::Sigkill).run(|| Keeps(exit_at_the_third));
    let failure = expect_violation(run, (ViolationKind::ChildDied, 3, "that is enough"));
    assert!(failure.violation().what.contains("SIGABRT"), "{failure}");
}

#[test]
fn a_child_that_does_not_reach_the_run_is_reported() {
    let harness = Harness::new().kills(Kills::Sigkill).child_arguments(["--list"]);
    expect_not_run(harness.run(|| Keeps(sound)), "child_arguments");
}

#[test]
fn a_thread_without_a_name_gets_advice() {
    let run = || Harness::new().kills(Kills::Sigkill).runs(1).run(|| Keeps(sound));
    expect_not_run(std::thread::spawn(run).join().unwrap(), "give the thread the test's name");
    let name = std::thread::current().name().unwrap().to_string();
    let thread = std::thread::Builder::new().name(name).spawn(run).unwrap();
    assert!(thread.join().unwrap().unwrap().sigkills > 0);
}

/// Otherwise a sound structure could be confused with a broken one.
#[test]
fn a_child_runs_the_same_subject_as_its_parent() {
    let harness = Harness::new().kills(Kills::Sigkill).runs(1);
    let run = match std::env::var_os("FLAGSTONE_HARNESS_CHILD") {
        Some(_) => harness.run(|| Keeps(sound)),
        None => harness.run(|| Keeps(commit_half)),
    };
    if std::env::var_os("FLAGSTONE_HARNESS_CHILD").is_none() {
        expect_not_run(run, "did not come to this run");
    }
}

#[test]
fn a_seed_that_is_no_number_is_refused() {
    if std::env::var_os("FLAGSTONE_SEED").is_some_and(|seed| seed == "1o") {
        return expect_not_run(Harness::new().run(|| Keeps(sound)), "FLAGSTONE_SEED is \"1o\"");
    }
    let mut again = testkit::child(&this_test!(), "FLAGSTONE_SEED", Path::new("1o"));
    expect_one_passed(&again.output().unwrap());
}

/// Has no step to choose after the third.
struct ChoosesThrice;

impl Subject for ChoosesThrice {
    type Model = u64;
    type Step = Add;

    fn choose(&self, choices: &mut Choices, model: &u64) -> Add {
        assert!(*model < 3, "there is no fourth");
        Add(choices.below(100))
    }

    fn apply(&self, _tx: &mut WriteTx<'_>, _step: &Add, _model: &u64) -> Verdict {
        Ok(())
    }

    fn advance(&self, model: &mut u64, _step: &Add) {
        *model += 1;
    }

    fn verify(&self, _tx: &ReadTx<'_>, _model: &u64) -> Verdict {
        Ok(())
    }
}

#[test]
fn a_panic_of_the_model_is_a_finding_with_the_steps_before_it() {
    // Of a child, whose run has to be the test's first, and of this program.
    for kills in [Kills::Sigkill, Kills::PowerCuts] {
        let failure = expect_failure(Harness::new().kills(kills).run(|| ChoosesThrice));
        assert_eq!(failure.violation().kind, ViolationKind::Panicked);
        let steps = failure.history().iter().filter(|line| line.contains("Add(")).count();
        assert_eq!(steps, 3, "{failure}");
        let last = failure.history().last().unwrap();
        assert!(last.contains("there is no fourth"), "{failure}");
    }
}

/// Two faults of one kind: the first to show, and another with a shorter history.
fn make_two_mistakes(tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
    let account = tx.at_mut(account)?;
    if account.additions >= 20 {
        return Err("the later mistake".into());
    }
    if account.additions >= 5 && account.sum + number == 0 {
        return Err("the earlier mistake".into());
    }
    add(account, number);
    Ok(())
}

#[test]
fn the_first_finding_is_reported_too() {
    let failure = expect_failure(Harness::new().run(|| Keeps(make_two_mistakes)));
    assert!(failure.violation().what.contains("the earlier mistake"));
    assert!(failure.to_string().contains("before it was shrunk: Add("), "{failure}");
    assert!(failure.to_string().contains("the later mistake"), "{failure}");
}

#[test]
fn an_existing_file_is_left_alone() {
    let path = ScratchFile::with(b"mine").unwrap();
    let harness = Harness::new().kills(Kills::Sigkill).file(&*path);
    expect_not_run(harness.run(|| Keeps(sound)), "");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

fn run_sound_with(mutation: Mutation, harness: Harness) -> Failure {
    expect_failure(harness.mutation(mutation).run(|| Keeps(sound)))
}

#[test]
fn a_commit_acknowledged_before_its_flush_is_found() {
    let failure = run_sound_with(Mutation::AcknowledgeBeforeFlush, Harness::new());
    assert_eq!((failure.violation().kind, failure.steps()), (ViolationKind::Lost, 0));
    assert!(failure.history().len() <= 4, "{failure}");
}

#[test]
fn a_superblock_written_before_the_heap_is_found_and_the_seed_repeats_it() {
    let failure = run_sound_with(Mutation::SuperblockBeforeHeap, Harness::new());
    assert!(failure.steps() <= 1 && failure.history().len() <= 12, "{failure}");
    let harness = Harness::new().seed(failure.seed()).runs(1);
    let again = run_sound_with(Mutation::SuperblockBeforeHeap, harness);
    assert_eq!(again.to_string(), failure.to_string());
}

#[test]
fn a_store_marked_closed_too_early_is_found() {
    let failure = run_sound_with(Mutation::CleanBeforeCheckpoint, Harness::new().runs(100));
    assert!(failure.history().iter().any(|line| line.starts_with("close: ")), "{failure}");
}
