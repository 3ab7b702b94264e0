//! When the kernel received what a TCP connection reads (`SO_TIMESTAMPNS`, socket(7)): however late it is
//! read, an answer keeps the time at which it arrived.

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Room for the control message with a stamp.
pub struct Control(Vec<u8>);

impl Default for Control {
    fn default() -> Self {
        Self(nix::cmsg_space!(nix::sys::time::TimeSpec))
    }
}

/// From now on, the kernel stamps what arrives at this socket.
pub fn enable(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, ReceiveTimestampns, &true)?)
}

/// Reads, and returns when the last of these bytes arrived, by the wall clock.
pub fn read(
    socket: &impl AsRawFd,
    bytes: &mut [u8],
    control: &mut Control,
) -> io::Result<(usize, Option<Duration>)> {
    let mut parts = [IoSliceMut::new(bytes)];
    let space = Some(control.0.as_mut_slice());
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, space, MsgFlags::empty())?;
    let stamp = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
        _ => None,
    });
    Ok((message.bytes, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::SystemTime;

    #[test]
    fn a_stamp_is_of_when_bytes_came_and_not_of_when_they_are_read() {
        const LATE: Duration = Duration::from_millis(20);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let receiver = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut sender, _) = listener.accept().unwrap();
        enable(&receiver).unwrap();
        std::thread::sleep(LATE);
        let before = SystemTime::now();
        sender.write_all(b"answer").unwrap();
        let after = SystemTime::now();
        std::thread::sleep(LATE);
        let mut bytes = [0; 16];
        let (count, stamp) = read(&receiver, &mut bytes, &mut Control::default()).unwrap();
        assert_eq!(&bytes[..count], b"answer");
        let came = SystemTime::UNIX_EPOCH + stamp.expect("a stamp");
        assert!(before <= came && came <= after);
    }
}
