//! Random bytes from the kernel, fetched a block at a time: a system call for every identifier would
//! cost more than the rest of making it.

use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};

const BLOCK_BYTES: usize = 1_024;

/// A block of random bytes, each handed out once.
#[derive(Debug)]
pub struct Random {
    block: Box<[u8; BLOCK_BYTES]>,
    used: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self {
            block: Box::new([0; BLOCK_BYTES]),
            used: BLOCK_BYTES,
        }
    }
}

impl Random {
    /// `N` fresh random bytes.
    ///
    /// # Panics
    /// When the kernel gives no random bytes, which does not happen once it has booted: identifiers
    /// that are not unique must not be made.
    #[allow(clippy::expect_used)]
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= BLOCK_BYTES) };
        if self.used + N > BLOCK_BYTES {
            fill(&mut self.block[..]).expect("getrandom(2) works on a booted kernel");
            self.used = 0;
        }
        let mut bytes = [0; N];
        if let Some(fresh) = self.block.get_mut(self.used..self.used + N) {
            bytes.copy_from_slice(fresh);
            fresh.fill(0);
        }
        self.used += N;
        bytes
    }
}

/// Fills `bytes` by the system call itself: an image with nothing in it has no `/dev/urandom`.
///
/// # Errors
/// When the kernel refuses.
pub fn fill(bytes: &mut [u8]) -> Result<(), Unspecified> {
    SystemRandom::new().fill(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_identifier_comes_twice_across_blocks() {
        let mut random = Random::default();
        let all: HashSet<[u8; 10]> = (0..1_000).map(|_| random.bytes()).collect();
        assert_eq!(all.len(), 1_000);
    }
}
