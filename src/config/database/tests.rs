//! Which URLs are targets, why others are not, and that no sentence shows a password.

use super::*;

const PLANTED: &str = "hunter2Planted";

fn parse(url: &str) -> Result<DatabaseTarget, String> {
    DatabaseTarget::parse(url, "eu-south-2")
}

#[test]
#[allow(clippy::too_many_lines)] // a table
fn valid_urls_give_their_target() {
    for (url, shown) in [
        (
            "postgresql://app:pw@db.example.com:6432/payments?sslmode=verify-full",
            "app:***@db.example.com:6432/payments?sslmode=verify-full",
        ),
        (
            "postgres://app:pw@db.example.com/payments",
            "app:***@db.example.com:5432/payments?sslmode=prefer",
        ),
        (
            "postgres://app@db.example.com:/payments",
            "app@db.example.com:5432/payments?sslmode=prefer",
        ),
        (
            "postgres://app:@db.example.com/payments?",
            "app@db.example.com:5432/payments?sslmode=prefer",
        ),
        (
            "postgres://app:pw@[2001:db8::1]:5433/payments?sslmode=require",
            "app:***@[2001:db8::1]:5433/payments?sslmode=require",
        ),
        (
            "postgres://app:pw@[::1]/payments?sslmode=disable",
            "app:***@[::1]:5432/payments?sslmode=disable",
        ),
        (
            "postgres://app:pw@127.0.0.1/payments?sslmode=verify-ca",
            "app:***@127.0.0.1:5432/payments?sslmode=verify-ca",
        ),
        (
            "postgres:///payments?host=db.example.com&port=6000&user=app&password=pw",
            "app:***@db.example.com:6000/payments?sslmode=prefer",
        ),
        (
            "postgres://db.example.com?dbname=payments&user=app",
            "app@db.example.com:5432/payments?sslmode=prefer",
        ),
        (
            "postgres://a%40b:pw@db.example.com/pay%2Fments?&sslmode=prefer&&",
            "a@b:***@db.example.com:5432/pay/ments?sslmode=prefer",
        ),
        (
            "postgres://app:pw@db.example.com/payments?channel_binding=prefer",
            "app:***@db.example.com:5432/payments?sslmode=prefer",
        ),
        (
            "postgres://app:pw@db.example.com/payments?sslmode=require&sslrootcert=/etc/ca%20root.pem",
            "app:***@db.example.com:5432/payments?sslmode=verify-ca&sslrootcert=/etc/ca root.pem",
        ),
        (
            "postgres://app:pw@db.example.com/payments?sslmode=disable&sslrootcert=ca.pem",
            "app:***@db.example.com:5432/payments?sslmode=disable&sslrootcert=ca.pem",
        ),
        (
            "postgres://app:pw@db.example.com/payments?sslrootcert=ca.pem",
            "app:***@db.example.com:5432/payments?sslmode=prefer&sslrootcert=ca.pem",
        ),
        (
            "postgres://app:pw@db.example.com/payments?sslrootcert=ca.pem&ssl%6dode=verify%2Dfull",
            "app:***@db.example.com:5432/payments?sslmode=verify-full&sslrootcert=ca.pem",
        ),
    ] {
        let expected = format!("postgresql://{shown}&application_name=payment-latency-api");
        assert_eq!(
            parse(url).map(|target| target.to_string()),
            Ok(expected),
            "{url}"
        );
    }
    let named =
        parse("postgres://app@db.example.com/payments?application_name=api%20spain").unwrap();
    assert_eq!(named.application_name, "api spain");
}

#[test]
fn percent_encoded_passwords_arrive_as_they_are() {
    for (encoded, password) in [
        ("pw", "pw"),
        ("p%40ss%2Fw%3Ard%3F%25", "p@ss/w:rd?%"),
        ("a:b:c", "a:b:c"),
        ("a#b&c=d+e!$*()", "a#b&c=d+e!$*()"),
        ("contrase%C3%B1a", "contraseña"),
        ("contraseña", "contraseña"),
        ("%5Bbracket%5D", "[bracket]"),
        ("%20", " "),
    ] {
        let target = parse(&format!("postgres://app:{encoded}@db.example.com/payments")).unwrap();
        assert_eq!(target.password.unwrap().expose(), password);
    }
}

/// Each reason is the beginning of the refusal of its URLs.
fn assert_refused(table: &[(&str, &[&str])]) {
    for (reason, urls) in table {
        for url in *urls {
            let error = parse(url).unwrap_err();
            assert!(error.starts_with(reason), "{url}: {error}");
        }
    }
}

#[test]
#[allow(clippy::too_many_lines)] // a table
fn what_names_no_single_place_is_refused() {
    assert_refused(&[
        (
            "is not a PostgreSQL URL",
            &[
                "",
                "mysql://app:pw@db.example.com/payments",
                "POSTGRES://app:pw@db.example.com/payments",
                "host=db.example.com",
            ],
        ),
        (
            "has no user",
            &[
                "postgres://",
                "postgres://db.example.com/payments",
                "postgres://:pw@db.example.com/payments",
            ],
        ),
        (
            "has no database",
            &[
                "postgres://app:pw@db.example.com",
                "postgres://app:pw@db.example.com/",
            ],
        ),
        (
            "has no host",
            &[
                "postgres://app:pw@/payments",
                "postgres://app:pw@:5432/payments",
            ],
        ),
        (
            "names more than one host",
            &[
                "postgres://app:pw@one.example.com,two.example.com/payments",
                "postgres://app:pw@one.example.com/payments?host=two.example.com",
                "postgres://app:pw@/payments?host=one,two",
            ],
        ),
        (
            "names a Unix socket",
            &[
                "postgres://app:pw@/payments?host=/run/postgresql",
                "postgres://app:pw@%2Frun%2Fpostgresql/payments",
            ],
        ),
        (
            "the host is neither",
            &[
                "postgres://app:pw@db_!.example.com/payments",
                "postgres://app:pw@d%C3%B1.example.com/payments",
                "postgres://app:pw@[fe80::1%25eth0]/payments",
            ],
        ),
        (
            "the port must be",
            &[
                "postgres://app:pw@2001:db8::1/payments",
                "postgres://app:pw@[::1/payments",
                "postgres://app:pw@db.example.com:0/payments",
                "postgres://app:pw@db.example.com:65536/payments",
                "postgres://app:pw@db.example.com:pg/payments",
                "postgres://%ff:pw@db.example.com/payments",
            ],
        ),
        (
            "names more than one port",
            &["postgres://app:pw@db.example.com:1/payments?port=2"],
        ),
        (
            "the host is in the AWS region us-east-1, but REGION is eu-south-2",
            &["postgres://app:pw@db.abc123.us-east-1.rds.amazonaws.com/payments"],
        ),
    ]);
}

#[test]
fn what_could_be_taken_apart_in_two_ways_is_refused() {
    assert_refused(&[
        (
            "contains a space",
            &[
                "host=db.example.com user=app",
                "postgres://app:p w@db.example.com/payments",
                "postgres://app:pw@db.example.com/payments\n",
            ],
        ),
        (
            "contains a `%`",
            &[
                "postgres://app:p%zz@db.example.com/payments",
                "postgres://app:p%4@db.example.com/payments",
            ],
        ),
        (
            "contains %00",
            &["postgres://app:p%00@db.example.com/payments"],
        ),
        (
            "the password is not UTF-8",
            &["postgres://app:%ff@db.example.com/payments"],
        ),
        (
            "the user name contains a control",
            &["postgres://a%0Ab:pw@db.example.com/payments"],
        ),
        (
            "the database name contains a control",
            &["postgres://app:pw@db.example.com/pay%1bments"],
        ),
        (
            "has an extra `@`",
            &[
                "postgres://app:p@w@db.example.com/payments",
                "postgres://app:p/w@db.example.com/payments",
                "postgres://app:p?w@db.example.com/payments",
            ],
        ),
        (
            "the user name contains a colon",
            &["postgres://app%3Apw@db.example.com/payments"],
        ),
    ]);
}

#[test]
fn parameters_that_cannot_be_used_are_refused_with_their_reason() {
    let root = "postgres://app:pw@db.example.com/payments";
    for (query, reason) in [
        (
            "sslmode=allow",
            "the parameter sslmode must be disable, prefer",
        ),
        ("sslmode=VERIFY-FULL", "the parameter sslmode must be"),
        ("sslmode=", "the parameter sslmode has no value"),
        ("sslmode", "the parameter sslmode has no value"),
        ("sslmode=%ff", "the parameter sslmode is not UTF-8"),
        (
            "sslmode=require&sslmode=disable",
            "the parameter sslmode is repeated",
        ),
        (
            "sslrootcert=system&sslmode=verify-full",
            "the parameter sslrootcert must be a file path",
        ),
        (
            "sslrootcert=a%0Ab",
            "the parameter sslrootcert contains a control",
        ),
        (
            "options=-c%20search_path%3Da",
            "the parameter options is not accepted: RDS Proxy",
        ),
        (
            "target_session_attrs=read-write",
            "the parameter target_session_attrs is not accepted: there",
        ),
        (
            "hostaddr=127.0.0.1",
            "the parameter hostaddr is not accepted: use the host",
        ),
        (
            "connect_timeout=10",
            "the parameter connect_timeout is not accepted: set CONNECT",
        ),
        (
            "channel_binding=require",
            "the parameter channel_binding must be prefer",
        ),
        (
            "channel_binding=disable",
            "the parameter channel_binding must be prefer",
        ),
        (
            "sslcert=a.pem",
            "the parameter sslcert is not accepted; use only",
        ),
        (
            "sslmod=require",
            "the parameter sslmod is not accepted; use only",
        ),
        (
            "password=b&other=1",
            "parameter 2 of the query is not accepted",
        ),
        (
            "application_name=%C3%B1",
            "the parameter application_name must be",
        ),
    ] {
        let error = parse(&format!("{root}?{query}")).unwrap_err();
        assert!(error.starts_with(reason), "{query}: {error}");
    }
}

#[test]
fn only_a_proven_server_gives_no_warning() {
    for (mode, warned) in [
        ("disable", true),
        ("prefer", true),
        ("require", true),
        ("verify-ca", true),
        ("verify-full", false),
    ] {
        let target = parse(&format!(
            "postgres://app:pw@db.example.com/payments?sslmode={mode}"
        ))
        .unwrap();
        assert_eq!(target.ssl_mode.as_str(), mode);
        assert_eq!(target.warning().is_some(), warned, "{mode}");
    }
}

/// Every single-character deletion, replacement and insertion around a planted password, and
/// the places where people put one by mistake.
#[test]
#[allow(clippy::too_many_lines)] // a table
fn no_malformed_url_shows_its_password() {
    let mut urls: Vec<String> = [
        "PW",
        "postgres://PW",
        "postgres://PW/payments",
        "postgres://app:PW",
        "postgres://app:PW/payments",
        "postgres:app:PW@db.example.com/payments",
        "postgres:/app:PW@db.example.com/payments",
        "http://app:PW@db.example.com/payments",
        "postgres://app:PW@",
        "postgres://app:PW@/",
        "postgres://app:p@PW@db.example.com/payments",
        "postgres://app:p@PW/x@db.example.com/payments",
        "postgres://app:p/PW@db.example.com/payments",
        "postgres://app:p?PW@db.example.com/payments",
        "postgres://app:p?PW=1@db.example.com/payments",
        "postgres://app:p?PW=1",
        "postgres://app:p?PW",
        "postgres://app:p?x=1&PW=1",
        "postgres://app@db.example.com:PW/payments",
        "postgres://app:p%zzPW@db.example.com/payments",
        "postgres://app:p%ffPW@db.example.com/payments",
        "postgres://app%3APW@db.example.com/payments",
        "postgres://app:p PW@db.example.com/payments",
        "postgres://app:PW@db.us-east-1.example.com/payments",
        "postgres://app:PW@a,b/payments",
        "postgres://app@db.example.com/payments?password=p&PW=1",
        "postgres://app@db.example.com/payments?password=p&PW",
        "postgres://app@db.example.com/payments?PW=1&password=p",
        "postgres://app@db.example.com/payments?pass%77ord=p&PW=1",
        "postgres://db.example.com/payments?PW=1",
        "postgres://app@db.example.com/payments?password=PW&password=PW",
        "postgres://app@db.example.com/payments?sslmode=PW",
        "postgres://app@db.example.com/payments?password=PW&options=PW",
        "postgres://app@db.example.com?password=PW",
        "user=app password=PW",
        "{\"password\":\"PW\"}",
    ]
    .iter()
    .map(|url| url.replace("PW", PLANTED))
    .collect();
    let valid = [
        format!("postgres://app:{PLANTED}@db.example.com:5432/payments?sslmode=verify-full"),
        format!(
            "postgres://db.example.com:5432/payments?user=app&password={PLANTED}&sslmode=require"
        ),
    ];
    for url in &valid {
        let planted = url.find(PLANTED).unwrap();
        let outside = (0..=url.len()).filter(|at| *at <= planted || *at >= planted + PLANTED.len());
        for at in outside {
            let (before, after) = url.split_at(at);
            for wrong in [
                ":", "/", "@", "?", "#", "&", "=", "%", "[", "]", ",", " ", "\n", "\0", "ñ", "%3A",
                "",
            ] {
                urls.push(format!("{before}{wrong}{after}"));
                if !after.is_empty() && at != planted {
                    urls.push(format!("{before}{wrong}{}", &after[1..]));
                }
            }
        }
    }
    assert!(urls.len() > 3_000);
    let mut refused = 0;
    for url in &urls {
        match parse(url) {
            Err(sentence) => {
                refused += 1;
                assert!(!sentence.contains(PLANTED), "{url:?}: {sentence}");
            }
            // Without the colon it is a valid name of a user that has no password.
            Ok(target) if target.password.is_none() => {}
            Ok(target) => {
                let shown = format!("{target} {target:?} {target:#?} {:?}", target.warning());
                assert!(!shown.contains(PLANTED), "{url:?}: {shown}");
            }
        }
    }
    assert!(refused > 1_500, "{refused}");
}
