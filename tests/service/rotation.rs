//! Secrets change while the service runs.

use crate::postgres::{Cluster, PASSWORD};
use crate::support::{
    KEY, LOGIN, Load, Service, assert_durable, database, eventually, shared, url_with_password,
};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Swaps a file's content in one step, as Kubernetes does with a secret's volume.
fn swap(path: &PathBuf, content: &str) {
    let next = path.with_extension("next");
    fs::write(&next, content).unwrap();
    fs::rename(&next, path).unwrap();
}

fn file(cluster: &Cluster, name: &str, content: &str) -> PathBuf {
    let path = cluster.folder().join(name);
    swap(&path, content);
    path
}

fn assert_no_failure(cluster: &Cluster, load: Load) {
    let answers = load.stop();
    let failed: Vec<&str> = answers
        .iter()
        .filter(|paid| paid.status != 200)
        .map(|paid| paid.text.as_str())
        .collect();
    assert!(
        answers.len() > 50 && failed.is_empty(),
        "{} answers, {failed:?}",
        answers.len()
    );
    assert_durable(cluster, &answers);
}

fn set_password(cluster: &Cluster, password: &str) {
    cluster.psql(&format!("ALTER ROLE {LOGIN} PASSWORD '{password}'"));
}

#[test]
fn api_keys_rotate_without_a_failed_request() {
    const NEW: &str = "fedcba9876543210fedcba9876543210";
    let cluster = database();
    let path = file(&cluster, "api_key", KEY);
    let service = Service::start(&cluster, &[("API_SECRET_KEY_FILE", path.to_str().unwrap())]);
    let current = Arc::new(Mutex::new(KEY));
    let key = current.clone();
    let load = Load::start(service.address, 4, move || {
        (*key.lock().unwrap()).to_owned()
    });
    service
        .get(crate::support::PAYMENT, &[("X-API-Key", NEW)])
        .assert_problem(403, "api_key_wrong", "X-API-Key");
    swap(&path, &format!("{KEY}\n{NEW}\n"));
    service.wait_for_logs("api_keys_reloaded", 1);
    *current.lock().unwrap() = NEW;
    // A caller may be about to send the old key: it stays valid until all callers know the new one.
    let before = service.metric("payments_total{outcome=\"approved\"}");
    eventually("all callers use the new key", || {
        service.metric("payments_total{outcome=\"approved\"}") > before + 50.0
    });
    swap(&path, NEW);
    service.wait_for_logs("api_keys_reloaded", 2);
    service
        .pay("")
        .assert_problem(403, "api_key_wrong", "X-API-Key");
    assert_no_failure(&cluster, load);
    let log = service.log_text();
    assert!(!log.contains(KEY) && !log.contains(NEW), "{log}");
}

#[test]
fn a_file_of_keys_that_makes_no_sense_changes_nothing() {
    let path = file(shared(), "api_key_broken", KEY);
    let service = Service::start(shared(), &[("API_SECRET_KEY_FILE", path.to_str().unwrap())]);
    swap(&path, "short");
    let line = service.wait_for_log("secret_reload_failed");
    assert_eq!(line["variable"], "API_SECRET_KEY_FILE");
    assert_eq!(service.pay("").status, 200);
    let failures = || service.metric("secret_reload_failures_total");
    eventually("it counts as long as it lasts", || failures() >= 3.0);
    fs::remove_file(&path).unwrap();
    service.wait_for_logs("secret_reload_failed", 2);
    assert_eq!(service.pay("").status, 200);
    swap(&path, &format!("{KEY}-new"));
    service.wait_for_log("api_keys_reloaded");
    let over = failures();
    swap(&path, KEY);
    service.wait_for_logs("api_keys_reloaded", 2);
    assert_eq!(failures(), over);
    let failed = service.log_text().matches("secret_reload_failed").count();
    assert_eq!(failed, 2, "each is reported once");
}

#[test]
fn a_file_that_names_another_database_moves_all_payments_there_at_once() {
    let (former, other) = (database(), database());
    let url = |cluster| url_with_password(cluster, PASSWORD);
    let path = file(&former, "database_url", &url(&former));
    // The first payment waits until a connection to the new database has been made.
    let settings = [
        ("DATABASE_URL_FILE", path.to_str().unwrap()),
        ("CHECKOUT_TIMEOUT_MS", "1500"),
    ];
    let service = Service::start(&former, &settings);
    let pay = || (0..20).for_each(|_| assert_eq!(service.pay("").status, 200));
    pay();
    swap(&path, &url(&other));
    service.wait_for_log("database_credentials_reloaded");
    pay();
    for cluster in [&former, &other] {
        assert_eq!(cluster.psql("SELECT count(*) FROM payments"), "20");
    }
}

#[test]
fn the_database_password_rotates_without_a_failed_request() {
    let cluster = database();
    let path = file(
        &cluster,
        "database_url",
        &url_with_password(&cluster, PASSWORD),
    );
    let path_text = path.to_str().unwrap();
    let service = Service::start(
        &cluster,
        &[
            ("DATABASE_URL_FILE", path_text),
            ("CONNECTION_LIFETIME_S", "1"),
        ],
    );
    let load = Load::start(service.address, 4, || KEY.to_owned());
    set_password(&cluster, "second-password");
    swap(&path, &url_with_password(&cluster, "second-password"));
    service.wait_for_log("database_credentials_reloaded");
    let opened = service.metric("pool_connections_opened_total");
    eventually("connections were made with it", || {
        service.metric("pool_connections_opened_total") >= opened + 4.0
    });
    assert_no_failure(&cluster, load);
    assert!(!service.log_text().contains("second-password"));
}

#[test]
fn a_file_that_stays_stale_after_the_rotation_costs_no_request() {
    let cluster = database();
    let path = file(
        &cluster,
        "database_url",
        &url_with_password(&cluster, PASSWORD),
    );
    let path_text = path.to_str().unwrap();
    let service = Service::start(
        &cluster,
        &[
            ("DATABASE_URL_FILE", path_text),
            ("CONNECTION_LIFETIME_S", "1"),
        ],
    );
    let load = Load::start(service.address, 4, || KEY.to_owned());
    set_password(&cluster, "second-password");
    let failures = "pool_connect_failures_total{step=\"authentication\"}";
    eventually("replacements are refused for a while", || {
        service.metric(failures) >= 5.0
    });
    assert_eq!(
        service.metric("pool_connections{state=\"open\"}"),
        8.0,
        "no connection is retired before its replacement"
    );
    swap(&path, &url_with_password(&cluster, "second-password"));
    let opened = service.metric("pool_connections_opened_total");
    eventually("replacements are made", || {
        service.metric("pool_connections_opened_total") >= opened + 8.0
    });
    assert_no_failure(&cluster, load);
}

#[test]
fn a_changed_url_may_not_leave_the_region() {
    let cluster = database();
    let path = file(
        &cluster,
        "database_url",
        &url_with_password(&cluster, PASSWORD),
    );
    let service = Service::start(&cluster, &[("DATABASE_URL_FILE", path.to_str().unwrap())]);
    swap(
        &path,
        "postgresql://payments_api:hidden-word@db.us-east-1.rds.amazonaws.com/payments?sslmode=verify-full",
    );
    let line = service.wait_for_log("secret_reload_failed");
    assert!(
        line["reason"].as_str().unwrap().contains("us-east-1"),
        "{line}"
    );
    assert!(!service.log_text().contains("hidden-word"));
    assert_eq!(service.pay("").status, 200);
}
