//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), as PostgreSQL speaks it: the name travels
//! in the startup message, and the channel binding is tls-server-end-point.
//! <https://www.postgresql.org/docs/17/sasl-authentication.html>
//!
//! Deriving the keys from the password takes thousands of rounds of HMAC, about as much as the rest of
//! a handshake together. All connections of a pool log in with the same password and salt, so the
//! keys of the last derivation are kept, as RFC 5802 section 5.1 allows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;
use std::sync::Mutex;

use crate::limits::{SCRAM_ITERATIONS_MAX_COUNT, SCRAM_NONCE_BYTES};
use crate::random;

/// Without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// With it.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Why a login with a password cannot go on.
pub type Failure = &'static str;

/// How the login is tied to the TLS session below it.
pub enum ChannelBinding {
    /// There is nothing to tie it to.
    Unsupported,
    /// The client supports it, the server did not offer it: if the offer was removed on the way,
    /// the server sees that.
    Unrequested,
    /// Tied to the hash of the server's certificate (RFC 5929 section 4).
    ServerEndPoint(Vec<u8>),
}

impl ChannelBinding {
    /// RFC 5802 section 7, `gs2-header`.
    fn header(&self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
            Self::Unrequested => "y,,",
            Self::ServerEndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    /// The attribute `c`.
    fn encoded(&self) -> String {
        let mut input = self.header().as_bytes().to_vec();
        if let Self::ServerEndPoint(hash) = self {
            input.extend_from_slice(hash);
        }
        STANDARD.encode(input)
    }
}

/// A login that waits for the server's first message.
pub struct Scram {
    binding: ChannelBinding,
    nonce: String,
}

/// A login whose proof is made: what to send, and what the server has to answer.
pub struct Proven {
    /// `client-final-message`.
    pub message: String,
    exchanged: String,
    server_key: [u8; digest::SHA256_OUTPUT_LEN],
}

impl Scram {
    /// Begins with a nonce of its own.
    pub fn new(binding: ChannelBinding) -> Result<Self, Failure> {
        let mut bytes = [0; SCRAM_NONCE_BYTES];
        random::fill(&mut bytes).map_err(|_| "the system has no random bytes")?;
        Ok(Self {
            binding,
            nonce: STANDARD.encode(bytes),
        })
    }

    /// `client-first-message`.
    pub fn message(&self) -> String {
        format!("{}{}", self.binding.header(), self.bare())
    }

    fn bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// Answers `server-first-message` with the proof that the password is known.
    pub fn prove(&self, password: &[u8], first: &[u8]) -> Result<Proven, Failure> {
        let first =
            std::str::from_utf8(first).map_err(|_| "the first SCRAM answer is not UTF-8")?;
        let (nonce, salt, iterations) = parse_first(first)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err("the SCRAM answer has another nonce");
        }
        let keys = Keys::derived(password, &salt, iterations);
        let unproven = format!("c={},r={nonce}", self.binding.encoded());
        let exchanged = format!("{},{first},{unproven}", self.bare());
        let stored_key = digest::digest(&digest::SHA256, &keys.client);
        let signature = sign(stored_key.as_ref(), exchanged.as_bytes());
        let mut proof = keys.client;
        for (byte, mask) in proof.iter_mut().zip(signature) {
            *byte ^= mask;
        }
        Ok(Proven {
            message: format!("{unproven},p={}", STANDARD.encode(proof)),
            exchanged,
            server_key: keys.server,
        })
    }
}

impl Proven {
    /// Checks `server-final-message`: only a server that knows the password's verifier can sign it.
    pub fn finish(&self, last: &[u8]) -> Result<(), Failure> {
        let last = std::str::from_utf8(last).unwrap_or_default();
        let Some(verifier) = last.strip_prefix("v=") else {
            return Err("the server rejected the password proof");
        };
        let verifier = verifier.split(',').next().unwrap_or_default();
        let signature = STANDARD
            .decode(verifier)
            .map_err(|_| "the server's signature is not base64")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.server_key);
        hmac::verify(&key, self.exchanged.as_bytes(), &signature)
            .map_err(|_| "the server's SCRAM signature is wrong")
    }
}

/// The nonce, the salt and the number of rounds of `server-first-message` (RFC 5802 section 7).
/// Extensions behind them may be ignored; one in front would be mandatory.
fn parse_first(message: &str) -> Result<(&str, Vec<u8>, NonZeroU32), Failure> {
    let mut attributes = message.split(',');
    let mut attribute = |name| attributes.next().and_then(|next| next.strip_prefix(name));
    let nonce = attribute("r=").ok_or("the SCRAM answer has no nonce in its place")?;
    let salt = attribute("s=").ok_or("the SCRAM answer has no salt in its place")?;
    let salt = STANDARD.decode(salt);
    let salt = salt.map_err(|_| "the SCRAM salt is not base64")?;
    let count = attribute("i=").and_then(|count| count.parse::<NonZeroU32>().ok());
    let count = count.ok_or("the SCRAM iteration count is not a number")?;
    if count.get() > SCRAM_ITERATIONS_MAX_COUNT {
        return Err("the SCRAM iteration count is too high");
    }
    Ok((nonce, salt, count))
}

/// What a password becomes with a salt (RFC 5802 section 3).
#[derive(Clone, Copy)]
struct Keys {
    client: [u8; digest::SHA256_OUTPUT_LEN],
    server: [u8; digest::SHA256_OUTPUT_LEN],
}

/// The last derivation, and a digest of what it was made from.
static LAST: Mutex<Option<(Vec<u8>, Keys)>> = Mutex::new(None);

impl Keys {
    fn derived(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut source = digest::Context::new(&digest::SHA256);
        for part in [&iterations.get().to_be_bytes(), salt, password] {
            source.update(digest::digest(&digest::SHA256, part).as_ref());
        }
        let source = source.finish();
        // Held during the derivation: connections that open together derive once.
        let mut last = LAST.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*last {
            Some((known, keys)) if known == source.as_ref() => *keys,
            _ => {
                let keys = Self::derive(password, salt, iterations);
                *last = Some((source.as_ref().to_vec(), keys));
                keys
            }
        }
    }

    fn derive(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let password = normalize(password);
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, salt, &password, &mut salted);
        Self {
            client: sign(&salted, b"Client Key"),
            server: sign(&salted, b"Server Key"),
        }
    }
}

/// SASLprep, or the password as it is where that refuses it: PostgreSQL does the same.
fn normalize(password: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(password).ok();
    match text.and_then(|text| stringprep::saslprep(text).ok()) {
        Some(prepared) => prepared.as_bytes().to_vec(),
        None => password.to_vec(),
    }
}

fn sign(key: &[u8], message: &[u8]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7677 section 3, whose user name PostgreSQL's clients leave out: the proofs differ from the
    // RFC's for that reason alone, and the signature is checked against an independent derivation.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn login() -> Scram {
        Scram {
            binding: ChannelBinding::Unsupported,
            nonce: NONCE.into(),
        }
    }

    #[test]
    fn keys_are_those_of_the_rfc() {
        // The example's messages, user name included.
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = Keys::derived(b"pencil", &salt, NonZeroU32::new(4_096).unwrap());
        let exchanged = format!(
            "n=user,r={NONCE},{FIRST},c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        );
        let signature = sign(&keys.server, exchanged.as_bytes());
        let expected = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(STANDARD.encode(signature), expected);
        let stored = digest::digest(&digest::SHA256, &keys.client);
        let mut proof = sign(stored.as_ref(), exchanged.as_bytes());
        for (byte, key) in proof.iter_mut().zip(keys.client) {
            *byte ^= key;
        }
        let expected = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(STANDARD.encode(proof), expected);
    }

    #[test]
    fn a_signature_of_another_password_is_refused() {
        let proven = login().prove(b"pencil", FIRST.as_bytes()).unwrap();
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        for (password, good) in [(b"pencil".as_slice(), true), (b"pencil2", false)] {
            let keys = Keys::derived(password, &salt, NonZeroU32::new(4_096).unwrap());
            let signature = STANDARD.encode(sign(&keys.server, proven.exchanged.as_bytes()));
            let last = format!("v={signature}");
            assert_eq!(proven.finish(last.as_bytes()).is_ok(), good);
        }
        for last in ["", "e=other-error", "v=", "v=%", "v=AAAA"] {
            assert!(proven.finish(last.as_bytes()).is_err(), "{last}");
        }
    }

    #[test]
    fn first_answers_out_of_order_or_past_a_bound_are_refused() {
        for first in [
            "",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=another-nonce,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "m=ext,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "s=W22ZaJ0SNY7soEsUEjb6gQ==,r=rOprNGfwEbeRWgbNEkqOx,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=%,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4294967295",
        ] {
            assert!(
                login().prove(b"pencil", first.as_bytes()).is_err(),
                "{first}"
            );
        }
    }

    #[test]
    fn the_binding_is_part_of_the_message() {
        let hash = vec![7; 32];
        for (binding, first, encoded) in [
            (ChannelBinding::Unsupported, "n,,n=,r=", "c=biws,"),
            (ChannelBinding::Unrequested, "y,,n=,r=", "c=eSws,"),
            (
                ChannelBinding::ServerEndPoint(hash),
                "p=tls-server-end-point,,n=,r=",
                "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=,",
            ),
        ] {
            let login = Scram {
                binding,
                nonce: NONCE.into(),
            };
            assert!(login.message().starts_with(first));
            let proven = login.prove(b"pencil", FIRST.as_bytes()).unwrap();
            assert!(proven.message.starts_with(encoded), "{}", proven.message);
        }
    }
}
