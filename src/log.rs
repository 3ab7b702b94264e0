//! Logs: one JSON object a line on standard output.
//!
//! Lines go through a bounded queue to a thread that writes them, so that a slow reader of standard
//! output never holds up a payment: lines beyond the queue are dropped and counted.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::clock;
use crate::limits::{LOG_FLUSH_TIMEOUT_MS, LOG_QUEUE_COUNT, LOG_REPEAT_INTERVAL_MS};

static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Entry {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Starts the writing thread. Before that, each line is written by the thread that logs it.
pub fn start() -> std::io::Result<()> {
    let (sender, receiver) = sync_channel(LOG_QUEUE_COUNT);
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write_all(&receiver))?;
    let _ = QUEUE.set(sender);
    Ok(())
}

/// Throws all lines away from now on, for a simulation that makes millions of them.
pub fn discard() {
    let (sender, _) = sync_channel(0);
    let _ = QUEUE.set(sender);
}

fn write_all(entries: &Receiver<Entry>) {
    for entry in entries {
        match entry {
            Entry::Line(line) => write(&line),
            Entry::Flush(done) => drop(done.send(())),
        }
    }
}

fn write(line: &[u8]) {
    if write_to(std::io::stdout().lock(), line).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes a whole line, also where somebody who shares the descriptor has made it non-blocking.
fn write_to(output: impl AsFd, mut line: &[u8]) -> Result<(), Errno> {
    while !line.is_empty() {
        match rustix::io::write(&output, line) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => line = line.get(count..).unwrap_or_default(),
            Err(Errno::AGAIN) => {
                // A signal ends it early; then the next write says that there is no room yet.
                let _ = poll(&mut [PollFd::new(&output, PollFlags::OUT)], None);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until everything logged so far is written, for a bounded time.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        let (done, wait) = sync_channel(1);
        let ends = Instant::now() + Duration::from_millis(LOG_FLUSH_TIMEOUT_MS);
        let mut entry = Entry::Flush(done);
        // The queue may be full of lines.
        while let Err(TrySendError::Full(again)) = queue.try_send(entry) {
            if Instant::now() >= ends {
                return;
            }
            entry = again;
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = wait.recv_timeout(ends.saturating_duration_since(Instant::now()));
    }
}

/// Lines lost because the queue was full, or because they could not be written.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Begins a line about the normal course of things.
pub fn info(event: &str) -> Line {
    Line::new("info", event)
}

/// Begins a line about something that an operator may want to look at.
pub fn warn(event: &str) -> Line {
    Line::new("warn", event)
}

/// Begins a line about a failure.
pub fn error(event: &str) -> Line {
    Line::new("error", event)
}

/// A line that is being put together.
#[must_use]
pub struct Line(Vec<u8>);

impl Line {
    fn new(level: &str, event: &str) -> Self {
        Self(b"{".to_vec())
            .field("timestamp", clock::now_rfc3339().as_str())
            .field("level", level)
            .field("event", event)
    }

    /// Adds a field.
    pub fn field<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Self {
        let start = self.0.len();
        if start > 1 {
            self.0.push(b',');
        }
        let written = serde_json::to_writer(&mut self.0, name).and_then(|()| {
            self.0.push(b':');
            serde_json::to_writer(&mut self.0, value)
        });
        if written.is_err() {
            self.0.truncate(start);
        }
        self
    }

    /// Writes the line.
    pub fn emit(mut self) {
        self.0.extend_from_slice(b"}\n");
        match QUEUE.get() {
            None => write(&self.0),
            Some(queue) => {
                if queue.try_send(Entry::Line(self.0)).is_err() {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// Warnings of one kind, at most one in a while: the first at once, later ones with the number of
/// those left out.
#[derive(Debug, Default)]
pub struct Limited {
    last: Option<Instant>,
    left_out: u64,
}

impl Limited {
    /// Begins a line, or counts it as left out.
    pub fn warn(&mut self, event: &str) -> Option<Line> {
        let interval = Duration::from_millis(LOG_REPEAT_INTERVAL_MS);
        if self.last.is_some_and(|last| last.elapsed() < interval) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(Instant::now());
        let line = warn(event);
        Some(match std::mem::take(&mut self.left_out) {
            0 => line,
            count => line.field("left_out", &count),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};

    #[test]
    fn a_line_waits_for_a_pipe_that_does_not_block_and_fails_without_a_reader() {
        let (mut reader, writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let line = vec![b'x'; 1_000_000];
        let sent = line.clone();
        let writing = std::thread::spawn(move || write_to(&writer, &sent).map(|()| writer));
        let mut received = vec![0; line.len()];
        reader.read_exact(&mut received).unwrap();
        let writer = writing.join().unwrap().unwrap();
        assert_eq!(received, line);
        drop(reader);
        assert_eq!(write_to(&writer, b"line\n"), Err(Errno::PIPE));
    }

    #[test]
    fn a_line_is_one_json_object_whatever_its_values_hold() {
        let line = warn("odd")
            .field("text", "a\"b\n\u{1}")
            .field("number", &7)
            .0;
        let text = String::from_utf8(line).unwrap() + "}";
        assert!(!text.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "warn");
        assert_eq!(value["event"], "odd");
        assert_eq!(value["text"], "a\"b\n\u{1}");
        assert_eq!(value["number"], 7);
    }

    #[test]
    fn repeated_warnings_are_counted_instead_of_written() {
        let mut limited = Limited::default();
        assert!(limited.warn("x").is_some());
        assert!(limited.warn("x").is_none());
        assert_eq!(limited.left_out, 1);
    }
}
