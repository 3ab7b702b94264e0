//! The keys that callers of the payment present.

use ring::digest::{SHA256, digest};
use std::fmt;
use subtle::{Choice, ConstantTimeEq};

use crate::limits::{API_KEY_MAX_BYTES, API_KEY_MIN_BYTES, API_KEYS_MAX_COUNT};

/// A SHA-256 digest in words, which compare in an eighth of the steps that bytes take.
type Digest = [u64; 4];

/// One key, or two while one is rotated. Only their SHA-256 digests are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeys {
    /// Every place is filled, a free one with the first key again: comparing takes the same steps
    /// however many keys there are.
    digests: [Digest; API_KEYS_MAX_COUNT],
    count: usize,
}

impl ApiKeys {
    /// Reads keys separated by commas or line ends; blanks around a key are not part of it.
    ///
    /// # Errors
    /// A sentence that says which key is wrong, by its place; it never holds a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys = || {
            text.split(['\n', ','])
                .map(str::trim)
                .filter(|key| !key.is_empty())
        };
        for (index, key) in keys().enumerate() {
            check(key).map_err(|problem| format!("key {} {problem}", index + 1))?;
        }
        let count = keys().count();
        if count > API_KEYS_MAX_COUNT {
            return Err(format!(
                "contains {count} keys; at most {API_KEYS_MAX_COUNT} are accepted"
            ));
        }
        let first = keys().next().ok_or("contains no key")?;
        let mut digests = [sha256(first.as_bytes()); API_KEYS_MAX_COUNT];
        for (place, key) in digests.iter_mut().zip(keys()) {
            *place = sha256(key.as_bytes());
        }
        Ok(Self { digests, count })
    }

    /// Whether `presented` is one of the keys. The time depends on the length of `presented` only:
    /// digests are compared, all of them, each to its end.
    pub fn verify(&self, presented: &[u8]) -> bool {
        if presented.len() > API_KEY_MAX_BYTES {
            return false;
        }
        let presented = sha256(presented);
        let found = self.digests.iter().fold(Choice::from(0), |found, digest| {
            found | digest.as_slice().ct_eq(&presented)
        });
        found.into()
    }

    /// How many keys are valid.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({self})")
    }
}

/// `***` for each key.
impl fmt::Display for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for index in 0..self.count {
            f.write_str(if index == 0 { "***" } else { ",***" })?;
        }
        Ok(())
    }
}

fn check(key: &str) -> Result<(), String> {
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has a character that is not visible ASCII".to_owned());
    }
    if !(API_KEY_MIN_BYTES..=API_KEY_MAX_BYTES).contains(&key.len()) {
        return Err(format!(
            "has {} characters; {API_KEY_MIN_BYTES} to {API_KEY_MAX_BYTES} are accepted",
            key.len()
        ));
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> Digest {
    let digest = digest(&SHA256, bytes);
    let (words, _) = digest.as_ref().as_chunks();
    let mut out = Digest::default();
    for (to, from) in out.iter_mut().zip(words) {
        *to = u64::from_ne_bytes(*from);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-key-0123456789";
    const NEW: &str = "new-key-0123456789";

    #[test]
    fn each_key_in_force_is_accepted_and_nothing_else() {
        for (text, accepted, refused) in [
            (OLD.to_owned(), vec![OLD], vec![NEW]),
            (format!("{OLD},{NEW}"), vec![OLD, NEW], vec![]),
            (format!("{OLD}\n{NEW}\n"), vec![OLD, NEW], vec![]),
            (format!(" {OLD} ,\r\n {NEW},"), vec![OLD, NEW], vec![]),
        ] {
            let keys = ApiKeys::parse(&text).unwrap();
            assert_eq!(keys.count(), accepted.len(), "{text:?}");
            for key in accepted {
                assert!(keys.verify(key.as_bytes()), "{key}");
                for other in [format!("{key} "), key.to_uppercase(), format!("{key}0")] {
                    assert!(!keys.verify(other.as_bytes()), "{other}");
                }
                assert!(!keys.verify(key.as_bytes().split_last().unwrap().1));
            }
            for key in refused {
                assert!(!keys.verify(key.as_bytes()), "{key}");
            }
            assert!(!keys.verify(b"") && !keys.verify(text.repeat(100).as_bytes()));
        }
    }

    #[test]
    fn lengths_are_accepted_up_to_their_bounds() {
        for length in [API_KEY_MIN_BYTES, API_KEY_MAX_BYTES] {
            let key = "k".repeat(length);
            assert!(ApiKeys::parse(&key).unwrap().verify(key.as_bytes()));
        }
    }

    #[test]
    fn wrong_keys_are_refused_by_their_place() {
        let long = "h".repeat(API_KEY_MAX_BYTES + 1);
        for (text, sentence) in [
            (String::new(), "contains no key"),
            (" ,\n, ".to_owned(), "contains no key"),
            (
                "hunter2".to_owned(),
                "key 1 has 7 characters; 16 to 256 are accepted",
            ),
            (long, "key 1 has 257 characters; 16 to 256 are accepted"),
            (
                format!("{OLD},hunter2"),
                "key 2 has 7 characters; 16 to 256 are accepted",
            ),
            (
                format!("{OLD},hunter2 hunter2 hunter2"),
                "key 2 has a character that is not visible ASCII",
            ),
            (
                "hunter2-hunter2-ñ".to_owned(),
                "key 1 has a character that is not visible ASCII",
            ),
            (
                format!("{OLD},{NEW},third-key-0123456789"),
                "contains 3 keys; at most 2 are accepted",
            ),
        ] {
            assert_eq!(ApiKeys::parse(&text), Err(sentence.to_owned()));
        }
    }

    #[test]
    fn keys_show_themselves_nowhere() {
        let keys = ApiKeys::parse(&format!("{OLD},{NEW}")).unwrap();
        assert_eq!(format!("{keys} {keys:?}"), "***,*** ApiKeys(***,***)");
    }
}
