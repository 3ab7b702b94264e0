//! The byte transport under PostgreSQL's messages: plain, or TLS records around them.
//!
//! Pure state: it never touches a socket. The socket's owner writes [`Transport::outgoing`] to it
//! and reads into [`Transport::read_space`]; the same code therefore runs under the blocking
//! handshake, under the runtime, and in the simulation.

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use std::sync::Arc;

use crate::limits::{
    PG_BUFFER_BYTES, PG_MESSAGE_MAX_BYTES, TLS_INCOMING_MAX_BYTES, TLS_RECORD_MAX_BYTES,
};
use crate::pg::bytes::{ByteQueue, Full};

/// Room that one sealed record of a payment needs beyond its plaintext.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// Why a transport cannot go on. Every one of these ends the connection.
#[derive(Debug)]
pub enum TransportError {
    /// The TLS layer refused; for a certificate, the reason is inside.
    Tls(rustls::Error),
    /// The peer sent more than the buffers' bound without completing a message.
    TooLarge,
    /// The peer closed the TLS session.
    Closed,
}

impl From<Full> for TransportError {
    fn from(_: Full) -> Self {
        Self::TooLarge
    }
}

/// The two directions of one connection to PostgreSQL.
pub struct Transport {
    tls: Option<Box<UnbufferedClientConnection>>,
    /// Ciphertext received and not yet decrypted; unused on a plain connection.
    incoming: ByteQueue,
    /// What waits to be written to the socket.
    outgoing: ByteQueue,
    /// Messages of PostgreSQL, as received.
    messages: ByteQueue,
    handshaking: bool,
    /// The server has ended the TLS session, which rustls says only once.
    closed: bool,
}

impl Transport {
    /// A connection without TLS.
    pub fn plain() -> Self {
        Self {
            tls: None,
            incoming: ByteQueue::new(0, 0),
            outgoing: ByteQueue::new(PG_BUFFER_BYTES, TLS_INCOMING_MAX_BYTES),
            messages: ByteQueue::new(PG_BUFFER_BYTES, PG_MESSAGE_MAX_BYTES),
            handshaking: false,
            closed: false,
        }
    }

    /// A TLS session that begins with the next bytes; drive it with [`Self::received`] until
    /// [`Self::is_handshaking`] is false.
    pub fn tls(
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, TransportError> {
        let session = UnbufferedClientConnection::new(config, name).map_err(TransportError::Tls)?;
        let mut transport = Self {
            tls: Some(Box::new(session)),
            incoming: ByteQueue::new(PG_BUFFER_BYTES, TLS_INCOMING_MAX_BYTES),
            outgoing: ByteQueue::new(PG_BUFFER_BYTES, TLS_INCOMING_MAX_BYTES),
            messages: ByteQueue::new(PG_BUFFER_BYTES, PG_MESSAGE_MAX_BYTES),
            handshaking: true,
            closed: false,
        };
        transport.advance()?;
        Ok(transport)
    }

    /// Whether the TLS handshake still goes on.
    pub fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    /// Whether the server has ended the TLS session.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether messages travel inside TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The certificate that the server presented, for channel binding.
    pub fn server_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.as_ref()?.peer_certificates()?.first()
    }

    /// Bytes to write to the socket.
    pub fn outgoing(&self) -> &[u8] {
        self.outgoing.filled()
    }

    /// Notes that `count` bytes of [`Self::outgoing`] were written.
    pub fn sent(&mut self, count: usize) {
        self.outgoing.consume(count);
    }

    /// Queues messages for sending, sealed when the connection is a TLS one.
    pub fn send(&mut self, plaintext: &[u8]) -> Result<(), TransportError> {
        if self.closed {
            return Err(TransportError::Closed);
        }
        let Some(tls) = self.tls.as_deref_mut() else {
            return Ok(self.outgoing.push(plaintext)?);
        };
        // Bytes received of an incomplete message have to be passed in as well: rustls counts on
        // them.
        let UnbufferedStatus { discard, state } =
            tls.process_tls_records(self.incoming.filled_mut());
        match state.map_err(TransportError::Tls)? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let mut wanted = plaintext.len() + RECORD_OVERHEAD_BYTES;
                loop {
                    let room = self.outgoing.spare(wanted)?;
                    match traffic.encrypt(plaintext, room) {
                        Ok(count) => break self.outgoing.fill(count),
                        Err(EncryptError::InsufficientSize(e)) if e.required_size > wanted => {
                            wanted = e.required_size;
                        }
                        Err(_) => return Err(TransportError::Closed),
                    }
                }
            }
            // Whole records were handled on receipt, so the session is about to end.
            _ => return Err(TransportError::Closed),
        }
        self.incoming.consume(discard);
        Ok(())
    }

    /// Where the socket's bytes go.
    pub fn read_space(&mut self) -> Result<&mut [u8], TransportError> {
        const WANTED: usize = 1_024;
        if self.closed {
            return Err(TransportError::Closed);
        }
        let queue = if self.tls.is_some() {
            &mut self.incoming
        } else {
            &mut self.messages
        };
        Ok(queue.spare(WANTED)?)
    }

    /// Takes in `count` bytes that were read into [`Self::read_space`].
    pub fn received(&mut self, count: usize) -> Result<(), TransportError> {
        if self.tls.is_none() {
            self.messages.fill(count);
            return Ok(());
        }
        self.incoming.fill(count);
        self.advance()
    }

    /// PostgreSQL's messages received so far.
    pub fn messages(&self) -> &[u8] {
        self.messages.filled()
    }

    /// Removes `count` bytes of messages.
    pub fn consume_messages(&mut self, count: usize) {
        self.messages.consume(count);
    }

    /// Lets the TLS session work on what was received until it needs the peer.
    fn advance(&mut self) -> Result<(), TransportError> {
        let Some(tls) = self.tls.as_deref_mut() else {
            return Ok(());
        };
        loop {
            let UnbufferedStatus { mut discard, state } =
                tls.process_tls_records(self.incoming.filled_mut());
            let mut blocked = false;
            match state.map_err(TransportError::Tls)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(TransportError::Tls)?;
                        self.messages.push(record.payload)?;
                        discard += record.discard;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut wanted = TLS_RECORD_MAX_BYTES.min(PG_BUFFER_BYTES / 2);
                    loop {
                        match data.encode(self.outgoing.spare(wanted)?) {
                            Ok(count) => break self.outgoing.fill(count),
                            Err(EncodeError::InsufficientSize(e)) if e.required_size > wanted => {
                                wanted = e.required_size;
                            }
                            Err(_) => return Err(TransportError::Closed),
                        }
                    }
                }
                // The bytes stay queued in `outgoing`; the socket's owner writes them next.
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::BlockedHandshake => blocked = true,
                ConnectionState::WriteTraffic(_) => {
                    self.handshaking = false;
                    blocked = true;
                }
                // A server that refuses says why and closes, often in one segment: what it said comes
                // first, and the next read finds the end.
                ConnectionState::PeerClosed if !self.messages.filled().is_empty() => {
                    self.closed = true;
                    blocked = true;
                }
                _ => return Err(TransportError::Closed),
            }
            self.incoming.consume(discard);
            if blocked {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};
    use std::io::{Read, Write};

    /// Both ends of a session: the server's handshake messages come in records of `fragment` bytes at most.
    fn ends(fragment: usize) -> (Transport, ServerConnection) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        server.max_fragment_size = Some(fragment);
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let transport = Transport::tls(Arc::new(client), name).unwrap();
        (transport, ServerConnection::new(Arc::new(server)).unwrap())
    }

    fn to_server(transport: &mut Transport, server: &mut ServerConnection) {
        while !transport.outgoing().is_empty() {
            let count = server.read_tls(&mut transport.outgoing()).unwrap();
            transport.sent(count);
            server.process_new_packets().unwrap();
        }
    }

    fn from_server(server: &mut ServerConnection) -> Vec<u8> {
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn receive(transport: &mut Transport, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.read(transport.read_space().unwrap()).unwrap();
            transport.received(count).unwrap();
        }
    }

    fn shake_hands(fragment: usize) -> (Transport, ServerConnection) {
        let (mut transport, mut server) = ends(fragment);
        while transport.is_handshaking() {
            to_server(&mut transport, &mut server);
            let bytes = from_server(&mut server);
            receive(&mut transport, &bytes);
        }
        to_server(&mut transport, &mut server);
        (transport, server)
    }

    #[test]
    fn a_session_that_the_server_ends_behind_an_answer_is_of_no_further_use() {
        let (mut transport, mut server) = shake_hands(4_096);
        server.writer().write_all(b"answer").unwrap();
        server.send_close_notify();
        receive(&mut transport, &from_server(&mut server));
        assert_eq!(transport.messages(), b"answer");
        transport.consume_messages(6);
        let sent = transport.send(b"payment");
        assert!(matches!(sent, Err(TransportError::Closed)), "{sent:?}");
        let space = transport.read_space();
        assert!(matches!(space, Err(TransportError::Closed)), "{space:?}");
    }

    #[test]
    fn what_is_sent_between_two_records_of_one_handshake_message_arrives() {
        let (mut transport, mut server) = shake_hands(32);
        let tickets = from_server(&mut server);
        let first = 5 + usize::from(u16::from_be_bytes([tickets[3], tickets[4]]));
        assert!(
            2 * first < tickets.len(),
            "two tickets take more than two records"
        );
        receive(&mut transport, &tickets[..first]);
        transport.send(b"payment").unwrap();
        receive(&mut transport, &tickets[first..]);
        transport.send(b", payment").unwrap();
        to_server(&mut transport, &mut server);
        let mut received = [0; 16];
        server.reader().read_exact(&mut received).unwrap();
        assert_eq!(&received, b"payment, payment");
        server.writer().write_all(b"written").unwrap();
        let answer = from_server(&mut server);
        receive(&mut transport, &answer);
        assert_eq!(transport.messages(), b"written");
    }
}
