//! Two processes exchange messages through a queue in a shared store. Either may be killed at any
//! instant and restarted: no message is lost, and none arrives twice, since one transaction takes
//! a message and records its effect.
//!
//! By hand, in two terminals: `channel FILE receive` and `channel FILE send 1000`. Or `channel
//! FILE demo`, which starts both, kills each of them now and then, and counts.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use clap::{Parser, Subcommand};
use flagstone::collections::Deque;
use flagstone::{Durability, Link, OpenOptions, Store, Text, field, persist};

/// Maximum number of waiting messages; beyond it the sender waits.
const MAX_WAITING: u64 = 100;
/// How long to wait for the other side before checking again.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A message.
#[persist]
struct Message {
    number: u64,
    text: Text,
}

/// The contents of the store.
#[persist]
struct Channel {
    waiting: Deque<Message>,
    sent: u64,
    received: u64,
    /// A checksum over the received messages, which a lost or repeated message would change.
    sum: u64,
}

/// Exchange messages through a file.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The store; created if it does not exist.
    file: PathBuf,
    #[command(subcommand)]
    side: Side,
}

#[derive(Subcommand)]
enum Side {
    /// Send messages until COUNT were sent in total.
    Send { count: u64 },
    /// Receive messages until COUNT were received in total; without COUNT, for ever.
    Receive { count: Option<u64> },
    /// Start both sides, kill one of them again and again, and check the result.
    Demo {
        #[arg(long, default_value_t = 20_000)]
        count: u64,
        #[arg(long, default_value_t = 10)]
        kills: u32,
    },
    /// Show how many messages were sent, were received and are waiting.
    Status,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn open(file: &Path) -> Result<(Store, Link<Channel>)> {
    // A killed process loses nothing: its commits are in the page cache. A power cut may undo the
    // last of them.
    let options = OpenOptions::new().durability(Durability::Deferred);
    // SAFETY: only flagstone writes to the file while it is open.
    let store = unsafe { options.open_shared(file)? };
    let empty = || Channel { waiting: Deque::new(), sent: 0, received: 0, sum: 0 };
    let channel = store.update(|tx| tx.root_or_insert_with("channel", empty))?;
    Ok((store, channel))
}

fn weight(number: u64, text: &str) -> u64 {
    text.bytes().fold(number, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

fn text_of(number: u64) -> String {
    format!("message {number}, {}", "word ".repeat(number as usize % 7))
}

/// Sends one message if there is room for it, and returns whether it did; `None` once all are
/// sent.
fn send_one(store: &Store, channel: Link<Channel>, count: u64) -> Result<Option<bool>> {
    let mut tx = store.write()?;
    let state = tx.at(channel)?;
    let (number, has_room) = (state.sent + 1, state.waiting.len() < MAX_WAITING);
    if number > count {
        return Ok(None);
    }
    if !has_room {
        return Ok(Some(false));
    }
    let text = Text::new(&mut tx, &text_of(number))?;
    let message = Message { number, text };
    channel.field(field!(Channel, waiting)).push_back(&mut tx, message)?;
    tx.at_mut(channel)?.sent = number;
    tx.commit()?;
    Ok(Some(true))
}

/// Takes one message and records it; returns whether there was one.
fn receive_one(store: &Store, channel: Link<Channel>) -> Result<bool> {
    let mut tx = store.write()?;
    let Some(message) = channel.field(field!(Channel, waiting)).pop_front(&mut tx)? else {
        return Ok(false);
    };
    let weight = weight(message.number, message.text.as_str(&tx)?);
    let number = message.number;
    tx.release(message)?;
    let state = tx.at_mut(channel)?;
    if state.received + 1 != number {
        return Err(format!("message {number} after {}", state.received).into());
    }
    state.received = number;
    state.sum = state.sum.wrapping_add(weight);
    tx.commit()?;
    Ok(true)
}

fn send(file: &Path, count: u64) -> Result<()> {
    let (store, channel) = open(file)?;
    loop {
        let seen = store.read()?.position();
        match send_one(&store, channel, count)? {
            None => return Ok(store.close()?),
            Some(true) => {}
            Some(false) => drop(store.wait_for_commit(seen, TIMEOUT)?),
        }
    }
}

fn receive(file: &Path, count: u64) -> Result<()> {
    let (store, channel) = open(file)?;
    loop {
        let tx = store.read()?;
        let (seen, received) = (tx.position(), tx.at(channel)?.received);
        drop(tx);
        if received >= count {
            return Ok(store.close()?);
        }
        if !receive_one(&store, channel)? {
            store.wait_for_commit(seen, TIMEOUT)?;
        }
    }
}

fn status(file: &Path) -> Result<(u64, u64, u64, u64)> {
    let (store, channel) = open(file)?;
    let tx = store.read()?;
    let Channel { waiting, sent, received, sum } = tx.at(channel)?;
    Ok((*sent, *received, waiting.len(), *sum))
}

fn start(file: &Path, side: &str, count: u64) -> Result<Child> {
    let program = std::env::current_exe()?;
    Ok(Command::new(program).arg(file).args([side, &count.to_string()]).spawn()?)
}

fn demo(file: &Path, count: u64, kills: u32) -> Result<()> {
    let (before, ..) = status(file)?;
    let count = before + count;
    let mut children = [start(file, "send", count)?, start(file, "receive", count)?];
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(5));
        let which = kill as usize % 2;
        children[which].kill()?;
        children[which].wait()?;
        let (sent, received, waiting, _) = status(file)?;
        let side = ["send", "receive"][which];
        println!("`{side}` was killed: {sent} sent, {received} received, {waiting} wait");
        children[which] = start(file, side, count)?;
    }
    for child in &mut children {
        let ended = child.wait()?;
        if !ended.success() {
            return Err(format!("one side failed: {ended}").into());
        }
    }
    let (sent, received, waiting, sum) = status(file)?;
    println!("{sent} sent, {received} received, {waiting} wait");
    let expected = (1..=count).fold(0u64, |sum, x| sum.wrapping_add(weight(x, &text_of(x))));
    if (sent, received, waiting, sum) != (count, count, 0, expected) {
        return Err("a message was lost, or came twice".into());
    }
    println!("each message came once");
    Ok(())
}

fn run(Arguments { file, side }: Arguments) -> Result<()> {
    match side {
        Side::Send { count } => send(&file, count),
        Side::Receive { count } => receive(&file, count.unwrap_or(u64::MAX)),
        Side::Demo { count, kills } => demo(&file, count, kills),
        Side::Status => {
            let (sent, received, waiting, _) = status(&file)?;
            println!("{sent} sent, {received} received, {waiting} wait");
            Ok(())
        }
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
