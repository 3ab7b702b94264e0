//! `migrate` and `prune` against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/postgres.rs"]
mod postgres;

use payment_latency_api::config::{DatabaseTarget, SecretSource, StatementMode};
use payment_latency_api::migrate::{self, MigrateError, Migration, Report};
use payment_latency_api::pg::error::ConnectStep;
use payment_latency_api::pg::handshake;
use payment_latency_api::pool::{Connect, Credentials, TcpConnector};
use payment_latency_api::prune;
use postgres::{Cluster, OWNER, Tls};
use std::process::Command;
use std::time::Duration;

const APPLICATION: &str = "payments_service";
const TIMEOUT: Duration = Duration::from_secs(10);

fn target(cluster: &Cluster, user: &str) -> DatabaseTarget {
    DatabaseTarget::parse(&cluster.url(user, "verify-full"), "unknown").unwrap()
}

fn migrate(cluster: &Cluster) -> Result<Report, MigrateError> {
    migrate::run(&target(cluster, OWNER), Some(&target(cluster, APPLICATION)))
}

/// Runs a statement as the application and returns PostgreSQL's refusal, if it refuses.
fn as_application(cluster: &Cluster, sql: &str) -> Result<(), String> {
    let output = Command::new(postgres::programs().join("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .arg(cluster.url(APPLICATION, "verify-full"))
        .output()
        .unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// The id that a pod makes at `$at`, without its random part.
const ID_AT: &str = "lpad(to_hex((extract(epoch FROM $at) * 1000)::bigint), 12, '0')";

/// Payments whose ids and rows have the same time, as is nearly so for the service's.
fn insert_payments(cluster: &Cluster, count: u32, age: &str) {
    insert_payments_by_a_clock(cluster, count, age, "0");
}

/// The same from a pod whose clock is `ahead`.
fn insert_payments_by_a_clock(cluster: &Cluster, count: u32, age: &str, ahead: &str) {
    let id = ID_AT.replace("$at", &format!("at + interval '{ahead}'"));
    cluster.psql(&format!(
        "INSERT INTO payments (transaction_id, request_hash, amount_minor, amount_exponent, \
         currency, region, status, processing_ms, created_at) \
         SELECT ({id} || '7' || substr(random, 1, 3) || '8' || substr(random, 4, 15))::uuid, \
         sha256('x'), 100, 2, 'EUR', 'eu-south-2', 'approved', 0, at FROM (\
         SELECT now() - interval '{age}' AS at, md5(random()::text || n) AS random \
         FROM generate_series(1, {count}) AS n) AS payment"
    ));
}

#[test]
fn a_second_migration_finds_everything_done() {
    let cluster = Cluster::start(Tls::for_localhost());
    let first = migrate(&cluster).unwrap();
    assert_eq!(first.schema, "public");
    assert_eq!(
        first.steps,
        [
            "group role payments_app was created",
            "login payments_service was created",
            "login payments_service was added to payments_app",
            "migration 1 (payments) was applied",
            "payments_app was granted USAGE ON SCHEMA \"public\"",
            "payments_app was granted SELECT ON TABLE payments",
            "payments_app was granted INSERT ON TABLE payments",
            "TEMPORARY ON DATABASE \"payments\" was revoked from PUBLIC",
        ]
    );
    let second = migrate(&cluster).unwrap();
    assert_eq!(
        second.steps,
        ["login payments_service already exists and was left unchanged"]
    );
    assert_eq!(
        cluster.psql("SELECT version, name FROM schema_migrations"),
        "1|payments"
    );
}

#[test]
fn two_migrations_at_the_same_moment_do_the_work_once() {
    let cluster = Cluster::start(Tls::for_localhost());
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| migrate(&cluster).unwrap()))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let applied = |step: &&String| step.ends_with("was applied");
    let steps = || reports.iter().flat_map(|report| &report.steps);
    assert_eq!(steps().filter(applied).count(), migrate::MIGRATIONS.len());
    for (step, times) in [
        ("group role payments_app was created", 1),
        ("login payments_service was created", 1),
        (
            "login payments_service already exists and was left unchanged",
            3,
        ),
    ] {
        assert_eq!(steps().filter(|did| *did == step).count(), times, "{step}");
    }
}

#[test]
fn a_migration_that_waits_for_a_lock_gives_up_and_says_so() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster).unwrap();
    let _held = cluster.hold("SELECT pg_advisory_lock(8097887115748996211)");
    let error = migrate(&cluster).unwrap_err().to_string();
    assert!(
        error.contains("advisory lock") && error.contains("55P03"),
        "{error}"
    );
}

#[test]
fn payments_go_on_while_a_migration_waits_for_a_reader() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster).unwrap();
    let later = Migration {
        version: 2,
        name: "note",
        sql: "ALTER TABLE payments ADD note text",
    };
    let migrations = [migrate::MIGRATIONS.as_slice(), &[later]].concat();
    let reader = cluster.hold("SELECT count(*) FROM payments");
    // As a payment does in the regions; it would be refused if it had to wait longer.
    let payment = format!(
        "SET lock_timeout = '750ms'; {}",
        insert_values(&GOOD).replace("'key'", "NULL")
    );
    std::thread::scope(|scope| {
        let run = scope.spawn(|| migrate::run_these(&migrations, &target(&cluster, OWNER), None));
        let gave_way = "canceling statement due to lock timeout";
        while cluster.log().matches(gave_way).count() < 2 {
            assert!(!run.is_finished());
            as_application(&cluster, &payment).unwrap();
        }
        drop(reader);
        let steps = run.join().unwrap().unwrap().steps;
        assert_eq!(steps, ["migration 2 (note) was applied"]);
    });
    cluster.psql("SELECT note FROM payments");
}

#[test]
fn a_statement_that_takes_long_is_given_up_and_leaves_nothing_unless_it_says_so_itself() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster).unwrap();
    let run = |sql: &'static str| {
        let (version, name) = (2, "note");
        let later = Migration { version, name, sql };
        let migrations = [migrate::MIGRATIONS.as_slice(), &[later]].concat();
        migrate::run_these(&migrations, &target(&cluster, OWNER), None)
    };
    let error = run("ALTER TABLE payments ADD note text; SELECT pg_sleep(60)");
    let error = error.unwrap_err().to_string();
    assert!(error.contains("statement timeout"), "{error}");
    // If the failed attempt had left the column, this would fail.
    run(
        "SET LOCAL statement_timeout = 0; SELECT pg_sleep(2.5); ALTER TABLE payments ADD note text",
    )
    .unwrap();
    cluster.psql("SELECT note FROM payments");
    // The log comes through a pipe, and has had time to arrive.
    assert_eq!(
        cluster.log().matches("due to statement timeout").count(),
        1,
        "the migration is not tried again"
    );
}

#[test]
fn a_migration_gives_up_on_a_table_that_another_session_keeps() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster).unwrap();
    let _held = cluster.hold("LOCK TABLE schema_migrations");
    let error = migrate(&cluster).unwrap_err().to_string();
    assert!(
        error.contains("schema_migrations") && error.contains("55P03"),
        "{error}"
    );
}

#[test]
fn two_databases_of_one_server_may_be_migrated_at_the_same_moment() {
    let cluster = Cluster::start(Tls::for_localhost());
    cluster.psql_in("postgres", &format!("CREATE DATABASE other OWNER {OWNER}"));
    std::thread::scope(|scope| {
        for database in [postgres::DATABASE, "other"] {
            let cluster = &cluster;
            scope.spawn(move || {
                let [mut owner, mut application] =
                    [OWNER, APPLICATION].map(|user| target(cluster, user));
                owner.database = database.to_owned();
                application.database = database.to_owned();
                migrate::run(&owner, Some(&application)).unwrap();
            });
        }
    });
    for database in [postgres::DATABASE, "other"] {
        let may = "SELECT has_table_privilege('payments_service', 'payments', 'INSERT')";
        assert_eq!(cluster.psql_in(database, may), "t", "{database}");
    }
}

#[test]
fn a_changed_migration_is_refused_and_changes_nothing() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate::run(&target(&cluster, OWNER), None).unwrap();
    cluster.psql("UPDATE schema_migrations SET checksum = sha256('another file')");
    let error = migrate(&cluster).unwrap_err();
    assert!(matches!(error, MigrateError::Changed(_)), "{error}");
    let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{APPLICATION}'");
    assert_eq!(cluster.psql(&roles), "0");
}

#[test]
fn a_table_of_migrations_that_is_another_tools_is_an_error_and_no_panic() {
    let cluster = Cluster::start(Tls::for_localhost());
    cluster.psql("CREATE TABLE schema_migrations (version bigint, name text, checksum bytea)");
    cluster.psql("INSERT INTO schema_migrations VALUES (20240101, 'theirs', 'x')");
    cluster.psql("GRANT ALL ON schema_migrations TO PUBLIC");
    let error = migrate(&cluster).unwrap_err().to_string();
    assert!(error.contains("reading schema_migrations"), "{error}");
}

#[test]
fn migrations_of_a_later_version_are_left_and_named() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster).unwrap();
    cluster.psql("INSERT INTO schema_migrations VALUES (9999, 'later', 'x')");
    let report = migrate(&cluster).unwrap();
    assert_eq!(
        report.steps,
        [
            "login payments_service already exists and was left unchanged",
            "migration 9999 (later) belongs to a later version and was left unchanged",
        ]
    );
}

#[test]
fn the_application_may_insert_and_select_and_nothing_else() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster).unwrap();
    let insert = "INSERT INTO payments (transaction_id, request_hash, amount_minor, \
        amount_exponent, currency, region, status, processing_ms) \
        VALUES (gen_random_uuid(), sha256('x'), 1, 2, 'EUR', 'eu-south-2', 'approved', 0) \
        ON CONFLICT DO NOTHING RETURNING created_at";
    for allowed in [insert, "SELECT * FROM payments"] {
        as_application(&cluster, allowed).unwrap();
    }
    for refused in [
        "UPDATE payments SET amount_minor = 2",
        "DELETE FROM payments",
        "TRUNCATE payments",
        "DROP TABLE payments",
        "ALTER TABLE payments ADD x integer",
        "SELECT * FROM schema_migrations",
        "INSERT INTO schema_migrations VALUES (2, 'x', 'x')",
        "CREATE TABLE mine (x integer)",
        "CREATE TEMP TABLE mine (x integer)",
        "CREATE ROLE another",
        "SET ROLE payments_owner",
    ] {
        let error = as_application(&cluster, refused).unwrap_err();
        assert!(
            error.contains("permission denied") || error.contains("must be owner"),
            "{refused}: {error}"
        );
    }
    assert_eq!(cluster.psql("SELECT count(*) FROM payments"), "1");
}

#[test]
fn the_table_refuses_what_no_payment_can_be() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster).unwrap();
    for (column, value) in [
        (1, "''"),
        (1, "repeat('k', 256)"),
        (2, "'short'"),
        (2, "NULL"),
        (3, "0"),
        (3, "-1"),
        (4, "-1"),
        (4, "5"),
        (5, "'eur'"),
        (5, "'EURO'"),
        (6, "''"),
        (7, "'pending'"),
        (8, "-1"),
    ] {
        let mut values = GOOD;
        *values.get_mut(column).unwrap() = value;
        let error = as_application(&cluster, &insert_values(&values)).unwrap_err();
        assert!(error.contains("violates"), "{column} {value}: {error}");
    }
    as_application(&cluster, &insert_values(&GOOD)).unwrap();
    let error = as_application(&cluster, &insert_values(&GOOD)).unwrap_err();
    assert!(error.contains("payments_idempotency_key"), "{error}");
}

/// What every column takes, in the order of [`insert_values`].
const GOOD: [&str; 9] = [
    "gen_random_uuid()",
    "'key'",
    "sha256('x')",
    "100",
    "2",
    "'EUR'",
    "'eu-south-2'",
    "'approved'",
    "0",
];

fn insert_values(values: &[&str]) -> String {
    format!(
        "INSERT INTO payments (transaction_id, idempotency_key, request_hash, amount_minor, \
         amount_exponent, currency, region, status, processing_ms) VALUES ({})",
        values.join(", ")
    )
}

#[test]
fn the_login_that_migrate_made_opens_the_services_connection() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster).unwrap();
    let application = target(&cluster, APPLICATION);
    for mode in [StatementMode::Unnamed, StatementMode::Named] {
        handshake::connect(&application, mode, TIMEOUT).unwrap();
    }
    assert!(!cluster.log().contains(postgres::PASSWORD));
}

/// Has a connector's login refused when its file already contains `now`: where it failed, if it did,
/// and whether the connector continues with what is in the file.
fn refused_while_the_file_says(cluster: &Cluster, now: &str) -> (Option<ConnectStep>, bool) {
    let right = cluster.url(APPLICATION, "verify-full");
    let wrong = right.replace(postgres::PASSWORD, "of-yesterday");
    let [wrong, fresh] = [&*wrong, now].map(|url| DatabaseTarget::parse(url, "unknown").unwrap());
    let source = SecretSource::literal("DATABASE_URL", now);
    let credentials = Credentials::new(wrong, source, "unknown");
    let connector =
        TcpConnector::start(credentials.clone(), StatementMode::Unnamed, TIMEOUT).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let made = runtime.block_on(connector.connect());
    let failed = made.err().map(|error| error.step);
    (failed, *credentials.current() == fresh)
}

#[test]
fn a_refused_login_is_tried_with_fresh_credentials_for_the_same_database_alone() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster).unwrap();
    let rotated = cluster.url(APPLICATION, "verify-full");
    assert_eq!(
        refused_while_the_file_says(&cluster, &rotated),
        (None, true)
    );
    let elsewhere = rotated.replace("/payments?", "/postgres?");
    assert_ne!(elsewhere, rotated);
    assert_eq!(
        refused_while_the_file_says(&cluster, &elsewhere),
        (Some(ConnectStep::Authentication), false)
    );
}

#[test]
fn an_existing_login_keeps_its_password() {
    let cluster = Cluster::start(Tls::for_localhost());
    cluster.psql(&format!(
        "CREATE ROLE {APPLICATION} LOGIN PASSWORD 'of its own'"
    ));
    let stored = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{APPLICATION}'");
    let before = cluster.psql(&stored);
    let steps = migrate(&cluster).unwrap().steps;
    assert_eq!(cluster.psql(&stored), before);
    let expected = [
        "login payments_service already exists and was left unchanged",
        "login payments_service was added to payments_app",
    ];
    let expected = expected.map(str::to_owned);
    assert!(steps.windows(2).any(|steps| steps == expected), "{steps:?}");
}

#[test]
fn a_login_that_does_not_inherit_is_told_apart_from_one_that_is_no_member() {
    let cluster = Cluster::start(Tls::for_localhost());
    cluster.psql(&format!(
        "CREATE ROLE {APPLICATION} LOGIN NOINHERIT PASSWORD '{}'",
        postgres::PASSWORD
    ));
    let joined = "login payments_service was added to payments_app";
    let without = "login payments_service already exists and was left unchanged, \
        login \"payments_service\" is a member of payments_app but does not inherit its rights";
    let first = migrate(&cluster).unwrap().steps;
    assert!(first.iter().any(|step| step == joined), "{first:?}");
    let second = migrate(&cluster).unwrap().steps.join(", ");
    assert!(second.starts_with(without), "{second}");
    as_application(&cluster, "SELECT FROM payments").unwrap_err();

    cluster.psql(&format!("DROP ROLE {APPLICATION}"));
    migrate(&cluster).unwrap();
    as_application(&cluster, "SELECT FROM payments").unwrap();
    assert_eq!(migrate(&cluster).unwrap().steps.len(), 1);
}

#[test]
fn an_owner_that_may_not_end_temporary_tables_says_who_may() {
    let cluster = Cluster::start(Tls::for_localhost());
    cluster.psql("ALTER DATABASE payments OWNER TO postgres");
    cluster.psql(&format!("GRANT ALL ON DATABASE payments TO {OWNER}"));
    cluster.psql(&format!("GRANT CREATE, USAGE ON SCHEMA public TO {OWNER}"));
    cluster.psql(&format!(
        "CREATE ROLE payments_app NOLOGIN; GRANT CONNECT ON DATABASE payments TO payments_app; \
         GRANT USAGE ON SCHEMA public TO payments_app; GRANT payments_app TO {OWNER} WITH ADMIN OPTION"
    ));
    let steps = migrate(&cluster).unwrap().steps;
    let remedy = "REVOKE TEMPORARY ON DATABASE \"payments\" FROM PUBLIC";
    assert!(
        steps.last().is_some_and(|step| step.ends_with(remedy)),
        "{steps:?}"
    );
}

#[test]
fn a_role_that_may_not_log_in_is_left_and_named() {
    let cluster = Cluster::start(Tls::for_localhost());
    cluster.psql(&format!("CREATE ROLE {APPLICATION} NOLOGIN"));
    let steps = migrate(&cluster).unwrap().steps;
    assert!(
        steps.iter().any(|step| step.contains("cannot log in")),
        "{steps:?}"
    );
}

#[test]
fn names_are_quoted() {
    let cluster = Cluster::start(Tls::for_localhost());
    let mut application = target(&cluster, APPLICATION);
    application.user = r#"Odd "name"; DROP TABLE payments --'"#.to_owned();
    let report = migrate::run(&target(&cluster, OWNER), Some(&application)).unwrap();
    let created = format!("login {} was created", application.user);
    assert!(report.steps.contains(&created), "{report:?}");
    handshake::connect(&application, StatementMode::Unnamed, TIMEOUT).unwrap();
}

#[test]
fn an_application_under_the_owners_login_gets_no_login_of_its_own() {
    let cluster = Cluster::start(Tls::for_localhost());
    let owner = target(&cluster, OWNER);
    let report = migrate::run(&owner, Some(&owner)).unwrap();
    let is_owner = "the application uses the owner's login payments_owner, ";
    assert!(report.steps[0].starts_with(is_owner), "{report:?}");
    handshake::connect(&owner, StatementMode::Named, TIMEOUT).unwrap();
}

#[test]
fn a_login_without_a_password_in_the_url_is_not_made() {
    let cluster = Cluster::start(Tls::for_localhost());
    let mut application = target(&cluster, APPLICATION);
    application.password = None;
    let error = migrate::run(&target(&cluster, OWNER), Some(&application)).unwrap_err();
    assert!(matches!(error, MigrateError::NoPassword(_)), "{error}");
    assert_eq!(cluster.psql("SELECT to_regclass('payments') IS NULL"), "t");
}

#[test]
fn an_owner_that_may_not_create_roles_is_told_what_to_grant() {
    let cluster = Cluster::start(Tls::for_localhost());
    cluster.psql(&format!("ALTER ROLE {OWNER} NOCREATEROLE"));
    let error = migrate(&cluster).unwrap_err().to_string();
    let remedy = "ALTER ROLE \"payments_owner\" CREATEROLE";
    assert!(error.contains(remedy), "{error}");

    let alone = migrate::run(&target(&cluster, OWNER), None).unwrap();
    let left_out = "group role payments_app was not created: ";
    assert!(alone.steps[0].starts_with(left_out), "{alone:?}");

    cluster.psql("CREATE ROLE payments_app NOLOGIN");
    let error = migrate(&cluster).unwrap_err().to_string();
    assert!(error.contains(remedy), "{error}");

    cluster.psql(&format!("CREATE ROLE {APPLICATION} LOGIN"));
    let error = migrate(&cluster).unwrap_err().to_string();
    assert!(error.contains("WITH ADMIN OPTION"), "{error}");

    cluster.psql(&format!("GRANT payments_app TO {OWNER} WITH ADMIN OPTION"));
    migrate(&cluster).unwrap();
}

#[test]
fn an_owner_that_may_not_create_tables_is_told_what_to_grant() {
    let cluster = Cluster::start(Tls::for_localhost());
    cluster.psql("ALTER DATABASE payments OWNER TO postgres");
    let error = migrate(&cluster).unwrap_err().to_string();
    assert!(
        error.contains("GRANT CREATE, USAGE ON SCHEMA public"),
        "{error}"
    );
}

#[test]
fn a_service_on_an_empty_database_is_told_that_the_schema_is_missing() {
    let cluster = Cluster::start(Tls::for_localhost());
    let owner = target(&cluster, OWNER);
    let error = handshake::connect(&owner, StatementMode::Unnamed, TIMEOUT)
        .err()
        .unwrap();
    assert_eq!(error.step.as_str(), "schema", "{error}");
}

#[test]
fn prune_removes_what_is_past_the_age_in_batches() {
    let cluster = Cluster::start(Tls::for_localhost());
    let owner = target(&cluster, OWNER);
    migrate::run(&owner, None).unwrap();
    insert_payments(&cluster, 25, "91 days");
    insert_payments(&cluster, 7, "89 days");
    let age = prune::parse_age("90d").unwrap();

    let mut progress = Vec::new();
    let removed = prune::run(&owner, age, 10, |total| progress.push(total)).unwrap();
    assert_eq!((removed, progress), (25, vec![10, 20, 25]));
    assert_eq!(cluster.psql("SELECT count(*) FROM payments"), "7");

    let mut progress = Vec::new();
    let removed = prune::run(&owner, age, 10, |total| progress.push(total)).unwrap();
    assert_eq!((removed, progress), (0, vec![0]));
}

#[test]
fn a_batch_that_is_exactly_full_is_followed_by_an_empty_one() {
    let cluster = Cluster::start(Tls::for_localhost());
    let owner = target(&cluster, OWNER);
    migrate::run(&owner, None).unwrap();
    insert_payments(&cluster, 20, "2 hours");
    let mut progress = Vec::new();
    let age = prune::parse_age("1h").unwrap();
    let removed = prune::run(&owner, age, 10, |total| progress.push(total)).unwrap();
    assert_eq!((removed, progress), (20, vec![10, 20, 20]));
}

/// Pages of the table and its indexes that sessions have requested.
fn pages_asked_for(cluster: &Cluster) -> u64 {
    let others = "SELECT count(*) FROM pg_stat_activity \
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    // A session's figures appear once it has ended, a little after its client.
    let gone = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        cluster.psql(others) == "0"
    });
    assert!(gone, "a session is still there");
    let sum = "SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read \
        FROM pg_statio_user_tables WHERE relname = 'payments'";
    cluster.psql(sum).parse().unwrap()
}

#[test]
fn a_batch_reads_as_little_where_new_rows_lie_before_the_old_ones() {
    let cluster = Cluster::start_with(
        &postgres::Options::new(Tls::for_localhost()).setting("autovacuum = off"),
    );
    let owner = target(&cluster, OWNER);
    migrate::run(&owner, None).unwrap();
    insert_payments(&cluster, 40_000, "200 days");
    insert_payments(&cluster, 250, "100 days");
    // The first generation is removed, and its pages are reused for new rows.
    cluster.psql("DELETE FROM payments WHERE created_at < now() - interval '150 days'");
    cluster.psql("VACUUM payments");
    insert_payments(&cluster, 40_000, "1 day");
    cluster.psql("VACUUM payments");
    let pages = "SELECT count(DISTINCT (ctid::text::point)[0]) FROM payments \
        WHERE created_at > now() - interval '2 days' AND ctid < (SELECT min(ctid) FROM payments \
        WHERE created_at < now() - interval '2 days')";
    let pages: u64 = cluster.psql(pages).parse().unwrap();
    assert!(pages > 600, "{pages} pages of new rows come first");

    let before = pages_asked_for(&cluster);
    let age = Duration::from_secs(90 * 86_400);
    assert_eq!(prune::run(&owner, age, 25, |_| {}).unwrap(), 250);
    let asked = pages_asked_for(&cluster) - before;
    // For each row: its place in the index, the row itself, its lock and its removal. Reading the pages
    // before it in each of the eleven batches would add more than 20 for each row.
    assert!(asked < 250 * 12, "{asked} pages for 250 rows");
}

#[test]
fn a_pods_wrong_clock_lets_no_payment_go_too_early() {
    let cluster = Cluster::start(Tls::for_localhost());
    let owner = target(&cluster, OWNER);
    migrate::run(&owner, None).unwrap();
    let age = Duration::from_secs(90 * 86_400);
    let prune = || prune::run(&owner, age, 2, |_| {}).unwrap();

    for behind in ["-1 minute", "-5 days", "-20000 days"] {
        insert_payments_by_a_clock(&cluster, 3, "89 days", behind);
    }
    assert_eq!(prune(), 0);
    insert_payments_by_a_clock(&cluster, 3, "90 days 1 minute", "3 minutes");
    insert_payments_by_a_clock(&cluster, 3, "90 days 1 minute", "-1 hour");
    assert_eq!(prune(), 6);
    // Further ahead: it is removed once its id is old enough, too.
    insert_payments_by_a_clock(&cluster, 3, "90 days 1 minute", "2 days");
    assert_eq!(prune(), 0);
    let later = Duration::from_secs(88 * 86_400 - 120);
    assert_eq!(prune::run(&owner, later, 2, |_| {}).unwrap(), 12);
}

#[test]
fn prune_gives_up_on_a_table_that_another_session_keeps() {
    let cluster = Cluster::start(Tls::for_localhost());
    let owner = target(&cluster, OWNER);
    migrate::run(&owner, None).unwrap();
    let _held = cluster.hold("LOCK TABLE payments");
    let age = prune::parse_age("90d").unwrap();
    let error = prune::run(&owner, age, 10, |_| {}).unwrap_err().to_string();
    assert!(error.contains("SQLSTATE 55P03"), "{error}");
}

#[test]
fn an_age_that_reaches_behind_1970_removes_nothing() {
    let cluster = Cluster::start(Tls::for_localhost());
    let owner = target(&cluster, OWNER);
    migrate::run(&owner, None).unwrap();
    insert_payments(&cluster, 1, "90 days");
    let age = prune::parse_age("36500d").unwrap();
    assert_eq!(prune::run(&owner, age, 10, |_| {}).unwrap(), 0);
}

#[test]
fn two_prunes_at_the_same_moment_remove_each_payment_once() {
    let cluster = Cluster::start(Tls::for_localhost());
    let owner = target(&cluster, OWNER);
    migrate::run(&owner, None).unwrap();
    insert_payments(&cluster, 2_000, "2 hours");
    let age = prune::parse_age("1h").unwrap();
    let removed: u64 = std::thread::scope(|scope| {
        let run = || prune::run(&owner, age, 50, |_| {}).unwrap();
        let runs = [scope.spawn(run), scope.spawn(run)];
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    let left: u64 = cluster
        .psql("SELECT count(*) FROM payments")
        .parse()
        .unwrap();
    // One may end while the other still has the rest of its last batch locked, so a few rows
    // may remain, which does no harm; nothing is counted twice.
    assert_eq!(removed + left, 2_000);
    prune::run(&owner, age, 50, |_| {}).unwrap();
    assert_eq!(cluster.psql("SELECT count(*) FROM payments"), "0");
}

#[test]
fn the_application_may_not_prune() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster).unwrap();
    insert_payments(&cluster, 1, "2 hours");
    let age = prune::parse_age("1h").unwrap();
    let error = prune::run(&target(&cluster, APPLICATION), age, 10, |_| {}).unwrap_err();
    assert!(error.to_string().contains("SQLSTATE 42501"), "{error}");
}

#[test]
fn the_owner_connects_as_sslmode_says() {
    for (tls, modes) in [
        (Tls::for_localhost(), ["require", "verify-full"]),
        (Tls::Off, ["disable", "prefer"]),
    ] {
        let cluster = Cluster::start(tls);
        for mode in modes {
            let url = cluster.url(OWNER, mode);
            let owner = DatabaseTarget::parse(&url, "unknown").unwrap();
            migrate::run(&owner, None).unwrap_or_else(|e| panic!("{mode}: {e}"));
        }
    }
}
