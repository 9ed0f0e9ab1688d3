//! Promise: a process that shares a store may be stopped before any of its calls, for as long as the
//! others take to make checkpoints, to go round the log several times, to move it and to cut the file.
//! When it goes on, its snapshots are whole commits, and so are those of the others.

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

/// Whether the others move the log meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Stays,
    Moves,
}

/// Stops a process before each call of an action, in a state.
fn pause_at_each_call(state: State, action: Action, log: Log) -> Result<Counts> {
    let mut counts = Counts::default();
    for calls in 0.. {
        let mut run = PausedRun::new(None, state)?;
        if log == Log::Moves {
            run.move_log_meanwhile();
        }
        let paused = run.pause_in(action, calls);
        let paused = paused.unwrap_or_else(|error| {
            panic!("{state:?}, {action:?}, the log {log:?}, {calls} calls: {error}")
        });
        if !paused.was_paused {
            break;
        }
        counts.held_up += u64::from(paused.was_held_up);
        counts.gone_on += u64::from(!paused.was_held_up);
        counts.cut += u64::from(paused.was_cut);
    }
    println!("{state:?}, {action:?}, the log {log:?}: {counts:?}");
    Ok(counts)
}

#[test]
fn in_a_read() -> Result<()> {
    for state in STATES {
        let Counts { gone_on, cut, .. } = pause_at_each_call(state, Action::Read, Log::Stays)?;
        let is_asked = state == State::Holding;
        assert_eq!(gone_on == 0, is_asked, "before it announces, it holds up nobody");
        assert_eq!(cut == 0, is_asked, "and the file is cut");
    }
    Ok(())
}

#[test]
fn in_a_commit() -> Result<()> {
    for state in STATES {
        pause_at_each_call(state, Action::Commit, Log::Stays)?;
    }
    Ok(())
}

#[test]
fn in_a_checkpoint() -> Result<()> {
    for state in STATES {
        pause_at_each_call(state, Action::Checkpoint, Log::Stays)?;
    }
    Ok(())
}

#[test]
fn in_opening() -> Result<()> {
    pause_at_each_call(State::Idle, Action::Open, Log::Stays).map(drop)
}

#[test]
fn in_a_read_while_the_log_moves() -> Result<()> {
    STATES
        .into_iter()
        .try_for_each(|state| pause_at_each_call(state, Action::Read, Log::Moves).map(drop))
}

#[test]
fn in_a_commit_while_the_log_moves() -> Result<()> {
    STATES
        .into_iter()
        .try_for_each(|state| pause_at_each_call(state, Action::Commit, Log::Moves).map(drop))
}

#[test]
fn in_a_checkpoint_while_the_log_moves() -> Result<()> {
    STATES
        .into_iter()
        .try_for_each(|state| pause_at_each_call(state, Action::Checkpoint, Log::Moves).map(drop))
}

#[test]
fn in_a_move_of_the_log() -> Result<()> {
    STATES
        .into_iter()
        .try_for_each(|state| pause_at_each_call(state, Action::MoveLog, Log::Stays).map(drop))
}

#[test]
fn in_a_read_while_a_process_dies_that_moved_the_log() -> Result<()> {
    for calls in 0..40 {
        for killed_after in [20, 40, 60, 80] {
            let mut run = PausedRun::new(None, State::Behind)?;
            run.pause_in_read_while_a_mover_dies(calls, killed_after)?;
        }
    }
    Ok(())
}

#[test]
fn in_opening_while_the_log_moves() -> Result<()> {
    pause_at_each_call(State::Idle, Action::Open, Log::Moves).map(drop)
}
