//! A PostgreSQL that speaks the real wire protocol over in-memory streams, and fails as the seed says:
//! before a commit, after it, in the middle of an answer, or by never answering.

use bytes::BytesMut;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until};

use payment_latency_api::config::StatementMode;
use payment_latency_api::pg::connection::Connection;
use payment_latency_api::pg::error::{ConnectError, ConnectStep};
use payment_latency_api::pg::payments;
use payment_latency_api::pg::transport::Transport;
use payment_latency_api::pool::{Connect, Connecting};

use crate::stream::{self, Client, Server};
use crate::table::{Row, Transaction};
use crate::wire::{self, Kind, Message, Portal, Statement, Value};
use crate::world::{POISON_MINOR, REGION, World};

/// SQLSTATEs after which the same statement may succeed elsewhere or later.
const PASSING: [&str; 12] = [
    "40001", "40P01", "53100", "53300", "57014", "55P03", "58030", "25006", "57P01", "57P02",
    "08006", "28P01",
];

/// The end of a connection is noticed within this time, whether it is in use or idle.
const NOTICED: Duration = Duration::from_millis(3);

/// Where in an exchange something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Arrived,
    Executed,
    Committed,
    Answering,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Close,
    Reset,
    Stall(Duration),
    /// No answer until the client gives up.
    Silence,
    Error(&'static str),
    /// Bytes that no server would send here.
    Garbage,
}

/// What goes wrong in one exchange.
type Fate = Option<(Stage, What)>;

/// The connection has ended.
struct End;

impl World {
    fn fate(&self) -> Fate {
        if self.healed.get() || !self.dice.permille(self.profile.exchange_trouble) {
            return None;
        }
        let stage = self.dice.pick(&[
            Stage::Arrived,
            Stage::Executed,
            Stage::Committed,
            Stage::Answering,
        ]);
        let stall = What::Stall(self.dice.millis(1, 2_500));
        let what = self.dice.pick(&[
            What::Close,
            What::Reset,
            stall,
            What::Silence,
            What::Error(self.dice.pick(&PASSING)),
            What::Error(self.dice.pick(&PASSING)),
            What::Garbage,
        ]);
        // Once it is committed, nothing is refused.
        let late = matches!(stage, Stage::Committed | Stage::Answering);
        match what {
            What::Error(_) if late => Some((stage, stall)),
            _ => Some((stage, what)),
        }
    }

    /// Returns when the whole server runs again.
    async fn thaw(&self) {
        while Instant::now() < self.frozen_until.get() {
            sleep_until(self.frozen_until.get()).await;
        }
    }

    fn noise(&self, out: &mut Vec<u8>) {
        while self.dice.permille(self.profile.noise) {
            match self.dice.below(3) {
                0 => wire::put_error(out, b'N', "01000", "a notice that means nothing"),
                1 => wire::put(out, b'S', b"TimeZone\0UTC\0"),
                _ => wire::put(out, b'A', b"\0\0\0\x01channel\0\0"),
            }
        }
    }
}

pub(crate) struct Connector(pub(crate) Rc<World>);

impl Connect<Client> for Connector {
    fn connect(&self) -> Connecting<Client> {
        let world = self.0.clone();
        Box::pin(async move {
            let (client, server) = stream::pair(&world.dice, &world.count);
            world.refuse().await?;
            tokio::task::spawn_local(serve(world.clone(), server));
            log_in(&world, client).await
        })
    }

    fn draw(&self) -> u16 {
        u16::from_le_bytes(self.0.dice.bytes())
    }
}

impl World {
    /// Takes as long as a handshake, and can fail like one.
    async fn refuse(&self) -> Result<(), ConnectError> {
        let error = |step| Err(ConnectError::new(step, "as the seed says"));
        sleep(self.dice.millis(0, self.profile.connect_ms)).await;
        let now = Instant::now();
        if now < self.down_until.get() {
            return error(ConnectStep::Connect);
        }
        if now < self.frozen_until.get() {
            sleep(self.profile.pool.connect_timeout).await;
            return error(ConnectStep::Timeout);
        }
        if now < self.unauthorised_until.get() {
            return error(ConnectStep::Authentication);
        }
        if !self.healed.get() && self.dice.permille(self.profile.connect_trouble) {
            let (step, _) = self.dice.pick(&ConnectStep::ALL.map(|step| (step, ())));
            if step == ConnectStep::Timeout {
                sleep(self.profile.pool.connect_timeout).await;
            }
            return error(step);
        }
        Ok(())
    }
}

/// The last part of a handshake, with the same code as on a real socket.
async fn log_in(world: &World, mut client: Client) -> Result<Connection<Client>, ConnectError> {
    let mode = world.profile.pool.statement_mode;
    let mut out = BytesMut::new();
    payments::prepare(mode, &mut out).expect("the statements are well-formed");
    let broken = |_| ConnectError::new(ConnectStep::Server, "the connection was lost");
    client.write_all(&out).await.map_err(broken)?;
    let mut received = Vec::new();
    while !received.ends_with(b"Z\0\0\0\x05I") {
        if client.read_buf(&mut received).await.map_err(broken)? == 0 {
            return Err(ConnectError::new(
                ConnectStep::Server,
                "the connection was closed",
            ));
        }
    }
    let stream = client.logged_in();
    Ok(Connection::new(
        stream,
        Transport::plain(),
        mode,
        Rc::from(REGION),
    ))
}

async fn serve(world: Rc<World>, server: Server) {
    let mut session = Session {
        world: world.clone(),
        server,
        received: Vec::new(),
        began: Instant::now(),
        statements: RefCell::default(),
        lied: false,
    };
    tokio::select! {
        biased;
        () = world.crash.notified() => {}
        _ = session.run() => {}
    }
    let watch = session.server.watch();
    match world.dice.permille(500) {
        true => session.server.reset(),
        false => drop(session.server),
    }
    sleep(NOTICED).await;
    assert!(
        watch.client_has_left(),
        "the end of a connection goes unnoticed"
    );
    world.check();
}

struct Session {
    world: Rc<World>,
    server: Server,
    received: Vec<u8>,
    began: Instant,
    statements: RefCell<HashMap<String, Statement>>,
    /// It has sent something out of turn: from then on, what its client sends may be early.
    lied: bool,
}

impl Session {
    async fn run(&mut self) -> Result<(), End> {
        // The login's own round trip has no fault here: that step can already fail while connecting.
        self.exchange(None).await?;
        loop {
            self.wait_for_work().await?;
            let fate = self.world.fate();
            self.exchange(fate).await?;
            self.world.check();
        }
    }

    async fn message(&mut self) -> Result<Message, End> {
        loop {
            if let Some(message) = wire::take_message(&mut self.received) {
                return Ok(message);
            }
            if !self.server.read(&mut self.received).await {
                return Err(End);
            }
        }
    }

    async fn work(&mut self) -> bool {
        !self.received.is_empty() || self.server.read(&mut self.received).await
    }

    /// Idle: this side may send something unsolicited.
    async fn wait_for_work(&mut self) -> Result<(), End> {
        let world = self.world.clone();
        let troubled = world.dice.permille(world.profile.idle_trouble);
        let until = world.dice.millis(0, 1_500);
        let trouble = async {
            match troubled {
                true => sleep(until).await,
                false => pending().await,
            }
        };
        tokio::select! {
            biased;
            arrived = self.work() => return if arrived { Ok(()) } else { Err(End) },
            () = trouble => {}
        }
        if world.healed.get() {
            return Ok(());
        }
        let mut out = Vec::new();
        match world.dice.below(4) {
            0 => {}
            1 => wire::put_error(&mut out, b'E', "57P01", "terminating connection"),
            2 => wire::put_error(&mut out, b'N', "01000", "a notice while idle"),
            _ => out.extend(b"what?"),
        }
        self.server.write(&out);
        sleep(world.dice.millis(0, 2)).await;
        Err(End)
    }

    /// One exchange, up to its ReadyForQuery.
    async fn exchange(&mut self, fate: Fate) -> Result<(), End> {
        let world = self.world.clone();
        let mut transaction = Transaction::begin(&world.table);
        let mut out = Vec::new();
        let mut refused = self.receive(fate, &mut transaction, &mut out).await?;
        if refused.is_none() && !out.is_empty() {
            refused = self.pass(Stage::Executed, fate, &mut out).await?;
        }
        let fatal = refused.is_some_and(|state| {
            wire::put_error(&mut out, b'E', state, "as the seed says");
            state.starts_with("57P") && world.dice.permille(500)
        });
        if refused.is_none() {
            sleep(
                world
                    .dice
                    .millis(world.profile.commit_ms.0, world.profile.commit_ms.1),
            )
            .await;
            transaction.commit();
        } else {
            drop(transaction);
        }
        self.pass(Stage::Committed, fate, &mut out).await?;
        world.noise(&mut out);
        if !fatal {
            wire::put(&mut out, b'Z', b"I");
        }
        if fate.is_some_and(|(stage, _)| stage == Stage::Answering) {
            let rest = out.split_off(world.dice.below(out.len()));
            self.say(&mut out).await;
            self.pass(Stage::Answering, fate, &mut out).await?;
            out.extend(rest);
        }
        let early = self.server.has_unread() || !self.received.is_empty();
        self.lied |= matches!(fate, Some((_, What::Garbage)));
        assert!(
            self.lied || !early,
            "the next exchange begins before this one has ended"
        );
        self.say(&mut out).await;
        if fatal { Err(End) } else { Ok(()) }
    }

    /// Reads and executes up to Sync; returns the SQLSTATE if something is refused.
    async fn receive(
        &mut self,
        fate: Fate,
        transaction: &mut Transaction,
        out: &mut Vec<u8>,
    ) -> Result<Option<&'static str>, End> {
        let world = self.world.clone();
        let mut portal = None;
        let mut refused = None;
        let mut inserts = 0;
        let mut first = true;
        loop {
            let message = self.message().await?;
            if std::mem::take(&mut first) {
                refused = self.pass(Stage::Arrived, fate, out).await?;
            }
            match message.tag {
                b'S' => break,
                b'X' => {
                    world.check_goodbye(self.began.elapsed());
                    return Err(End);
                }
                // After an error, everything up to Sync is skipped.
                _ if refused.is_some() => {}
                b'P' => {
                    let (name, statement) = wire::parse(&message.body);
                    self.statements.borrow_mut().insert(name, statement);
                    wire::put(out, b'1', &[]);
                }
                b'B' => {
                    portal = Some(wire::bind(&message.body, |name| self.statement(name)));
                    wire::put(out, b'2', &[]);
                }
                b'E' => {
                    let portal = portal.as_ref().expect("Bind comes before Execute");
                    inserts += portal.rows().len();
                    refused = self.execute(portal, transaction, out).await;
                }
                other => panic!("a message of type {:?}", char::from(other)),
            }
            world.noise(out);
            // Part of a long answer is sent before the commit.
            if world.dice.permille(100) {
                self.say(out).await;
            }
        }
        world.trace(|| format!("exchange of {inserts} payments, refused: {refused:?}"));
        assert!(
            inserts <= world.profile.pool.batch_max,
            "more payments than a batch may hold"
        );
        Ok(refused)
    }

    /// Passes a stage of the exchange; returns the SQLSTATE if it is refused there.
    async fn pass(
        &mut self,
        stage: Stage,
        fate: Fate,
        out: &mut Vec<u8>,
    ) -> Result<Option<&'static str>, End> {
        self.world.thaw().await;
        let Some((_, what)) = fate.filter(|(at, _)| *at == stage) else {
            return Ok(None);
        };
        self.world
            .trace(|| format!("exchange: {what:?} when {stage:?}"));
        match what {
            What::Close => return Err(End),
            What::Reset => {
                self.say(out).await;
                return Err(End);
            }
            What::Stall(time) => sleep(time).await,
            What::Silence => {
                while self.server.read(&mut self.received).await {}
                return match self.world.dice.permille(500) {
                    // A busy backend notices only later that its client has gone.
                    true => Ok(None),
                    false => Err(End),
                };
            }
            What::Error(state) => return Ok(Some(state)),
            What::Garbage => {
                let garbage: [&[u8]; 5] = [
                    b"Z\0\0\0\x05T",
                    b"Z\0\0\0\x05E",
                    b"T\0\0\0\x06\0\0",
                    b"HTTP/1.1 400 Bad Request\r\n\r\n",
                    b"Z\0\0\0\x05IZ\0\0\0\x05I",
                ];
                // The last one says that everything is committed.
                let fitting = garbage.len() - usize::from(stage != Stage::Committed);
                out.extend(garbage[self.world.dice.below(fitting)]);
                self.say(out).await;
            }
        }
        Ok(None)
    }

    fn statement(&self, name: &str) -> Statement {
        let statements = self.statements.borrow();
        let statement = statements.get(name).cloned();
        statement.unwrap_or_else(|| panic!("a Bind to {name:?}, which was never parsed"))
    }

    /// Returns the SQLSTATE if it is refused.
    async fn execute(
        &self,
        portal: &Portal,
        transaction: &mut Transaction,
        out: &mut Vec<u8>,
    ) -> Option<&'static str> {
        let world = &self.world;
        let returning = &portal.statement.returning;
        let columns = |row: &Row| {
            returning
                .iter()
                .map(|name| row.column(name))
                .collect::<Vec<_>>()
        };
        match portal.statement.kind {
            Kind::Validation => {
                world.validations.set(world.validations.get() + 1);
                wire::put_row(out, &[vec![1], vec![1]]);
                wire::put(out, b'C', b"SELECT 1\0");
            }
            Kind::Lookup => {
                world.trace(|| "a lookup".to_owned());
                if let Some(row) = self.look_up(&portal.values) {
                    wire::put_row(out, &columns(&row));
                }
                wire::put(out, b'C', b"SELECT 1\0");
            }
            Kind::Insert(_) => {
                if Instant::now() < world.read_only_until.get() {
                    return Some("25006");
                }
                let mut rows = Vec::new();
                for fields in portal.rows() {
                    let row = row_of(&fields, world.stamp());
                    if row.amount_minor == POISON_MINOR {
                        return Some("23514");
                    }
                    world.trace(|| format!("insert {:02x?}", &row.transaction_id[6..8]));
                    if world.dice.permille(world.profile.slow_rows) {
                        sleep(world.dice.millis(0, 10)).await;
                    }
                    if transaction.insert(row.clone()).await {
                        rows.push(row);
                    }
                }
                // SQL does not promise an order.
                if world.dice.permille(300) {
                    rows.reverse();
                }
                for row in &rows {
                    world.noise(out);
                    wire::put_row(out, &columns(row));
                }
                wire::put(out, b'C', format!("INSERT 0 {}\0", rows.len()).as_bytes());
            }
        }
        None
    }

    fn look_up(&self, values: &[Value]) -> Option<Row> {
        let table = &self.world.table;
        let by_id = table.by_id(&values[0].bytes());
        by_id.or_else(|| match &values[1] {
            Value::Null => None,
            key => table.by_key(&key.text()),
        })
    }

    /// Sends what is there, in pieces if the dice say so.
    async fn say(&self, out: &mut Vec<u8>) {
        let world = &self.world;
        if world.dice.permille(world.profile.noise) {
            let rest = out.split_off(world.dice.below(out.len()));
            self.server.write(out);
            sleep(world.dice.millis(0, 3)).await;
            *out = rest;
        }
        self.server.write(out);
        out.clear();
    }
}

fn row_of(fields: &[(&str, &Value)], created_at: i64) -> Row {
    assert_eq!(fields.len(), 9, "an insert names nine columns");
    let of = |wanted: &str| {
        let found = fields.iter().find(|(name, _)| *name == wanted);
        found
            .unwrap_or_else(|| panic!("the insert has no {wanted}"))
            .1
    };
    Row {
        transaction_id: of("transaction_id").bytes(),
        idempotency_key: match of("idempotency_key") {
            Value::Null => None,
            key => Some(key.text()),
        },
        request_hash: of("request_hash").bytes(),
        amount_minor: of("amount_minor").number(),
        amount_exponent: of("amount_exponent").number(),
        currency: of("currency").text(),
        region: of("region").text(),
        status: of("status").text(),
        processing_ms: of("processing_ms").number(),
        created_at,
    }
}

/// `unnamed` or `named`, as the seed says.
pub(crate) fn pick_mode(named: bool) -> StatementMode {
    match named {
        true => StatementMode::Named,
        false => StatementMode::Unnamed,
    }
}
