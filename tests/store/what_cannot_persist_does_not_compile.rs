//! A type that a store cannot hold is an error of the build, and the message
//! names the place and the remedy.
//!
//! The expected messages lie beside the cases in `tests/persist/fail`. The
//! cases in `tests/persist/pass` show that what is refused is not refused too
//! widely, and bring the compiler past type checking: without one of them it
//! never reaches the errors that constants raise.

#[test]
fn what_cannot_persist_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/persist/pass/*.rs");
    cases.compile_fail("tests/persist/fail/*.rs");
}

/// A value that is lost where it is dropped says so.
#[test]
fn what_is_lost_by_dropping_it_is_warned_of() {
    trybuild::TestCases::new().compile_fail("tests/dropped/*.rs");
}
