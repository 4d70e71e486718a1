//! Everything that plans are made of, read at one moment.

use espalier_model::envelope::Version;
use sqlx::Row;
use time::OffsetDateTime;

use super::{Result, Store, StoreError, json, number};
use crate::pki::pem;
use crate::planner::{World, WorldNode, WorldPolicy};

impl Store {
    /// Reads the world in one transaction, so that its parts belong together.
    ///
    /// # Errors
    /// The database cannot be read, or there was no first start.
    pub async fn world(&self) -> Result<World> {
        let mut tx = self.pool.begin().await?;
        let meta =
            sqlx::query("SELECT epoch, generation, key_epoch, certificate_epoch FROM meta").fetch_one(&mut *tx).await?;
        let mesh = sqlx::query("SELECT spec FROM mesh").fetch_one(&mut *tx).await?;
        let root = sqlx::query("SELECT certificate FROM authority WHERE kind = 'root'").fetch_one(&mut *tx).await?;
        let nodes = sqlx::query("SELECT name, labels, spec FROM nodes ORDER BY name").fetch_all(&mut *tx).await?;
        let policies = sqlx::query("SELECT name, spec FROM policies ORDER BY name").fetch_all(&mut *tx).await?;
        let revoked = sqlx::query(
            "SELECT serial FROM certificates WHERE revoked_at IS NOT NULL AND not_after > ? ORDER BY serial",
        )
        .bind(OffsetDateTime::now_utc().unix_timestamp())
        .fetch_all(&mut *tx)
        .await?;
        tx.rollback().await?;
        let name = |kind, text: String| text.parse().map_err(|_| StoreError::Missing(kind, text));
        Ok(World {
            version: Version { epoch: number(meta.get(0)), generation: number(meta.get(1)) },
            mesh: json("mesh", mesh.get(0))?,
            nodes: nodes
                .iter()
                .map(|row| {
                    Ok(WorldNode {
                        name: name("node", row.get(0))?,
                        labels: json("node", row.get(1))?,
                        spec: json("node", row.get(2))?,
                    })
                })
                .collect::<Result<_>>()?,
            policies: policies
                .iter()
                .map(|row| Ok(WorldPolicy { name: name("policy", row.get(0))?, spec: json("policy", row.get(1))? }))
                .collect::<Result<_>>()?,
            trust: vec![pem(root.get(0))],
            revoked: revoked.iter().map(|row| row.get(0)).collect(),
            key_epoch: number(meta.get(2)),
            certificate_epoch: number(meta.get(3)),
        })
    }
}
