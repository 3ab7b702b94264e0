//! Secrets, and the files they come from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::limits::SECRET_FILE_MAX_BYTES;

/// A text that is shown nowhere: it formats as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for code that must send or compare it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret comes from: a variable, or the file that a `_FILE` variable names. A file is read
/// anew at every [`Self::read`], so that a rotated secret is found without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSource {
    variable: &'static str,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Literal(Secret),
    File(PathBuf),
}

impl SecretSource {
    /// The secret stands in `variable` itself.
    pub fn literal(variable: &'static str, text: impl Into<String>) -> Self {
        let origin = Origin::Literal(Secret::new(text));
        Self { variable, origin }
    }

    /// `variable` names a file that holds the secret.
    pub fn file(variable: &'static str, path: impl Into<PathBuf>) -> Self {
        let origin = Origin::File(path.into());
        Self { variable, origin }
    }

    /// The secret as it is now, without the one line end at its end that editors and `echo` leave.
    ///
    /// # Errors
    /// The file cannot be read, is longer than [`SECRET_FILE_MAX_BYTES`], empty, or not UTF-8. The
    /// sentence names the variable and the path, and never what the file holds.
    pub fn read(&self) -> Result<Secret, String> {
        self.read_content()
            .map_err(|problem| format!("{}: {problem}", self.variable))
    }

    /// Like [`Self::read`], with a sentence that leaves out the variable.
    pub(super) fn read_content(&self) -> Result<Secret, String> {
        let text = match &self.origin {
            Origin::Literal(secret) => secret.expose().to_owned(),
            Origin::File(path) => {
                read_file(path).map_err(|problem| format!("{} {problem}", path.display()))?
            }
        };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        match (&self.origin, text) {
            (Origin::Literal(_), "") => Err("is set but empty".to_owned()),
            (Origin::File(path), "") => Err(format!("{} is empty", path.display())),
            (_, text) => Ok(Secret::new(text)),
        }
    }

    /// Whether the secret can change while the process runs.
    pub fn is_file(&self) -> bool {
        self.path().is_some()
    }

    /// The file, if the secret comes from one.
    pub fn path(&self) -> Option<&Path> {
        match &self.origin {
            Origin::Literal(_) => None,
            Origin::File(path) => Some(path),
        }
    }

    /// The variable that was set: the one with `_FILE` when the secret comes from a file.
    pub fn variable(&self) -> &'static str {
        self.variable
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    // Opening a pipe would wait for its writer, and its content could not be read a second time.
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SECRET_FILE_MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(cannot)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > SECRET_FILE_MAX_BYTES) {
        return Err(format!("is longer than {SECRET_FILE_MAX_BYTES} bytes"));
    }
    // The error is dropped because it holds the bytes.
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::test_support::ScratchFile;

    #[test]
    fn one_line_end_is_trimmed_and_nothing_else() {
        for (content, expected) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret\n\n", "secret\n"),
            (" secret ", " secret "),
            ("one\ntwo\n", "one\ntwo"),
        ] {
            let file = ScratchFile::new(content.as_bytes());
            let from_file = SecretSource::file("KEY_FILE", file.path());
            assert_eq!(from_file.read().unwrap().expose(), expected);
            let literal = SecretSource::literal("KEY", content);
            assert_eq!(literal.read().unwrap().expose(), expected);
        }
    }

    #[test]
    fn a_changed_file_is_found_at_the_next_read() {
        let file = ScratchFile::new(b"old\n");
        let source = SecretSource::file("KEY_FILE", file.path());
        let old = source.read().unwrap();
        file.write(b"new\n");
        let new = source.read().unwrap();
        assert!(old != new && new.expose() == "new");
    }

    #[test]
    fn unusable_files_are_refused_by_name_without_their_content() {
        let bound = usize::try_from(SECRET_FILE_MAX_BYTES).unwrap();
        for (content, problem) in [
            (b"".to_vec(), "is empty"),
            (b"\n".to_vec(), "is empty"),
            (b"hunter2\xff".to_vec(), "is not UTF-8"),
            (
                b"hunter2".repeat(bound / 7 + 1),
                "is longer than 65536 bytes",
            ),
        ] {
            let file = ScratchFile::new(&content);
            let error = SecretSource::file("KEY_FILE", file.path())
                .read()
                .unwrap_err();
            assert_eq!(
                error,
                format!("KEY_FILE: {} {problem}", file.path().display())
            );
        }
        let missing = SecretSource::file("KEY_FILE", "/nonexistent/key")
            .read()
            .unwrap_err();
        assert!(
            missing.starts_with("KEY_FILE: /nonexistent/key cannot be read: "),
            "{missing}"
        );
        let folder = SecretSource::file("KEY_FILE", std::env::temp_dir())
            .read()
            .unwrap_err();
        assert!(folder.ends_with("is not a regular file"), "{folder}");
        let empty = SecretSource::literal("KEY", "").read().unwrap_err();
        assert_eq!(empty, "KEY: is set but empty");
    }

    #[test]
    fn a_file_of_exactly_the_bound_is_read() {
        let bound = usize::try_from(SECRET_FILE_MAX_BYTES).unwrap();
        let file = ScratchFile::new(&vec![b'x'; bound]);
        let secret = SecretSource::file("KEY_FILE", file.path()).read().unwrap();
        assert_eq!(secret.expose().len(), bound);
    }

    #[test]
    fn a_secret_shows_itself_nowhere() {
        let secret = Secret::new("hunter2");
        let source = SecretSource::literal("KEY", "hunter2");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** *** ***");
        assert!(!format!("{source:?} {source:#?}").contains("hunter2"));
    }
}
