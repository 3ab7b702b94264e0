//! What a fault acts on: the database, the service, and what lies between them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::ledger::Plan;
use crate::pooler::Pooler;
use crate::postgres::{Authority, Cluster, Options, Tls, Validity};
use crate::proxy::Proxy;
use crate::support::{KEY, LOGIN, Service, migrate};

/// The names in the certificate of every database.
pub const HOST: [&str; 1] = ["localhost"];

/// What lies between the service and its database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    Direct,
    /// The proxy.
    Network,
    /// The proxy, as the address of a primary with a standby that confirms its commits.
    Standby,
    /// pgbouncer.
    Pooler,
    /// Nothing, but the database has a small disk of its own.
    SmallDisk,
}

pub struct Stage {
    // Dropped in this order.
    pub services: Vec<Service>,
    pub pooler: Option<Pooler>,
    pub proxy: Option<Proxy>,
    pub disk: Option<Disk>,
    /// The server that accepts writes.
    pub cluster: Cluster,
    pub standby: Option<Cluster>,
    pub authority: Authority,
    pub plan: Plan,
    pub database_url: PathBuf,
    pub api_key: PathBuf,
    pub rounds: u64,
    /// A figure that `strike` leaves for `mend`.
    pub noted: f64,
    /// Connections that only occupy slots.
    pub crowd: Vec<std::net::TcpStream>,
    /// When the last fault was mended, if that was before its `mend` returned.
    pub mended: Option<Instant>,
    settings: Vec<(&'static str, &'static str)>,
}

impl Stage {
    pub fn set(
        scene: Scene,
        replicas: usize,
        (rate, callers): (f64, usize),
        settings: Vec<(&'static str, &'static str)>,
    ) -> Self {
        let authority = Authority::new("Test Authority");
        let identity = authority.issue(&HOST, Validity::Current);
        let options = Options::new(Tls::On(identity)).host_rules(&[
            "local replication all trust",
            "host all all 127.0.0.1/32 scram-sha-256",
        ]);
        let small = options.clone().setting("max_wal_size = '32MB'");
        let cluster = Cluster::start_with(if scene == Scene::SmallDisk {
            &small
        } else {
            &options
        });
        migrate(&cluster);
        let disk = (scene == Scene::SmallDisk).then(|| Disk::under(&cluster));
        let proxy =
            matches!(scene, Scene::Network | Scene::Standby).then(|| Proxy::start(cluster.port()));
        let pooler = (scene == Scene::Pooler).then(|| Pooler::start(&cluster));
        let port = match (&proxy, &pooler) {
            (Some(proxy), _) => proxy.port,
            (_, Some(pooler)) => pooler.port,
            _ => cluster.port(),
        };
        // In a folder of its own: the service still has to read its files when the database is
        // replaced.
        let folder =
            std::env::temp_dir().join(format!("payments-stage-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let root = folder.join("root.crt");
        std::fs::copy(cluster.root_cert(), &root).unwrap();
        let url = cluster
            .url(LOGIN, "verify-full")
            .replace(&format!(":{}/", cluster.port()), &format!(":{port}/"))
            .replace(
                cluster.root_cert().to_str().unwrap(),
                root.to_str().unwrap(),
            );
        let mut stage = Self {
            services: Vec::new(),
            pooler,
            proxy,
            disk,
            cluster,
            standby: None,
            authority,
            plan: Plan::new(rate, callers, ([127, 0, 0, 1], 0).into()),
            database_url: folder.join("database_url"),
            api_key: folder.join("api_key"),
            rounds: 0,
            noted: 0.0,
            crowd: Vec::new(),
            mended: None,
            settings,
        };
        swap(&stage.database_url, &url);
        swap(&stage.api_key, KEY);
        for _ in 0..replicas {
            let service = stage.start_service();
            stage.services.push(service);
        }
        stage.announce();
        stage
    }

    /// Starts one more instance of the service, and waits until it is ready.
    pub fn start_service(&self) -> Service {
        let mut settings = vec![
            ("DATABASE_URL_FILE", self.database_url.to_str().unwrap()),
            ("API_SECRET_KEY_FILE", self.api_key.to_str().unwrap()),
        ];
        settings.extend(&self.settings);
        Service::start(&self.cluster, &settings)
    }

    /// Tells callers which instances exist, as a load balancer does.
    pub fn announce(&self) {
        let endpoints = self
            .services
            .iter()
            .map(|service| service.address)
            .collect();
        *self.plan.endpoints.lock().unwrap() = endpoints;
    }

    pub fn service(&self) -> &Service {
        self.services.first().expect("there is one")
    }

    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("this scene has one")
    }

    pub fn pooler(&mut self) -> &mut Pooler {
        self.pooler.as_mut().expect("this scene has one")
    }

    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("this scene has one")
    }

    /// The root certificates that the service trusts.
    pub fn root(&self) -> PathBuf {
        self.database_url.with_file_name("root.crt")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.services.clear();
        let _ = std::fs::remove_dir_all(self.database_url.parent().unwrap());
    }
}

/// Swaps a file's content in one step, as Kubernetes does with a secret's volume.
pub fn swap(path: &Path, content: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, content).unwrap();
    std::fs::rename(&next, path).unwrap();
}

/// A small file system that holds the database's data.
pub struct Disk(PathBuf);

impl Disk {
    fn under(cluster: &Cluster) -> Self {
        cluster.stop();
        let (data, disk) = (cluster.folder().join("data"), cluster.folder().join("disk"));
        std::fs::create_dir(&disk).unwrap();
        run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                "size=112M",
                "tmpfs",
                disk.to_str().unwrap(),
            ],
        );
        let disk = Self(disk);
        run(
            "cp",
            &["-a", data.to_str().unwrap(), disk.0.to_str().unwrap()],
        );
        std::fs::remove_dir_all(&data).unwrap();
        std::os::unix::fs::symlink(disk.0.join("data"), &data).unwrap();
        cluster.start_again();
        disk
    }

    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        let full = std::io::copy(&mut std::io::repeat(b'x'), &mut file).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    pub fn clear(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

pub fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{program} {arguments:?}"
    );
}
