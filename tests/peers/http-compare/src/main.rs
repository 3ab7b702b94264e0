//! `http-compare NAME=ADDRESS…`: sends every request of the table of cases to each server, and prints
//! the results as a table. It starts hyper by itself. Exits with 1 if servers differ on a case and
//! `reasons.rs` does not say why.

#[allow(dead_code, reason = "only the tests use the expected results")]
#[path = "../../../support/framing_cases.rs"]
mod framing_cases;
mod peer;
mod reasons;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use framing_cases::Case;

/// Sent after every case: a request that no case contains. Its answer, 404, shows that the server
/// found the end of the case in the right place.
const NEXT: &[u8] = b"GET /behind-the-case HTTP/1.1\r\nHost: behind\r\nConnection: close\r\n\r\n";
/// A server that sends nothing for this long is waiting for more.
const SILENCE: Duration = Duration::from_millis(400);

fn main() -> ExitCode {
    let mut servers: Vec<(String, SocketAddr)> = std::env::args()
        .skip(1)
        .map(|argument| {
            let (name, address) = argument.split_once('=').expect("NAME=ADDRESS");
            (name.to_owned(), address.parse().expect("an address"))
        })
        .collect();
    servers.push(("hyper".to_owned(), peer::start()));
    let cases = framing_cases::cases();
    let mut same = 0;
    // By reason, in the order of `REASONS`.
    let mut differing: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut unexplained = 0;
    for case in &cases {
        let outcomes: Vec<String> = servers.iter().map(|(_, at)| outcome(*at, case)).collect();
        if outcomes.iter().all(|outcome| *outcome == outcomes[0]) {
            same += 1;
            continue;
        }
        let cells = outcomes.join(" | ");
        let reason = reasons::REASONS
            .iter()
            .position(|(_, cases)| cases.contains(&case.name));
        match reason {
            Some(reason) => {
                let row = format!("| {} | {cells} |", case.name);
                differing.entry(reason).or_default().push(row);
            }
            None => {
                unexplained += 1;
                eprintln!("reasons.rs gives no reason: | {} | {cells} |", case.name);
            }
        }
    }
    let different: usize = differing.values().map(Vec::len).sum();
    println!(
        "{} requests: {same} come to the same at all of {}, {different} do not.",
        cases.len(),
        names(&servers).join(", "),
    );
    for (reason, rows) in &differing {
        println!("\n{}\n", reasons::REASONS[*reason].0);
        println!("| Request | {} |", names(&servers).join(" | "));
        println!("|---|{}", "---|".repeat(servers.len()));
        rows.iter().for_each(|row| println!("{row}"));
    }
    let stale = reasons::REASONS
        .iter()
        .enumerate()
        .flat_map(|(index, (_, names))| {
            let rows = differing.get(&index).map_or(&[][..], Vec::as_slice);
            let is_there = |name: &&str| {
                rows.iter()
                    .any(|row| row.starts_with(&format!("| {name} |")))
            };
            names.iter().filter(move |name| !is_there(name))
        });
    let stale: Vec<_> = stale.collect();
    for name in &stale {
        eprintln!("reasons.rs gives a reason for {name:?}, on which all agree");
    }
    ExitCode::from(u8::from(unexplained > 0 || !stale.is_empty()))
}

fn names(servers: &[(String, SocketAddr)]) -> Vec<&str> {
    servers.iter().map(|(name, _)| name.as_str()).collect()
}

/// The result of a case: the statuses of its answers (`taken` for any that an endpoint gives), then
/// `next` if the request after it was found, or else what happened to the connection.
fn outcome(server: SocketAddr, case: &Case) -> String {
    let mut socket = TcpStream::connect(server).expect("the server accepts connections");
    socket.set_nodelay(true).expect("a socket");
    socket.set_read_timeout(Some(SILENCE)).expect("a socket");
    // A server that has closed accepts no more bytes; its earlier answers are still to be read.
    let _ = socket.write_all(&case.bytes);
    let _ = socket.write_all(NEXT);
    let mut bytes = Vec::new();
    let mut buffer = [0; 65_536];
    let end = loop {
        match socket.read(&mut buffer) {
            Ok(0) => break "closed",
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break "waits",
            Err(_) => break "closed",
        }
    };
    let _ = socket.shutdown(Shutdown::Both);
    let mut statuses = statuses(&bytes, case.bytes.starts_with(b"HEAD "));
    let found = statuses.len() > 1 && statuses.last().is_some_and(|status| status == "404");
    if found {
        statuses.pop();
    }
    // Only this service has endpoints that refuse.
    let taken = |status: String| match status.as_str() {
        "200" | "401" | "404" | "405" => "taken".to_owned(),
        _ => status,
    };
    let mut parts: Vec<String> = statuses.into_iter().map(taken).collect();
    parts.push(if found { "next" } else { end }.to_owned());
    parts.join(", ")
}

/// The statuses of the answers in a stream.
fn statuses(mut bytes: &[u8], mut first_is_head: bool) -> Vec<String> {
    let mut statuses = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let Some(status) = head.strip_prefix("http/1.").and_then(|rest| rest.get(2..5)) else {
            break;
        };
        bytes = &bytes[end + 4..];
        let interim = status.starts_with('1');
        let length = head.split("\r\ncontent-length: ").nth(1);
        let length: usize = match length.and_then(|rest| rest.split("\r\n").next()) {
            Some(length) if !interim && !first_is_head => length.trim().parse().expect("a length"),
            _ => 0,
        };
        first_is_head &= interim;
        bytes = bytes.get(length..).unwrap_or_default();
        statuses.push(status.to_owned());
    }
    // An answer of HTTP/0.9 is content alone.
    if statuses.is_empty() && !bytes.is_empty() {
        statuses.push("content without a head".to_owned());
    }
    statuses
}
