//! The floor of a payment's CPU time: the system calls that no implementation can do without, and nothing else.
//!
//! One thread, one epoll. A request is read up to its empty line, and an answer as long as the service's is written;
//! if `DATABASE_URL_FILE` is set, a payment is made between the two, on one blocking connection. Nothing is checked.

use payment_latency_harness::wire::Wire;
use rustix::event::epoll;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Fri, 02 Jan 2026 03:04:05 GMT\r\n\
    X-Request-Id: 72998b10f8dc795e40094eaf05c536eb\r\n\
    Cache-Control: no-store\r\n\
    Server-Timing: db;dur=2.177, total;dur=2.218\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 223\r\n\
    \r\n\
    {\"transaction_id\":\"019b7ca9-8f2e-7c55-88a8-e96e4811715c\",\"status\":\"approved\",\"amount\":\"12.34\",\
    \"currency\":\"EUR\",\"region\":\"eu-south-2\",\"processing_time_ms\":0,\"database_time_ms\":2.177,\
    \"timestamp\":\"2026-01-02T03:04:05.678901Z\"}";

const LISTENER: u64 = u64::MAX;

fn main() -> Result<()> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let url_file = std::env::var_os("DATABASE_URL_FILE");
    let mut wire = url_file.map(|file| Wire::open(&file)).transpose()?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let watch = |source: &dyn rustix::fd::AsFd, number| {
        let data = epoll::EventData::new_u64(number);
        epoll::add(&poll, source, data, epoll::EventFlags::IN)
    };
    watch(&listener, LISTENER)?;
    let mut places: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let number = event.data.u64();
            if number == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                watch(&stream, places.len() as u64)?;
                places.push(Some(stream));
                continue;
            }
            let place = &mut places[usize::try_from(number)?];
            if let Some(stream) = place
                && !answered(stream, wire.as_mut())?
            {
                *place = None;
            }
        }
    }
}

/// False when the connection has ended. The generator's request arrives in one piece.
fn answered(stream: &mut TcpStream, wire: Option<&mut Wire>) -> Result<bool> {
    let mut request = [0; 4_096];
    match stream.read(&mut request) {
        Ok(count) if request[..count].ends_with(b"\r\n\r\n") => {}
        _ => return Ok(false),
    }
    if let Some(wire) = wire {
        wire.pay()?;
    }
    Ok(stream.write_all(ANSWER).is_ok())
}
