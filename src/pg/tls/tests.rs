use super::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConnection, ServerConfig, ServerConnection};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOST: &str = "db.example.com";

/// A server's certificate and what a client should be told to trust.
struct Server {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    root: String,
}

fn params(name: &str, is_ca: bool, last_year: i32) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

fn self_signed(params: &CertificateParams) -> Server {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Server {
        root: certificate.pem(),
        certificate: certificate.der().clone(),
        key,
    }
}

fn issued(params: &CertificateParams) -> Server {
    let authority = self_signed(&self::params("authority.example.com", true, 2049));
    let issuer_params = self::params("authority.example.com", true, 2049);
    let issuer = Issuer::new(issuer_params, authority.key);
    let key = KeyPair::generate().unwrap();
    Server {
        certificate: params.signed_by(&key, &issuer).unwrap().der().clone(),
        key,
        root: authority.root,
    }
}

/// Both ends of TLS in memory; the error is what an operator would read.
fn handshake(server: &Server, config: Arc<ClientConfig>) -> Result<Vec<u8>, String> {
    let key = PrivateKeyDer::try_from(server.key.serialize_der()).unwrap();
    let mut server_config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.certificate.clone()], key)
        .unwrap();
    server_config.alpn_protocols = vec![ALPN.to_vec()];
    let mut server = ServerConnection::new(Arc::new(server_config)).unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        bytes.clear();
        server.process_new_packets().map_err(|e| e.to_string())?;
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
        }
        bytes.clear();
        client.process_new_packets().map_err(|e| explain(&e))?;
    }
    Ok(client.alpn_protocol().unwrap_or_default().to_vec())
}

/// A file that goes away with the test.
struct File(PathBuf);

impl File {
    fn with(name: &str, text: &str) -> Self {
        let name = format!("payments-tls-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_root_file_decides_whose_certificate_is_good() {
    use SslMode::{Prefer, Require, VerifyCa, VerifyFull};
    const GOOD: &str = "";
    const UNKNOWN: &str = "not signed by a trusted authority";
    const EXPIRED: &str = "has expired";
    const ANOTHER_HOST: &str = "is for another host";
    let modes = [Prefer, Require, VerifyCa, VerifyFull];
    let rows = [
        ("issued", issued(&params(HOST, false, 2049)), [GOOD; 4]),
        (
            "issued-expired",
            issued(&params(HOST, false, 2021)),
            [EXPIRED; 4],
        ),
        (
            "issued-other-host",
            issued(&params("other.example.com", false, 2049)),
            [GOOD, GOOD, GOOD, ANOTHER_HOST],
        ),
        (
            "self-signed",
            self_signed(&params(HOST, false, 2049)),
            [GOOD; 4],
        ),
        (
            "self-signed-authority",
            self_signed(&params(HOST, true, 2049)),
            [GOOD; 4],
        ),
        (
            "self-signed-authority-expired",
            self_signed(&params(HOST, true, 2021)),
            [EXPIRED; 4],
        ),
        (
            "self-signed-authority-other-host",
            self_signed(&params("other.example.com", true, 2049)),
            [GOOD, GOOD, GOOD, ANOTHER_HOST],
        ),
    ];
    let stranger = self_signed(&params("stranger.example.com", true, 2049));
    let stranger = File::with("stranger.crt", &stranger.root);
    for (name, server, expected) in rows {
        let root = File::with(&format!("{name}.crt"), &server.root);
        for (mode, expected) in modes.into_iter().zip(expected) {
            let config = client_config(mode, Some(&root.0)).unwrap();
            match handshake(&server, config) {
                Ok(_) => assert_eq!(expected, GOOD, "{name} {mode:?}"),
                Err(text) => assert!(
                    !expected.is_empty() && text.contains(expected),
                    "{name} {mode:?}: {text}"
                ),
            }
            let config = client_config(mode, Some(&stranger.0)).unwrap();
            let text = handshake(&server, config).unwrap_err();
            let is_refused = [UNKNOWN, EXPIRED, "was rejected"]
                .iter()
                .any(|s| text.contains(s));
            assert!(is_refused, "stranger, {name} {mode:?}: {text}");
        }
    }
}

#[test]
fn without_a_root_file_only_the_verifying_modes_refuse() {
    let server = issued(&params("other.example.com", false, 2021));
    for (mode, is_good) in [
        (SslMode::Prefer, true),
        (SslMode::Require, true),
        (SslMode::VerifyCa, false),
        (SslMode::VerifyFull, false),
    ] {
        let config = client_config(mode, None).unwrap();
        assert_eq!(handshake(&server, config).is_ok(), is_good, "{mode:?}");
    }
}

#[test]
fn a_certificate_without_names_is_explained() {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, HOST);
    let server = self_signed(&params);
    let root = File::with("no-names.crt", &server.root);
    let config = client_config(SslMode::VerifyFull, Some(&root.0)).unwrap();
    let text = handshake(&server, config).unwrap_err();
    assert!(text.contains("no subject alternative name"), "{text}");
}

#[test]
fn the_protocol_name_is_negotiated() {
    let server = issued(&params(HOST, false, 2049));
    let config = client_config(SslMode::Require, None).unwrap();
    assert_eq!(handshake(&server, config).unwrap(), ALPN);
}

#[test]
fn one_file_may_hold_several_certificates_and_text() {
    let server = issued(&params(HOST, false, 2049));
    let other = self_signed(&params("other.example.com", true, 2049));
    let text = format!("# first\n{}\n# second\n{}", other.root, server.root);
    let root = File::with("several.crt", &text);
    let config = client_config(SslMode::VerifyFull, Some(&root.0)).unwrap();
    handshake(&server, config).unwrap();
}

#[test]
fn a_root_file_of_no_use_is_explained() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let broken = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    let cut = "-----BEGIN CERTIFICATE-----\nMAAA\n";
    for (name, text, expected) in [
        ("empty", "", "contains no certificate"),
        ("text", "hello", "contains no certificate"),
        ("key", key.as_str(), "contains no certificate"),
        ("broken", broken, "not a certificate"),
        ("cut", cut, "not a certificate"),
    ] {
        let file = File::with(name, text);
        for mode in [SslMode::Prefer, SslMode::Require, SslMode::VerifyFull] {
            let error = client_config(mode, Some(&file.0)).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
            assert!(error.contains(file.0.to_str().unwrap()), "{name}: {error}");
        }
    }
    let folder = std::env::temp_dir();
    let error = client_config(SslMode::Require, Some(&folder)).unwrap_err();
    assert!(
        error.to_string().ends_with("is not a regular file"),
        "{error}"
    );
    let missing = Path::new("/nonexistent/root.crt");
    let error = client_config(SslMode::Require, Some(missing)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("sslrootcert /nonexistent/root.crt cannot be read: "),
        "{error}"
    );
}

#[test]
fn without_a_root_file_those_of_both_regions_and_of_the_proxy_are_trusted() {
    let proxy = [
        "amazon-root-ca-1",
        "amazon-root-ca-2",
        "amazon-root-ca-3",
        "amazon-root-ca-4",
    ];
    let mut expected: Vec<_> = proxy.map(str::to_owned).into();
    expected.push("starfield-services-root-g2".to_owned());
    for region in ["eu-south-2", "us-east-1"] {
        let keys = ["rsa2048", "rsa4096", "ecc384"];
        expected.extend(keys.map(|key| format!("rds-{region}-{key}-g1")));
    }
    assert_eq!(
        anchors::COMPILED_IN.map(|(name, _)| name).as_slice(),
        expected
    );
    assert_eq!(trusted(None).unwrap(), anchors::compiled_in());
}

/// Fails two years before an anchor expires; the README of anchors/ says how to refresh them.
#[test]
fn anchors_are_authorities_that_stay_valid() {
    use x509_parser::prelude::{FromDer, X509Certificate};
    const TWO_YEARS: Duration = Duration::from_secs(2 * 365 * 24 * 3_600);
    let then = SystemTime::now() + TWO_YEARS;
    let then = i64::try_from(then.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let all = anchors::compiled_in();
    assert_eq!(all.len(), anchors::COMPILED_IN.len(), "each one parses");
    for (der, (name, _)) in all.iter().zip(anchors::COMPILED_IN) {
        let (rest, certificate) = X509Certificate::from_der(der).unwrap();
        assert!(rest.is_empty(), "{name}");
        assert!(certificate.is_ca(), "{name}");
        assert!(
            certificate.validity().not_after.timestamp() > then,
            "{name}"
        );
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().next().unwrap().as_str().unwrap();
        assert_eq!(common_name, subject_of(name), "{name}");
        assert_eq!(subject, certificate.issuer(), "{name}");
        certificate.verify_signature(None).unwrap();
    }
}

fn subject_of(name: &str) -> String {
    if let Some(number) = name.strip_prefix("amazon-root-ca-") {
        return format!("Amazon Root CA {number}");
    }
    match name
        .strip_prefix("rds-")
        .and_then(|n| n.strip_suffix("-g1"))
    {
        Some(rest) => {
            let (region, key) = rest.rsplit_once('-').unwrap();
            format!("Amazon RDS {region} Root CA {} G1", key.to_uppercase())
        }
        None => "Starfield Services Root Certificate Authority - G2".to_owned(),
    }
}
