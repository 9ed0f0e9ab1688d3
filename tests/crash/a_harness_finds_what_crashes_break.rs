//! Promise: the harness accepts sound structures, finds what crashes break, both in a user's
//! structure and in the protocol, and shows a short history that leads there, the same each time.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use flagstone::harness::{
    Choices, Failure, Harness, Kills, Subject, Summary, Verdict, ViolationKind,
};
use flagstone::sim::Mutation;
use flagstone::{Image, Link, ReadTx, WriteTx, persist};

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

struct Sound;

impl Adds for Sound {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
        add(tx.at_mut(account)?, number);
        Ok(())
    }
}

fn expect_failure(run: Result<Summary, Failure>) -> Failure {
    let failure = run.expect_err("there is something to be found");
    println!("{failure}");
    failure
}

#[test]
fn a_sound_structure_survives_power_cuts() {
    let summary = Harness::new().runs(50).run(|| Keeps(Sound)).unwrap();
    println!("{summary}");
    assert_eq!(summary.runs, 50);
    assert!(summary.power_cuts > 2000 && summary.images > 1500);
}

#[test]
fn a_sound_structure_survives_sigkills() {
    let summary = Harness::new().kills(Kills::Sigkill).runs(8).run(|| Keeps(Sound)).unwrap();
    println!("{summary}");
    assert!(summary.sigkills > 40 && summary.reopenings > 40);
}

/// Numbers its additions from a static, which starts anew in a new process.
struct NumbersFromAStatic;

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Adds for NumbersFromAStatic {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
        let account = tx.at_mut(account)?;
        let next = NUMBER.fetch_add(1, SeqCst) + 1;
        if next <= account.number {
            return Err(format!("{next} is given again, after {}", account.number).into());
        }
        account.number = next;
        add(account, number);
        Ok(())
    }
}

#[test]
fn what_lies_in_a_static_is_missed_after_a_sigkill() {
    let failure =
        expect_failure(Harness::new().kills(Kills::Sigkill).run(|| Keeps(NumbersFromAStatic)));
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
fn a_static_outlives_a_simulated_power_cut() {
    Harness::new().run(|| Keeps(NumbersFromAStatic)).unwrap();
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
fn what_is_written_later_is_missed() {
    let failure = expect_failure(Harness::new().run(|| Keeps(CountsLater::default())));
    assert_eq!(failure.steps(), 1);
}

/// Refuses numbers over 50, after it has added them.
struct CommitsHalf;

impl Adds for CommitsHalf {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
        let account = tx.at_mut(account)?;
        account.sum += number;
        if number > 50 {
            return Ok(());
        }
        account.additions += 1;
        Ok(())
    }
}

#[test]
fn half_of_a_change_is_found_and_its_number_is_the_smallest() {
    let failure = expect_failure(Harness::new().run(|| Keeps(CommitsHalf)));
    assert_eq!((failure.violation().kind, failure.steps()), (ViolationKind::Disagrees, 1));
    let history = ["transaction", "    Add(51)", "    commit, durable: state 1"];
    assert_eq!(failure.history(), history);
}

/// Stores the address of what it added to.
struct KeepsAnAddress;

fn address_of(tx: &Image, account: Link<Account>) -> flagstone::Result<u64> {
    Ok(std::ptr::from_ref(tx.at(account)?).addr() as u64)
}

impl Adds for KeepsAnAddress {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
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
}

fn expect_a_kept_address(kills: Kills) {
    let failure = expect_failure(Harness::new().kills(kills).run(|| Keeps(KeepsAnAddress)));
    assert_eq!((failure.violation().kind, failure.steps()), (ViolationKind::Refused, 2));
    assert!(failure.violation().what.contains("is not where it was"));
}

#[test]
fn an_address_does_not_outlive_a_power_cut() {
    expect_a_kept_address(Kills::PowerCuts);
}

#[test]
fn an_address_does_not_outlive_a_sigkill() {
    expect_a_kept_address(Kills::Sigkill);
}

/// Allocates a note for each addition, and forgets the previous one.
struct Leaks;

impl Adds for Leaks {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
        let note = tx.alloc(number)?;
        let account = tx.at_mut(account)?;
        account.note = note;
        add(account, number);
        Ok(())
    }
}

#[test]
fn leaks_are_found_unless_they_are_meant() {
    let failure = expect_failure(Harness::new().run(|| Keeps(Leaks)));
    assert_eq!((failure.violation().kind, failure.steps()), (ViolationKind::Unreachable, 2));
    Harness::new().runs(3).allow_unreachable().run(|| Keeps(Leaks)).unwrap();
}

/// Frees its note, and keeps the link.
struct LeavesALink;

impl Adds for LeavesALink {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
        let note = tx.alloc(number)?;
        let account = tx.at_mut(account)?;
        account.note = note;
        add(account, number);
        Ok(tx.free(note)?)
    }
}

#[test]
fn links_to_nothing_are_found_unless_they_are_meant() {
    let failure = expect_failure(Harness::new().run(|| Keeps(LeavesALink)));
    assert_eq!((failure.violation().kind, failure.steps()), (ViolationKind::Dangling, 1));
    Harness::new().runs(3).allow_dangling().run(|| Keeps(LeavesALink)).unwrap();
}

/// Panics at the third addition.
struct Panics;

impl Adds for Panics {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
        let account = tx.at_mut(account)?;
        assert!(account.additions < 2, "that is enough");
        add(account, number);
        Ok(())
    }
}

#[test]
fn a_panic_is_a_finding_with_its_message() {
    let failure = expect_failure(Harness::new().run(|| Keeps(Panics)));
    assert_eq!((failure.violation().kind, failure.steps()), (ViolationKind::Panicked, 3));
    assert!(failure.violation().what.contains("that is enough"));
}

/// Ends its process at the third addition.
struct Exits;

impl Adds for Exits {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
        let account = tx.at_mut(account)?;
        if account.additions == 2 {
            eprintln!("that is enough");
            std::process::abort();
        }
        add(account, number);
        Ok(())
    }
}

#[test]
fn a_child_that_dies_by_itself_is_a_finding_with_its_last_words() {
    let failure = expect_failure(Harness::new().kills(Kills::Sigkill).run(|| Keeps(Exits)));
    assert_eq!((failure.violation().kind, failure.steps()), (ViolationKind::ChildDied, 3));
    let what = &failure.violation().what;
    assert!(what.contains("that is enough") && what.contains("SIGABRT"), "{what}");
}

#[test]
fn a_program_that_does_not_come_to_the_run_again_is_told_so() {
    let harness = Harness::new().kills(Kills::Sigkill).child_arguments(["--list"]);
    let failure = expect_failure(harness.run(|| Keeps(Sound)));
    assert_eq!(failure.violation().kind, ViolationKind::NotRun);
    assert!(failure.violation().what.contains("child_arguments"));
}

fn expect_not_run(run: Result<Summary, Failure>, what: &str) {
    let failure = expect_failure(run);
    assert_eq!(failure.violation().kind, ViolationKind::NotRun);
    assert!(failure.violation().what.contains(what), "{failure}");
}

#[test]
fn a_thread_without_a_name_is_told_what_to_do() {
    let run = || Harness::new().kills(Kills::Sigkill).runs(1).run(|| Keeps(Sound));
    expect_not_run(std::thread::spawn(run).join().unwrap(), "give the thread the test's name");
    let name = std::thread::current().name().unwrap().to_string();
    let thread = std::thread::Builder::new().name(name).spawn(run).unwrap();
    assert!(thread.join().unwrap().unwrap().sigkills > 0);
}

/// Otherwise a sound structure could be confused with a broken one.
#[test]
fn a_child_runs_no_other_subject_than_its_parent() {
    let harness = Harness::new().kills(Kills::Sigkill).runs(1);
    let run = match std::env::var_os("FLAGSTONE_HARNESS_CHILD") {
        Some(_) => harness.run(|| Keeps(Sound)),
        None => harness.run(|| Keeps(CommitsHalf)),
    };
    if std::env::var_os("FLAGSTONE_HARNESS_CHILD").is_none() {
        expect_not_run(run, "did not come to this run");
    }
}

#[test]
fn a_seed_that_is_no_number_is_refused() {
    const TEST: &str = "a_seed_that_is_no_number_is_refused";
    if std::env::var_os("FLAGSTONE_SEED").is_some_and(|seed| seed == "1o") {
        return expect_not_run(Harness::new().run(|| Keeps(Sound)), "FLAGSTONE_SEED is \"1o\"");
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", TEST]).env("FLAGSTONE_SEED", "1o");
    let output = again.output().unwrap();
    assert!(output.status.success(), "{output:?}");
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

fn expect_no_fourth(kills: Kills) {
    let failure = expect_failure(Harness::new().kills(kills).run(|| ChoosesThrice));
    assert_eq!(failure.violation().kind, ViolationKind::Panicked);
    let steps = failure.history().iter().filter(|line| line.contains("Add(")).count();
    assert_eq!(steps, 3, "{failure}");
    let last = failure.history().last().unwrap();
    assert!(last.contains("there is no fourth"), "{failure}");
}

#[test]
fn a_panic_of_the_model_is_a_finding_with_the_steps_before_it() {
    expect_no_fourth(Kills::PowerCuts);
}

#[test]
fn a_panic_of_a_childs_model_is_a_finding_with_the_steps_before_it() {
    expect_no_fourth(Kills::Sigkill);
}

/// Two faults of one kind: the first to show, and another with a shorter history.
struct TwoMistakes;

impl Adds for TwoMistakes {
    fn add(&self, tx: &mut WriteTx<'_>, account: Link<Account>, number: u64) -> Verdict {
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
}

#[test]
fn what_was_found_first_is_told_as_well() {
    let failure = expect_failure(Harness::new().run(|| Keeps(TwoMistakes)));
    assert!(failure.violation().what.contains("the earlier mistake"));
    assert!(failure.to_string().contains("before it was shrunk: Add("), "{failure}");
    assert!(failure.to_string().contains("the later mistake"), "{failure}");
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine");
    std::fs::write(&path, "mine").unwrap();
    let failure =
        expect_failure(Harness::new().kills(Kills::Sigkill).file(&path).run(|| Keeps(Sound)));
    assert_eq!(failure.violation().kind, ViolationKind::NotRun);
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[test]
fn a_commit_acknowledged_before_its_flush_is_found() {
    let failure = expect_failure(
        Harness::new().mutation(Mutation::AcknowledgeBeforeFlush).run(|| Keeps(Sound)),
    );
    assert_eq!(failure.violation().kind, ViolationKind::Lost);
    assert_eq!(failure.steps(), 0);
    assert!(failure.history().len() <= 4, "{failure}");
}

#[test]
fn a_superblock_written_before_the_heap_is_found() {
    let failure = expect_failure(
        Harness::new().mutation(Mutation::SuperblockBeforeHeap).run(|| Keeps(Sound)),
    );
    assert!(failure.steps() <= 1 && failure.history().len() <= 12, "{failure}");
}

#[test]
fn a_store_that_says_too_early_that_it_was_closed_is_found() {
    let harness = Harness::new().runs(100).mutation(Mutation::CleanBeforeCheckpoint);
    let failure = expect_failure(harness.run(|| Keeps(Sound)));
    assert!(failure.history().iter().any(|line| line.starts_with("close: ")), "{failure}");
}

#[test]
fn a_seed_repeats_a_failure_exactly() {
    let first = expect_failure(
        Harness::new().mutation(Mutation::SuperblockBeforeHeap).run(|| Keeps(Sound)),
    );
    let again = Harness::new()
        .mutation(Mutation::SuperblockBeforeHeap)
        .seed(first.seed())
        .runs(1)
        .run(|| Keeps(Sound));
    assert_eq!(expect_failure(again).to_string(), first.to_string());
}
