//! The verb `probe`, against servers whose answers and delays are known.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "a failure here is the test's failure"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that answers request number `n` with what `answer` returns; an empty answer closes the connection.
fn serve(answer: impl Fn(u32) -> String + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::new((AtomicU32::new(0), answer));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let state = state.clone();
            std::thread::spawn(move || answer_all(stream, &state.0, &state.1));
        }
    });
    url
}

fn answer_all(stream: TcpStream, count: &AtomicU32, answer: &impl Fn(u32) -> String) {
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        let text = answer(count.fetch_add(1, Ordering::Relaxed));
        let closes =
            text.is_empty() || text.contains("Connection: close") || text.contains("Length: 99");
        if stream.get_mut().write_all(text.as_bytes()).is_err() || closes {
            return;
        }
    }
}

fn probe(arguments: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_payment-latency-api"))
        .arg("probe")
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    (status.code(), text)
}

#[test]
fn one_request_tells_by_its_exit_code_whether_the_answer_was_2xx() {
    for (answer, code, text) in [
        (OK, 0, "200 in "),
        ("HTTP/1.1 204 No Content\r\n\r\n", 0, "204 in "),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             2;x\r\nok\r\n0\r\nT: v\r\n\r\n",
            0,
            "200 in ",
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end",
            0,
            "200 in ",
        ),
        (
            "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
            1,
            "302 in ",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            1,
            "503 in ",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
            1,
            "closed before the answer ended",
        ),
        ("", 1, "closed before the answer ended"),
        ("SSH-2.0-example\r\n", 1, "not HTTP/1"),
    ] {
        let url = serve(move |_| answer.to_owned());
        let (found, output) = probe(&[&url]);
        assert_eq!(found, Some(code), "{answer:?}: {output}");
        assert!(output.contains(text), "{answer:?}: {output}");
    }
}

#[test]
fn a_request_has_one_host_whatever_other_headers_are_called() {
    for (header, host) in [
        ("X-Forwarded-Host: a", "Host: 127.0.0.1:"),
        ("X-Path: b:host:c", "Host: 127.0.0.1:"),
        ("host: pay.example.com", "host: pay.example.com\r"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            stream.write_all(OK.as_bytes()).unwrap();
            head
        });
        assert_eq!(probe(&[&url, "--header", header]).0, Some(0));
        let head = asked.join().unwrap();
        let hosts = |line: &&str| line.to_ascii_lowercase().starts_with("host:");
        assert_eq!(head.lines().filter(hosts).count(), 1, "{head}");
        assert!(head.contains(&format!("\n{host}")), "{head}");
    }
}

#[test]
fn a_server_that_is_not_there_or_does_not_answer_is_a_failure() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (code, output) = probe(&[&format!("http://127.0.0.1:{port}/")]);
    assert_eq!(
        (code, output.trim()),
        (Some(1), "failed: could not connect")
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let (code, output) = probe(&[&url, "--timeout-ms", "100"]);
    assert_eq!((code, output.trim()), (Some(1), "failed: timed out"));
}

#[test]
fn a_loop_counts_every_answer_and_fails_for_any_that_is_not_2xx() {
    let url = serve(|_| OK.to_owned());
    let (code, output) = probe(&[
        &url,
        "--rate",
        "2000",
        "--count",
        "500",
        "--limit-p99-ms",
        "60000",
    ]);
    assert_eq!(code, Some(0), "{output}");
    for part in [
        "500 requests in",
        "answered 200: 500",
        "p99.9",
        "within the limit",
    ] {
        assert!(output.contains(part), "{part} in {output}");
    }
    let url = serve(|number| match number % 10 {
        0 => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
        1 => String::new(),
        2 => OK.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
        _ => OK.to_owned(),
    });
    let (code, output) = probe(&[&url, "--rate", "2000", "--count", "500"]);
    assert_eq!(code, Some(1), "{output}");
    for part in [
        "answered 200: 400",
        "answered 503: 50",
        "closed before the answer ended: 50",
    ] {
        assert!(output.contains(part), "{part} in {output}");
    }
}

#[test]
fn a_limit_that_is_passed_fails() {
    let url = serve(|_| {
        std::thread::sleep(Duration::from_millis(50));
        OK.to_owned()
    });
    let (code, output) = probe(&[
        &url,
        "--rate",
        "100",
        "--count",
        "20",
        "--limit-p99-ms",
        "40",
    ]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("above the limit of 40 ms"), "{output}");
}

#[test]
fn a_request_has_one_time_limit_however_many_pieces_its_answer_comes_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        // A line that would become too long, but takes longer than the time limit to do so.
        for mut stream in listener.incoming().map_while(Result::ok) {
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let (code, output) = probe(&[&url, "--timeout-ms", "1000"]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("timed out"), "{output}");
}

#[test]
fn a_server_that_does_not_answer_holds_it_up_for_one_time_limit_not_for_one_a_request() {
    let url = serve(|_| {
        std::thread::sleep(Duration::from_secs(3_600));
        String::new()
    });
    let load = ["--rate", "1000", "--count", "500", "--connections", "1"];
    let (code, output) = probe(&[&[&*url, "--timeout-ms", "400"], &load[..]].concat());
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("timed out: 500"), "{output}");
    let seconds = output.split("500 requests in ").nth(1).unwrap();
    let seconds: f64 = seconds.split(' ').next().unwrap().parse().unwrap();
    assert!(seconds < 100.0, "500 limits are 200 s: {output}");
}

#[test]
fn a_signal_ends_it_with_the_code_of_a_shell() {
    let url = serve(|_| OK.to_owned());
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut running = Command::new(env!("CARGO_BIN_EXE_payment-latency-api"))
            .args(["probe", &url, "--rate", "1", "--duration", "60m"])
            .spawn()
            .unwrap();
        let id = running.id().to_string();
        // Before it handles the signal, the signal's default action would kill it.
        let listens = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
            let caught = status.split("SigCgt:\t").nth(1).unwrap();
            let caught = u64::from_str_radix(caught.lines().next().unwrap(), 16).unwrap();
            let both = 1 << (15 - 1) | 1 << (2 - 1);
            caught & both == both
        });
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        let ended = running.wait().unwrap();
        assert!(listens && sent.unwrap().success());
        assert_eq!(ended.code(), Some(code), "{ended}");
    }
}

#[test]
fn a_stall_is_seen_by_all_requests_that_were_due_in_it() {
    // One connection, 200 requests a second, one stall of a second: a generator that waits for its
    // answer would report one slow request, but all requests of that second were slow.
    let url = serve(|number| {
        if number == 50 {
            std::thread::sleep(Duration::from_secs(1));
        }
        OK.to_owned()
    });
    let arguments = [
        url.as_str(),
        "--rate",
        "200",
        "--count",
        "400",
        "--connections",
        "1",
    ];
    let (code, output) = probe(&[&arguments[..], &["--limit-p99-ms", "500"]].concat());
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("answered 200: 400"), "{output}");
}

#[test]
fn a_wrong_command_line_says_what_is_wrong() {
    for (arguments, part) in [
        (&["https://api.example.com/"][..], "http://"),
        (&["http://a", "--rate", "0"], "--rate"),
        (&["http://a", "--quickly"], "--quickly"),
    ] {
        let (code, output) = probe(arguments);
        assert_eq!(code, Some(64), "{output}");
        assert!(output.contains(part), "{output}");
    }
    assert_eq!(probe(&["--help"]).0, Some(0));
}
