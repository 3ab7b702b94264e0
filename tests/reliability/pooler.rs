//! A pooler in transaction mode between the service and its database, as RDS Proxy is one.

use std::process::{Child, Command, Stdio};

use crate::postgres::{Cluster, PASSWORD};
use crate::support::{LOGIN, eventually};

pub struct Pooler {
    pub port: u16,
    settings: std::path::PathBuf,
    process: Option<Child>,
}

impl Pooler {
    pub fn start(cluster: &Cluster) -> Self {
        let port = crate::postgres::free_port();
        let folder = cluster.folder();
        let data = folder.join("data");
        let users = folder.join("users.txt");
        std::fs::write(&users, format!("\"{LOGIN}\" \"{PASSWORD}\"\n")).unwrap();
        let settings = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\npool_mode = transaction\nauth_type = scram-sha-256\n\
             auth_file = {}\nserver_tls_sslmode = require\nclient_tls_sslmode = require\n\
             client_tls_cert_file = {}\nclient_tls_key_file = {}\n",
            cluster.port(),
            users.display(),
            data.join("server.crt").display(),
            data.join("server.key").display(),
        );
        std::fs::write(&settings, text).unwrap();
        let mut pooler = Self {
            port,
            settings,
            process: None,
        };
        pooler.begin();
        pooler
    }

    pub fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub fn begin(&mut self) {
        let command = Command::new("pgbouncer");
        let process = crate::postgres::as_server_user(command)
            .arg("-q")
            .arg(&self.settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need pgbouncer");
        self.process = Some(process);
        eventually("pgbouncer listens", || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.end();
    }
}
