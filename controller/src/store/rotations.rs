//! Rotations: each raises the epoch of what it replaces.

use espalier_model::document::rotation::RotationScope;
use espalier_model::identity::Name;
use sqlx::Row;

use super::{Result, Store, StoreError, changed, json, number, text};

/// A rotation as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationRow {
    /// Its name.
    pub name: Name,
    /// What it replaces.
    pub scope: RotationScope,
    /// The epoch that everything reaches by it.
    pub epoch: u64,
    /// When it was started, in Unix seconds.
    pub started: i64,
}

impl Store {
    /// Starts a rotation.
    ///
    /// # Errors
    /// There is one of that name.
    pub async fn rotate(&self, actor: &str, name: &Name, scope: RotationScope, now: i64) -> Result<RotationRow> {
        let mut tx = self.begin().await?;
        let raise = match scope {
            RotationScope::Keys => "UPDATE meta SET key_epoch = key_epoch + 1 RETURNING key_epoch",
            RotationScope::Certificates => {
                "UPDATE meta SET certificate_epoch = certificate_epoch + 1 RETURNING certificate_epoch"
            }
        };
        let epoch: i64 = sqlx::query(raise).fetch_one(&mut *tx).await?.get(0);
        let done = sqlx::query("INSERT INTO rotations VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(name.as_str())
            .bind(text("rotation", &scope)?)
            .bind(epoch)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Exists("rotation", name.to_string()));
        }
        changed(&mut tx, actor, "rotate", name.as_str()).await?;
        tx.commit().await?;
        Ok(RotationRow { name: name.clone(), scope, epoch: number(epoch), started: now })
    }

    /// Returns the rotations, the latest first, at most 100.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn rotations(&self) -> Result<Vec<RotationRow>> {
        let rows = sqlx::query("SELECT name, scope, epoch, started FROM rotations ORDER BY rowid DESC LIMIT 100")
            .fetch_all(&self.pool)
            .await?;
        let row = |row: &sqlx::sqlite::SqliteRow| {
            let name: String = row.get(0);
            Ok(RotationRow {
                name: name.parse().map_err(|_| StoreError::Missing("rotation", name))?,
                scope: json("rotation", row.get(1))?,
                epoch: number(row.get(2)),
                started: row.get(3),
            })
        };
        rows.iter().map(row).collect()
    }
}
