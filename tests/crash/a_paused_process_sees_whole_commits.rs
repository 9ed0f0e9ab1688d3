//! Promise: a process that shares a store may be stopped before any of its calls, for as long as the
//! others take to make checkpoints, to go round the log several times and to cut the file. When it
//! goes on, its snapshots are whole commits, and so are those of the others.

use flagstone::Result;
use testkit::paused_run::{Action, PausedRun, State};

const STATES: [State; 5] =
    [State::New, State::Idle, State::Behind, State::LeftBehind, State::Holding];

/// How often the others were held up, went on, and cut the file.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    held_up: u64,
    gone_on: u64,
    cut: u64,
}

/// Stops a process before each call of an action, in a state.
fn pause_at_each_call(state: State, action: Action) -> Result<Counts> {
    let mut counts = Counts::default();
    for calls in 0.. {
        let mut run = PausedRun::new(None, state)?;
        let paused = run.pause_in(action, calls);
        let paused =
            paused.unwrap_or_else(|error| panic!("{state:?}, {action:?}, {calls} calls: {error}"));
        if !paused.was_paused {
            break;
        }
        counts.held_up += u64::from(paused.was_held_up);
        counts.gone_on += u64::from(!paused.was_held_up);
        counts.cut += u64::from(paused.was_cut);
    }
    println!("{state:?}, {action:?}: {counts:?}");
    Ok(counts)
}

#[test]
fn in_a_read() -> Result<()> {
    for state in STATES {
        let Counts { gone_on, cut, .. } = pause_at_each_call(state, Action::Read)?;
        let is_asked = state == State::Holding;
        assert_eq!(gone_on == 0, is_asked, "before it announces, it holds up nobody");
        assert_eq!(cut == 0, is_asked, "and the file is cut");
    }
    Ok(())
}

#[test]
fn in_a_commit() -> Result<()> {
    for state in STATES {
        pause_at_each_call(state, Action::Commit)?;
    }
    Ok(())
}

#[test]
fn in_a_checkpoint() -> Result<()> {
    for state in STATES {
        pause_at_each_call(state, Action::Checkpoint)?;
    }
    Ok(())
}

#[test]
fn in_opening() -> Result<()> {
    pause_at_each_call(State::Idle, Action::Open).map(drop)
}
