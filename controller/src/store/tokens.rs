//! Join tokens: stored hashed, counted and dated.

use espalier_model::identity::Name;
use espalier_model::labels::Labels;
use sqlx::Row;

use super::{Result, Store, StoreError, audit, json, text};

/// A join token as it is stored: who has the row has not the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its name.
    pub name: Name,
    /// How many nodes it still admits; without it, any number.
    pub uses_left: Option<u32>,
    /// When it ends, in Unix seconds.
    pub expires: i64,
    /// Labels of the nodes that it admits.
    pub labels: Labels,
}

impl Store {
    /// Adds a token by its SHA-256.
    ///
    /// # Errors
    /// There is one of that name.
    pub async fn add_token(&self, actor: &str, token: &TokenRow, hash: &[u8], now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        let name = token.name.as_str();
        let done = sqlx::query("INSERT INTO join_tokens VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(hash)
            .bind(token.uses_left)
            .bind(token.expires)
            .bind(text("join token", &token.labels)?)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Exists("join token", name.to_owned()));
        }
        audit(&mut tx, actor, "add-join-token", name).await?;
        Ok(tx.commit().await?)
    }

    /// Returns the tokens in the order of their names.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>> {
        let rows = sqlx::query("SELECT name, uses_left, expires, labels FROM join_tokens ORDER BY name")
            .fetch_all(&self.pool)
            .await?;
        let row = |row: &sqlx::sqlite::SqliteRow| {
            let name: String = row.get(0);
            Ok(TokenRow {
                name: name.parse().map_err(|_| StoreError::Missing("join token", name))?,
                uses_left: row.get(1),
                expires: row.get(2),
                labels: json("join token", row.get(3))?,
            })
        };
        rows.iter().map(row).collect()
    }

    /// Deletes a token: it admits nobody any more.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn delete_token(&self, actor: &str, name: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM join_tokens WHERE name = ?").bind(name).execute(&mut *tx).await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Missing("join token", name.to_owned()));
        }
        audit(&mut tx, actor, "delete-join-token", name).await?;
        Ok(tx.commit().await?)
    }
}
