//! A type that a store cannot hold is a compile error, and the message names the position and the
//! remedy.
//!
//! The expected messages are next to the cases in `tests/persist/fail`. The cases in
//! `tests/persist/pass` show that nothing more than necessary is refused. They also take the
//! compiler past type checking: without such a case it never reaches the errors raised by
//! constants.

#[test]
fn what_cannot_persist_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/persist/pass/*.rs");
    cases.compile_fail("tests/persist/fail/*.rs");
}

/// A value that matters must warn when it is dropped.
#[test]
fn dropping_a_value_that_matters_is_warned_of() {
    trybuild::TestCases::new().compile_fail("tests/dropped/*.rs");
}
