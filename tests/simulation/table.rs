//! The table of payments: it contains what was committed. Its two unique indexes make transactions
//! wait for each other as PostgreSQL's do.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use tokio::sync::Notify;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) transaction_id: [u8; 16],
    pub(crate) idempotency_key: Option<String>,
    pub(crate) request_hash: [u8; 32],
    pub(crate) amount_minor: i64,
    pub(crate) amount_exponent: i64,
    pub(crate) currency: String,
    pub(crate) region: String,
    pub(crate) status: String,
    pub(crate) processing_ms: i64,
    pub(crate) created_at: i64,
}

impl Row {
    /// A column as the wire has it.
    pub(crate) fn column(&self, name: &str) -> Vec<u8> {
        match name {
            "transaction_id" => self.transaction_id.to_vec(),
            "request_hash" => self.request_hash.to_vec(),
            "amount_minor" => self.amount_minor.to_be_bytes().to_vec(),
            "amount_exponent" => i16::try_from(self.amount_exponent)
                .unwrap()
                .to_be_bytes()
                .to_vec(),
            "currency" => self.currency.clone().into_bytes(),
            "status" => self.status.clone().into_bytes(),
            "processing_ms" => i32::try_from(self.processing_ms)
                .unwrap()
                .to_be_bytes()
                .to_vec(),
            "created_at" => self.created_at.to_be_bytes().to_vec(),
            other => panic!("no statement asks for the column {other}"),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Entry {
    Id([u8; 16]),
    Key(String),
}

fn entries(row: &Row) -> Vec<Entry> {
    let key = row.idempotency_key.clone().map(Entry::Key);
    [Some(Entry::Id(row.transaction_id)), key]
        .into_iter()
        .flatten()
        .collect()
}

type Number = u64;

#[derive(Default)]
pub(crate) struct Table {
    committed: RefCell<HashMap<[u8; 16], Row>>,
    keys: RefCell<HashMap<String, [u8; 16]>>,
    /// Index entries of transactions that have not ended.
    pending: RefCell<HashMap<Entry, Number>>,
    /// Which transaction waits for which.
    waits: RefCell<HashMap<Number, Number>>,
    ended: Notify,
    last: Cell<Number>,
}

impl Table {
    pub(crate) fn by_id(&self, id: &[u8; 16]) -> Option<Row> {
        self.committed.borrow().get(id).cloned()
    }

    pub(crate) fn by_key(&self, key: &str) -> Option<Row> {
        let id = self.keys.borrow().get(key).copied()?;
        self.by_id(&id)
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.committed.borrow().values().cloned().collect()
    }

    fn has(&self, row: &Row) -> bool {
        let key = row.idempotency_key.as_deref();
        self.by_id(&row.transaction_id).is_some()
            || key.is_some_and(|key| self.by_key(key).is_some())
    }

    /// The transaction that holds one of these entries.
    fn holder(&self, entries: &[Entry]) -> Option<Number> {
        let pending = self.pending.borrow();
        entries.iter().find_map(|entry| pending.get(entry).copied())
    }
}

/// An implicit transaction: rolled back on drop.
pub(crate) struct Transaction {
    table: Rc<Table>,
    number: Number,
    rows: Vec<Row>,
}

impl Transaction {
    pub(crate) fn begin(table: &Rc<Table>) -> Self {
        table.last.set(table.last.get() + 1);
        Self {
            table: table.clone(),
            number: table.last.get(),
            rows: Vec::new(),
        }
    }

    /// `INSERT … ON CONFLICT DO NOTHING`: whether the row was inserted. Waits for a transaction that may
    /// still commit the same entries.
    pub(crate) async fn insert(&mut self, row: Row) -> bool {
        let entries = entries(&row);
        loop {
            if self.table.has(&row) {
                return false;
            }
            match self.table.holder(&entries) {
                None => break,
                Some(own) if own == self.number => return false,
                Some(other) => self.wait_for(other).await,
            }
        }
        let mut pending = self.table.pending.borrow_mut();
        pending.extend(entries.into_iter().map(|entry| (entry, self.number)));
        self.rows.push(row);
        true
    }

    async fn wait_for(&self, other: Number) {
        let waits = || self.table.waits.borrow_mut();
        waits().insert(self.number, other);
        let mut next = other;
        while let Some(further) = waits().get(&next).copied() {
            assert_ne!(
                further, self.number,
                "two exchanges wait for each other: a deadlock"
            );
            next = further;
        }
        let _waiting = StopWaiting(self);
        self.table.ended.notified().await;
    }

    pub(crate) fn commit(mut self) {
        for row in std::mem::take(&mut self.rows) {
            if let Some(key) = &row.idempotency_key {
                let before = self
                    .table
                    .keys
                    .borrow_mut()
                    .insert(key.clone(), row.transaction_id);
                assert_eq!(before, None, "two rows have the same key");
            }
            let before = self
                .table
                .committed
                .borrow_mut()
                .insert(row.transaction_id, row);
            assert_eq!(before, None, "two rows have the same id");
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let number = self.number;
        self.table
            .pending
            .borrow_mut()
            .retain(|_, holder| *holder != number);
        self.table.ended.notify_waiters();
    }
}

/// Removes the wait when it is over, or when the waiting transaction has ended.
struct StopWaiting<'a>(&'a Transaction);

impl Drop for StopWaiting<'_> {
    fn drop(&mut self) {
        self.0.table.waits.borrow_mut().remove(&self.0.number);
    }
}
