//! Reads settings one after the other, keeping count of what is in force and of every error.

use std::fmt::Display;
use std::net::IpAddr;

use super::database::DatabaseTarget;
use super::environment::{ConfigError, ConfigErrors, Environment};
use super::secret::{Secret, SecretSource};
use super::settings::{Number, Setting, Word};
use crate::limits::DEPLOYMENT_NAME_MAX_BYTES;

/// One pass over the environment.
pub(super) struct Reader<'a> {
    environment: &'a dyn Environment,
    errors: Vec<ConfigError>,
    in_force: Vec<(&'static str, String)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(environment: &'a dyn Environment) -> Self {
        Self {
            environment,
            errors: Vec::new(),
            in_force: Vec::new(),
        }
    }

    /// What was read, if nothing was wrong. A `None` never comes without an error: each reading
    /// method notes one before it returns `None`.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, ConfigErrors> {
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            _ => Err(ConfigErrors(self.errors)),
        }
    }

    /// The settings noted so far, in their order, secrets masked.
    pub(super) fn in_force(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.in_force)
    }

    pub(super) fn note(&mut self, variable: &'static str, value: &dyn Display) {
        self.in_force.push((variable, value.to_string()));
    }

    pub(super) fn error(&mut self, variable: &'static str, problem: impl Into<String>) {
        let problem = problem.into();
        self.errors.push(ConfigError { variable, problem });
    }

    /// A text that is not secret; an empty one counts as absent, because ConfigMaps and compose
    /// files pass on variables that nobody has set.
    pub(super) fn text(&mut self, variable: &'static str) -> Option<String> {
        match self.environment.var(variable)?.into_string() {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some(text),
            Err(_) => {
                self.error(variable, "is not UTF-8");
                None
            }
        }
    }

    /// A name such as a region's, which ends up in the log, in metrics and in the table.
    pub(super) fn name(&mut self, setting: &Setting) -> Option<String> {
        let name = self.text(setting.variable)?;
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.len() <= DEPLOYMENT_NAME_MAX_BYTES && name.bytes().all(valid) {
            return Some(name);
        }
        self.error(
            setting.variable,
            format!("must be at most {DEPLOYMENT_NAME_MAX_BYTES} letters, digits, `-`, `_` or `.`"),
        );
        None
    }

    /// A number in its range, or the default.
    pub(super) fn number(&mut self, setting: &Number) -> u64 {
        self.number_up_to(setting, setting.bound.max, None)
    }

    /// A number in its range and at most `ceiling`, the value of `of`; the default is cut to it.
    pub(super) fn number_below(&mut self, setting: &Number, ceiling: u64, of: &Number) -> u64 {
        self.number_up_to(setting, ceiling, Some(of.variable))
    }

    fn number_up_to(&mut self, setting: &Number, ceiling: u64, of: Option<&str>) -> u64 {
        let bound = setting.bound;
        let default = bound.default.min(ceiling);
        let value = match self.text(setting.variable) {
            None => default,
            Some(text) => match whole_number(&text) {
                Some(value) if value > bound.max || value < bound.min => {
                    self.out_of_range(setting);
                    default
                }
                Some(value) if value > ceiling => {
                    let of = of.unwrap_or_default();
                    let problem = format!("must be at most {of}, which is {ceiling}");
                    self.error(setting.variable, problem);
                    default
                }
                Some(value) => value,
                None => {
                    self.out_of_range(setting);
                    default
                }
            },
        };
        self.note(setting.variable, &value);
        value
    }

    fn out_of_range(&mut self, setting: &Number) {
        let (min, max) = (setting.bound.min, setting.bound.max);
        let problem = format!("must be a whole number from {min} to {max}, digits only");
        self.error(setting.variable, problem);
    }

    /// One of the setting's words, or its default.
    pub(super) fn word(&mut self, setting: &Word) -> &'static str {
        let default = setting.words.first().copied().unwrap_or_default();
        let word = match self.text(setting.variable) {
            None => default,
            Some(text) => match setting.words.iter().find(|word| **word == text) {
                Some(word) => word,
                None => {
                    let words = setting.words.join(" or ");
                    self.error(setting.variable, format!("must be {words}"));
                    default
                }
            },
        };
        self.note(setting.variable, &word);
        word
    }

    /// An IP address, or `default`.
    pub(super) fn address(&mut self, setting: &Setting, default: IpAddr) -> IpAddr {
        let text = self.text(setting.variable);
        let address = match text.map(|text| text.parse()) {
            None => default,
            Some(Ok(address)) => address,
            Some(Err(_)) => {
                let problem = "must be an IPv4 or IPv6 address, without a port or brackets";
                self.error(setting.variable, problem);
                default
            }
        };
        self.note(setting.variable, &address);
        address
    }

    /// Where a secret comes from: one of two variables, and not both. Unlike other settings, a
    /// secret that is set but empty is an error: somebody meant to give it.
    fn source(&mut self, plain: &Setting, file: &Setting) -> Option<SecretSource> {
        let literal = self.environment.var(plain.variable);
        let path = self.environment.var(file.variable);
        match (literal, path) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                let problem = format!("is set together with {}; set only one", file.variable);
                self.error(plain.variable, problem);
                None
            }
            (Some(text), None) => match text.into_string() {
                Ok(text) => Some(SecretSource::literal(plain.variable, text)),
                Err(_) => {
                    self.error(plain.variable, "is not UTF-8");
                    None
                }
            },
            // A path is repeated in messages, so what may be the secret itself is not taken for one.
            (None, Some(path)) if !matches!(path.as_encoded_bytes(), [b'/' | b'.', ..]) => {
                let problem = "must be a file path that begins with `/` or `.`";
                self.error(file.variable, problem);
                None
            }
            (None, Some(path)) => Some(SecretSource::file(file.variable, path)),
        }
    }

    /// Whether either form of a secret is set.
    pub(super) fn is_set(&self, plain: &Setting, file: &Setting) -> bool {
        [plain, file]
            .iter()
            .any(|setting| self.environment.var(setting.variable).is_some())
    }

    /// A secret that must be there, turned into what it stands for by `parse`.
    pub(super) fn secret<T: Display>(
        &mut self,
        plain: &Setting,
        file: &Setting,
        parse: impl FnOnce(&Secret) -> Result<T, String>,
    ) -> Option<(T, SecretSource)> {
        if !self.is_set(plain, file) {
            let problem = format!("is not set; set it or {}", file.variable);
            self.error(plain.variable, problem);
            return None;
        }
        let source = self.source(plain, file)?;
        match source.read_content().and_then(|secret| parse(&secret)) {
            Ok(value) => {
                self.note(plain.variable, &value);
                if let Some(path) = source.path() {
                    self.note(file.variable, &path.display());
                }
                Some((value, source))
            }
            Err(problem) => {
                self.error(source.variable(), problem);
                None
            }
        }
    }

    /// A database's URL that must be there.
    pub(super) fn database(
        &mut self,
        plain: &Setting,
        file: &Setting,
        region: &str,
    ) -> Option<(DatabaseTarget, SecretSource)> {
        self.secret(plain, file, |secret| {
            DatabaseTarget::parse(secret.expose(), region)
        })
    }
}

/// Digits only: no sign, no blank, nothing that another parser would read as another number.
fn whole_number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}
