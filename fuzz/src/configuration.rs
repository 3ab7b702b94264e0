//! What operators write.

use payment_latency_api::config::{self, ApiKeys, Config, DatabaseTarget};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Shorter passwords may occur in a sentence by chance.
const TELLING_BYTES: usize = 8;

/// An environment, one `NAME=value` a line; a first line without `=` is a database URL alone.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let first = text.lines().next().unwrap_or_default();
    url(first);
    if let Ok(keys) = ApiKeys::parse(&text) {
        for key in text.split(['\n', ',']).map(str::trim) {
            assert!(key.is_empty() || keys.verify(key.as_bytes()));
        }
        assert!(!keys.verify(b"") && !keys.verify(&[b'x'; 1_000]));
    }
    let mut environment = BTreeMap::new();
    for line in data.split(|&b| b == b'\n') {
        let mut parts = line.splitn(2, |&b| b == b'=');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        let name = String::from_utf8_lossy(name).into_owned();
        // Files on this machine are not part of the input.
        if !name.ends_with("_FILE") {
            environment.insert(name, OsString::from_vec(value.to_vec()));
        }
    }
    let read = Config::from_environment(&environment);
    let checked = config::check(&environment);
    let said = match (&read, checked) {
        (Ok(config), Ok(text)) => format!("{text} {config:?}"),
        (Ok(config), Err(errors)) => format!("{config:?} {errors}"),
        (Err(errors), checked) => {
            assert!(!errors.0.is_empty() && checked.is_err());
            errors.to_string()
        }
    };
    if let Some(key) = environment.get("API_SECRET_KEY").and_then(|v| v.to_str()) {
        assert_hidden(key, &said, &environment);
    }
    if let Ok(config) = &read
        && let Some(password) = &config.database.password
        && !shows(&config.database, password.expose())
    {
        assert_hidden(password.expose(), &said, &environment);
    }
}

/// Whether a part that is not secret also contains the password, so that nothing can hide it.
fn shows(target: &DatabaseTarget, password: &str) -> bool {
    let parts = [
        &target.user,
        &target.host,
        &target.database,
        &target.application_name,
    ];
    parts.iter().any(|part| part.contains(password))
        || format!("{:?}", target.ssl_root_cert).contains(password)
}

/// No text about the configuration contains a secret, unless it is also the value of something else.
fn assert_hidden(secret: &str, said: &str, environment: &BTreeMap<String, OsString>) {
    let elsewhere = environment
        .values()
        .filter(|value| value.to_string_lossy().contains(secret))
        .count();
    // Default values and sentences are not secret, and a marker is none of them.
    let telling = secret.len() >= TELLING_BYTES && secret.contains("Zq9");
    assert!(
        !telling || elsewhere > 1 || !said.contains(secret),
        "{said}"
    );
}

/// A database URL that is accepted is shown without its password and reads back the same.
fn url(text: &str) {
    let Ok(target) = DatabaseTarget::parse(text, "eu-south-2") else {
        return;
    };
    let elsewhere = target.host.split('.').any(|label| label == "us-east-1");
    assert!(!elsewhere, "{}", target.host);
    let shown = format!("{target} {target:?}");
    if let Some(password) = &target.password {
        let password = password.expose();
        let telling = password.len() >= TELLING_BYTES && password.contains("Zq9");
        assert!(
            !telling || shows(&target, password) || !shown.contains(password),
            "{shown}"
        );
    }
    let again = DatabaseTarget::parse(text, "eu-south-2").expect("it was accepted before");
    assert!(again == target);
}
