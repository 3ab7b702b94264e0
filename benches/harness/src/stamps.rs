//! When the kernel received what a TCP connection reads (`SO_TIMESTAMPNS`, socket(7)): however late the
//! reading, an answer keeps the time at which it came.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The room for one control message with a time in it, aligned as its header is.
type Control = [u64; 8];

/// From now on the kernel stamps what comes to this socket.
pub fn enable(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int that outlives the call, and its length is an int's.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads, and says when the last of these bytes came, by the wall clock.
pub fn read(socket: &impl AsRawFd, bytes: &mut [u8]) -> io::Result<(usize, Option<Duration>)> {
    let mut control = Control::default();
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeroes is a valid msghdr: null pointers with lengths of zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>();
    // SAFETY: the message points to `bytes` and `control` with their lengths, and both outlive the call.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled `control` up to the length it left in the message; the header is null or
    // within it, and SCM_TIMESTAMPNS means that a timespec follows, which need not be aligned.
    let stamp = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let stamped = !header.is_null()
            && (*header).cmsg_level == libc::SOL_SOCKET
            && (*header).cmsg_type == libc::SCM_TIMESTAMPNS;
        stamped.then(|| {
            libc::CMSG_DATA(header)
                .cast::<libc::timespec>()
                .read_unaligned()
        })
    };
    let duration = |time: libc::timespec| {
        let (seconds, nanos) = (time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?);
        Some(Duration::new(seconds, nanos))
    };
    Ok((count, stamp.and_then(duration)))
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
        let (count, stamp) = read(&receiver, &mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"answer");
        let came = SystemTime::UNIX_EPOCH + stamp.expect("a stamp");
        assert!(before <= came && came <= after);
    }
}
