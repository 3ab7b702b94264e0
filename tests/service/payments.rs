//! A 200 means that the row exists.

use crate::support::{Caller, Service, request, rows, shared};

#[test]
fn the_row_is_in_the_table_when_the_answer_arrives() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    for (query, amount, minor, exponent, currency, status, processing) in [
        ("", "100.00", "10000", "2", "EUR", "approved", 0),
        ("amount=12.3", "12.30", "1230", "2", "EUR", "approved", 0),
        (
            "amount=5&currency=JPY&outcome=declined",
            "5",
            "5",
            "0",
            "JPY",
            "declined",
            0,
        ),
        (
            "currency=KWD&amount=1.234&processing_ms=3",
            "1.234",
            "1234",
            "3",
            "KWD",
            "approved",
            3,
        ),
        (
            "amount=0.01&currency=MXN",
            "0.01",
            "1",
            "2",
            "MXN",
            "approved",
            0,
        ),
    ] {
        let answer = caller.pay(query, &[]);
        let id = answer.id();
        let body = answer.json();
        assert_eq!(body["amount"], amount);
        assert_eq!(body["currency"], currency);
        assert_eq!(body["status"], status);
        assert_eq!(body["region"], "eu-south-2");
        assert_eq!(body["processing_time_ms"], processing);
        assert!(body["database_time_ms"].as_f64().unwrap() > 0.0);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("server-timing").starts_with("db;dur="));
        assert_eq!(id.as_bytes()[14], b'7', "a UUID of version 7: {id}");
        let row = shared().psql(&format!(
            "SELECT amount_minor, amount_exponent, currency, status, region, processing_ms, \
             to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
             FROM payments WHERE transaction_id = '{id}'"
        ));
        let timestamp = body["timestamp"].as_str().unwrap();
        assert_eq!(
            row,
            format!("{minor}|{exponent}|{currency}|{status}|eu-south-2|{processing}|{timestamp}")
        );
    }
}

#[test]
fn the_default_currency_is_the_region_s() {
    for (region, currency) in [("eu-south-2", "EUR"), ("us-east-1", "MXN")] {
        let service = Service::start(shared(), &[("REGION", region)]);
        let body = service.pay("").json();
        assert_eq!(body["currency"], currency);
        assert_eq!(body["region"], region);
    }
}

#[test]
fn pipelined_payments_are_answered_in_order_and_each_is_written() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let mut bytes = Vec::new();
    for amount in 1..=40 {
        let target = format!("/api/payment/simulate?amount={amount}");
        bytes.extend(request(
            "GET",
            &target,
            &[("X-API-Key", crate::support::KEY)],
        ));
        bytes.extend(request("GET", "/livez", &[]));
    }
    caller.send(&bytes);
    for amount in 1..=40 {
        let answer = caller.receive();
        assert_eq!(answer.json()["amount"], format!("{amount}.00"));
        assert_eq!(rows(shared(), &answer.id()), "1");
        assert_eq!(caller.receive().text(), r#"{"status":"alive"}"#);
    }
}

#[test]
fn many_callers_at_once_share_commits_and_every_one_gets_its_own_payment() {
    let service = Service::start(shared(), &[("POOL_SIZE", "2")]);
    let address = service.address;
    let threads: Vec<_> = (0..64)
        .map(|number| {
            std::thread::spawn(move || {
                let mut caller = Caller::connect(address);
                let amounts = (0..20).map(|round| number * 20 + round + 1);
                let paid = amounts.map(|amount| {
                    let answer = caller.pay(&format!("amount={amount}&currency=JPY"), &[]);
                    assert_eq!(answer.json()["amount"], amount.to_string());
                    (answer.id(), amount)
                });
                paid.collect::<Vec<(String, i32)>>()
            })
        })
        .collect();
    let rows = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap());
    let expected: std::collections::BTreeMap<String, i32> = rows.collect();
    assert_eq!(expected.len(), 64 * 20, "no id occurs twice");
    let found =
        shared().psql("SELECT transaction_id, amount_minor FROM payments WHERE currency = 'JPY'");
    let found: std::collections::BTreeMap<&str, &str> = found
        .lines()
        .filter_map(|line| line.split_once('|'))
        .collect();
    for (id, amount) in &expected {
        assert_eq!(
            found.get(id.as_str()),
            Some(&amount.to_string().as_str()),
            "{id}"
        );
    }
    let single = service.metric("database_batch_size_bucket{le=\"1\"}");
    assert!(
        single < service.metric("database_batch_size_count"),
        "some shared an exchange"
    );
}
