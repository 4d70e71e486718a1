//! Certificates that were issued: which are revoked.

use sqlx::Row;
use time::OffsetDateTime;

use super::{Result, Store, StoreError, audit, changed};

/// A certificate of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// The node's name.
    pub node: String,
    /// When it ends, in Unix seconds.
    pub not_after: i64,
    /// When it was revoked, if it was.
    pub revoked_at: Option<i64>,
}

impl Store {
    /// Notes a certificate that was issued to renew another, and the key that it is for.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn renew(&self, node: &str, serial: &str, not_after: i64, key_hash: &[u8]) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO certificates VALUES (?, ?, ?, NULL)")
            .bind(serial)
            .bind(node)
            .bind(not_after)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE nodes SET key_hash = ? WHERE name = ?").bind(key_hash).bind(node).execute(&mut *tx).await?;
        audit(&mut tx, node, "renew", serial).await?;
        Ok(tx.commit().await?)
    }

    /// Returns the certificates that have not ended.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn certificates(&self) -> Result<Vec<CertificateRow>> {
        let rows = sqlx::query(
            "SELECT serial, node, not_after, revoked_at FROM certificates WHERE not_after > ? ORDER BY node, not_after",
        )
        .bind(OffsetDateTime::now_utc().unix_timestamp())
        .fetch_all(&self.pool)
        .await?;
        let row = |row: &sqlx::sqlite::SqliteRow| CertificateRow {
            serial: row.get(0),
            node: row.get(1),
            not_after: row.get(2),
            revoked_at: row.get(3),
        };
        Ok(rows.iter().map(row).collect())
    }

    /// Revokes a certificate. Doing it twice changes nothing.
    ///
    /// # Errors
    /// There is none of that serial number.
    pub async fn revoke(&self, actor: &str, serial: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let done = sqlx::query("UPDATE certificates SET revoked_at = coalesce(revoked_at, ?) WHERE serial = ?")
            .bind(now)
            .bind(serial)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Missing("certificate", serial.to_owned()));
        }
        changed(&mut tx, actor, "revoke", serial).await?;
        Ok(tx.commit().await?)
    }

    /// Tells whether a certificate was issued by us to a node that still exists, and is not revoked.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn is_good(&self, serial: &str, node: &str) -> Result<bool> {
        let row = sqlx::query(
            "SELECT 1 FROM certificates JOIN nodes ON nodes.name = certificates.node \
             WHERE serial = ? AND node = ? AND revoked_at IS NULL",
        )
        .bind(serial)
        .bind(node)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.is_some())
    }
}
