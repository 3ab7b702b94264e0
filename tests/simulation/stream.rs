//! An in-memory socket whose reads and writes the seed splits, and sometimes makes wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::dice::Dice;

/// Bytes that a side may write ahead of its reader.
const WINDOW_BYTES: usize = 1_500;

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// The writer has gone: what is left in the pipe is the last of it.
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.wake_reader();
        self.wake_writer();
    }
}

#[derive(Default)]
struct Wire {
    up: RefCell<Pipe>,
    down: RefCell<Pipe>,
    /// The client's next read or write fails, instead of finding an end.
    reset: Cell<bool>,
    /// The client has dropped its end.
    left: Cell<bool>,
}

/// Whether the client still holds a connection that the server has closed.
pub(crate) struct Watch(Rc<Wire>);

impl Watch {
    pub(crate) fn client_has_left(&self) -> bool {
        self.0.left.get()
    }
}

/// Connections that exist on the client's side.
#[derive(Default)]
pub(crate) struct Count {
    pub(crate) connecting: Cell<usize>,
    pub(crate) open: Cell<usize>,
}

/// The service's end, counted until it is dropped.
pub(crate) struct Client {
    wire: Rc<Wire>,
    dice: Rc<Dice>,
    count: Rc<Count>,
    open: bool,
}

/// PostgreSQL's end.
pub(crate) struct Server {
    wire: Rc<Wire>,
}

pub(crate) fn pair(dice: &Rc<Dice>, count: &Rc<Count>) -> (Client, Server) {
    let wire = Rc::new(Wire::default());
    count.connecting.set(count.connecting.get() + 1);
    let client = Client {
        wire: wire.clone(),
        dice: dice.clone(),
        count: count.clone(),
        open: false,
    };
    (client, Server { wire })
}

impl Client {
    /// Counts it as open from now on, no longer as being connected.
    pub(crate) fn logged_in(mut self) -> Self {
        self.open = true;
        self.count.connecting.set(self.count.connecting.get() - 1);
        self.count.open.set(self.count.open.get() + 1);
        self
    }

    /// A spurious wake-up, which everything that waits for a socket must tolerate.
    fn hesitates(&self, cx: &Context<'_>) -> bool {
        let hesitates = self.dice.permille(60);
        if hesitates {
            cx.waker().wake_by_ref();
        }
        hesitates
    }

    fn piece(&self, most: usize) -> usize {
        match self.dice.below(4) {
            0 => 1,
            1 => 1 + self.dice.below(most),
            _ => most,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let count = match self.open {
            true => &self.count.open,
            false => &self.count.connecting,
        };
        count.set(count.get() - 1);
        self.wire.left.set(true);
        self.wire.up.borrow_mut().end();
        self.wire.down.borrow_mut().end();
    }
}

impl AsyncRead for Client {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.hesitates(cx) {
            return Poll::Pending;
        }
        let mut pipe = self.wire.down.borrow_mut();
        let there = pipe.bytes.len().min(buffer.remaining());
        if there == 0 {
            if self.wire.reset.get() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if pipe.ended {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for byte in pipe.bytes.drain(..self.piece(there)) {
            buffer.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.hesitates(cx) {
            return Poll::Pending;
        }
        let mut pipe = self.wire.up.borrow_mut();
        if pipe.ended || self.wire.reset.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW_BYTES
            .saturating_sub(pipe.bytes.len())
            .min(bytes.len());
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = self.piece(room);
        pipe.bytes.extend(&bytes[..count]);
        pipe.wake_reader();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Server {
    /// Waits until something has arrived and appends it to `received`; false at the end of the stream.
    pub(crate) async fn read(&self, received: &mut Vec<u8>) -> bool {
        poll_fn(|cx| {
            let mut pipe = self.wire.up.borrow_mut();
            if !pipe.bytes.is_empty() {
                received.extend(pipe.bytes.drain(..));
                pipe.wake_writer();
                return Poll::Ready(true);
            }
            if pipe.ended {
                return Poll::Ready(false);
            }
            pipe.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch(self.wire.clone())
    }

    /// Whether the client has sent something that has not been read.
    pub(crate) fn has_unread(&self) -> bool {
        !self.wire.up.borrow().bytes.is_empty()
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut pipe = self.wire.down.borrow_mut();
        if !pipe.ended {
            pipe.bytes.extend(bytes);
            pipe.wake_reader();
        }
    }

    /// Closes so that the client's next call fails.
    pub(crate) fn reset(self) {
        self.wire.reset.set(true);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.wire.up.borrow_mut().end();
        self.wire.down.borrow_mut().end();
    }
}
