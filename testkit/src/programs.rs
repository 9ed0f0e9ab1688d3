//! Runs the example programs.

use std::process::{Command, Output};

/// Returns a command for an example; `cargo test` builds the examples along with the tests.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test knows its own path");
    let build = test.ancestors().nth(2).expect("tests lie in deps/");
    let program = build.join("examples").join(name);
    let how = "run all of `cargo test`, or `cargo build --examples` first";
    assert!(program.exists(), "there is no {}: {how}", program.display());
    Command::new(program)
}

/// Returns the output of a program that must succeed.
pub fn says(command: &mut Command) -> String {
    let output = output(command);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the error output of a program that must fail and give a reason in its users' terms.
pub fn complains(command: &mut Command) -> String {
    let output = output(command);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code != 0));
    assert!(!complaint.is_empty(), "{command:?} fails without a word");
    assert!(!complaint.contains("panicked"), "{command:?}: {complaint}");
    complaint
}

pub fn output(command: &mut Command) -> Output {
    // Sets how grep and wc decode text; the examples do not depend on it.
    command.env("LC_ALL", "C.UTF-8");
    command.output().expect("the program starts")
}
