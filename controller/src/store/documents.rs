//! Documents that operators write: policies and the mesh, each with a version for its entity tag.

use espalier_model::document::Metadata;
use espalier_model::document::mesh::MeshSpec;
use espalier_model::document::policy::PolicySpec;
use sqlx::{Row, Sqlite, Transaction};

use super::{Result, Store, StoreError, changed, json, number, text};

/// A document as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<S> {
    /// Name and labels.
    pub metadata: Metadata,
    /// The body.
    pub spec: S,
    /// Raised by every change.
    pub version: u64,
}

/// What must be there for a change to take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything or nothing.
    Any,
    /// Nothing.
    Nothing,
    /// This version.
    Version(u64),
}

impl Expect {
    /// Holds a stored version against what was expected.
    fn check(self, found: Option<u64>, kind: &'static str, name: &str) -> Result<()> {
        match (self, found) {
            (Self::Any, _) | (Self::Nothing, None) => Ok(()),
            (Self::Nothing, Some(_)) => Err(StoreError::Exists(kind, name.to_owned())),
            (Self::Version(expected), Some(found)) if expected == found => Ok(()),
            (Self::Version(_), Some(_)) => Err(StoreError::Changed(kind, name.to_owned())),
            (Self::Version(_), None) => Err(StoreError::Missing(kind, name.to_owned())),
        }
    }
}

impl Store {
    /// Returns policies in the order of their names, at most `limit`, after a name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn policies(&self, after: &str, limit: u32) -> Result<Vec<Stored<PolicySpec>>> {
        let rows = sqlx::query("SELECT name, labels, spec, version FROM policies WHERE name > ? ORDER BY name LIMIT ?")
            .bind(after)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(policy).collect()
    }

    /// Returns a policy.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn policy(&self, name: &str) -> Result<Stored<PolicySpec>> {
        let row = sqlx::query("SELECT name, labels, spec, version FROM policies WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map_or_else(|| Err(StoreError::Missing("policy", name.to_owned())), policy)
    }

    /// Writes a policy, and returns its new version and whether it was there before.
    ///
    /// # Errors
    /// What is expected is not there.
    pub async fn put_policy(
        &self,
        actor: &str,
        metadata: &Metadata,
        spec: &PolicySpec,
        expect: Expect,
    ) -> Result<(u64, bool)> {
        let mut tx = self.begin().await?;
        let name = metadata.name.as_str();
        let before = policy_version(&mut tx, name).await?;
        expect.check(before, "policy", name)?;
        let version = before.unwrap_or_default() + 1;
        sqlx::query("INSERT OR REPLACE INTO policies VALUES (?, ?, ?, ?)")
            .bind(name)
            .bind(text("policy", &metadata.labels)?)
            .bind(text("policy", spec)?)
            .bind(i64::try_from(version).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await?;
        changed(&mut tx, actor, "put-policy", name).await?;
        tx.commit().await?;
        Ok((version, before.is_some()))
    }

    /// Deletes a policy.
    ///
    /// # Errors
    /// What is expected is not there.
    pub async fn delete_policy(&self, actor: &str, name: &str, expect: Expect) -> Result<()> {
        let mut tx = self.begin().await?;
        let before = policy_version(&mut tx, name).await?;
        expect.check(before, "policy", name)?;
        if before.is_none() {
            return Err(StoreError::Missing("policy", name.to_owned()));
        }
        sqlx::query("DELETE FROM policies WHERE name = ?").bind(name).execute(&mut *tx).await?;
        changed(&mut tx, actor, "delete-policy", name).await?;
        Ok(tx.commit().await?)
    }

    /// Returns the mesh with its version.
    ///
    /// # Errors
    /// There is none before the first start.
    pub async fn mesh_document(&self) -> Result<(MeshSpec, u64)> {
        let row = sqlx::query("SELECT spec, version FROM mesh").fetch_one(&self.pool).await?;
        Ok((json("mesh", row.get(0))?, number(row.get(1))))
    }

    /// Changes the mesh, and returns its new version.
    ///
    /// # Errors
    /// What is expected is not there.
    pub async fn put_mesh(&self, actor: &str, spec: &MeshSpec, expect: Expect) -> Result<u64> {
        let mut tx = self.begin().await?;
        let row = sqlx::query("SELECT version FROM mesh").fetch_one(&mut *tx).await?;
        let before = number(row.get(0));
        expect.check(Some(before), "mesh", spec.trust_domain.as_str())?;
        sqlx::query("UPDATE mesh SET spec = ?, version = version + 1")
            .bind(text("mesh", spec)?)
            .execute(&mut *tx)
            .await?;
        changed(&mut tx, actor, "put-mesh", spec.trust_domain.as_str()).await?;
        tx.commit().await?;
        Ok(before + 1)
    }
}

async fn policy_version(tx: &mut Transaction<'static, Sqlite>, name: &str) -> Result<Option<u64>> {
    let row = sqlx::query("SELECT version FROM policies WHERE name = ?").bind(name).fetch_optional(&mut **tx).await?;
    Ok(row.map(|row| number(row.get(0))))
}

fn policy(row: &sqlx::sqlite::SqliteRow) -> Result<Stored<PolicySpec>> {
    let name: String = row.get(0);
    let name = name.parse().map_err(|_| StoreError::Missing("policy", name))?;
    let metadata = Metadata { name, labels: json("policy", row.get(1))? };
    Ok(Stored { metadata, spec: json("policy", row.get(2))?, version: number(row.get(3)) })
}
