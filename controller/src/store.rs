//! What lasts: one function, one transaction, one intent. A change of plans raises the generation in the same transaction.

mod authority;
mod certificates;
mod documents;
mod nodes;
mod rotations;
mod tokens;
mod world;

use std::path::Path;
use std::time::Duration;

use espalier_model::envelope::Version;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, Sqlite, Transaction};
use thiserror::Error;
use time::OffsetDateTime;

pub use authority::{FirstStart, SealedAuthority};
pub use certificates::CertificateRow;
pub use documents::{Expect, Stored};
pub use nodes::{Admission, NodeRow};
pub use rotations::RotationRow;
pub use tokens::TokenRow;

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
}

/// What the database refuses.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be read or written.
    #[error("the database cannot be used")]
    Database(#[from] sqlx::Error),
    /// Its tables are not ours.
    #[error("the tables of the database cannot be brought up to date")]
    Migrate(#[from] MigrateError),
    /// A row that this version does not understand.
    #[error("the database holds a {0} that cannot be read")]
    Row(&'static str, #[source] serde_json::Error),
    /// Nothing of that name.
    #[error("there is no {0} {1}")]
    Missing(&'static str, String),
    /// There is one of that name already.
    #[error("{0} {1} exists already")]
    Exists(&'static str, String),
    /// Another change came first.
    #[error("{0} {1} has been changed since it was read: read it again")]
    Changed(&'static str, String),
    /// A token that admits nobody.
    #[error("the join token is {0}")]
    Token(&'static str),
    /// A node of that name holds another key.
    #[error("node {0} is enrolled with another key: delete it first, or enrol with its old key")]
    OtherKey(String),
    /// A node's certificate was revoked, so its key is not trusted.
    #[error("the certificate of node {0} was revoked: delete the node, then enrol it with a new key")]
    Revoked(String),
    /// Every address of a pool is taken.
    #[error("the address pools have no address left: enlarge them or delete nodes")]
    Full,
}

type Result<T> = std::result::Result<T, StoreError>;

impl Store {
    /// Opens the database, makes it where there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// It cannot be opened, or is of another make.
    pub async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A token once used stays used, whatever happens to the power.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await?;
        sqlx::migrate!("../migrations/sqlite").run(&pool).await?;
        Ok(Self { pool })
    }

    /// Closes the database: what is under way ends first.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Tells whether the database answers.
    pub async fn is_ready(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.pool).await.is_ok()
    }

    /// Returns how new the plans are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn version(&self) -> Result<Version> {
        let row = sqlx::query("SELECT epoch, generation FROM meta").fetch_one(&self.pool).await?;
        Ok(Version { epoch: number(row.get(0)), generation: number(row.get(1)) })
    }

    /// Begins a transaction that writes: it waits for others here, not in its middle.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Raises the generation and notes who has done what.
async fn changed(tx: &mut Transaction<'static, Sqlite>, actor: &str, action: &str, subject: &str) -> Result<()> {
    sqlx::query("UPDATE meta SET generation = generation + 1").execute(&mut **tx).await?;
    audit(tx, actor, action, subject).await
}

/// Notes who has done what.
async fn audit(tx: &mut Transaction<'static, Sqlite>, actor: &str, action: &str, subject: &str) -> Result<()> {
    sqlx::query("INSERT INTO audit (at, actor, action, subject) VALUES (?, ?, ?, ?)")
        .bind(OffsetDateTime::now_utc().unix_timestamp())
        .bind(actor)
        .bind(action)
        .bind(subject)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Row(what, error))
}

fn text<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Row(what, error))
}

/// SQLite's numbers have a sign; ours are counters that never reach it.
fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
