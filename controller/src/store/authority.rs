//! Authorities, the mesh, and administrators: what the first start makes.

use espalier_model::document::mesh::MeshSpec;
use espalier_model::document::policy::PolicySpec;
use espalier_model::identity::Name;
use sqlx::Row;

use super::{Result, Store, audit, json, text};

/// An authority with its key still sealed.
pub struct SealedAuthority {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// The key, sealed.
    pub key: Vec<u8>,
}

/// All that the first start writes, at once or not at all.
pub struct FirstStart<'a> {
    /// The mesh.
    pub mesh: &'a MeshSpec,
    /// The root.
    pub root: SealedAuthority,
    /// The issuing authority.
    pub issuing: SealedAuthority,
    /// The SHA-256 of the administrator's token.
    pub admin_hash: &'a [u8],
    /// The policy that every mesh begins with.
    pub policy: (&'a Name, &'a PolicySpec),
}

impl Store {
    /// Returns the mesh with its version, or nothing before the first start.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn mesh(&self) -> Result<Option<MeshSpec>> {
        let row = sqlx::query("SELECT spec FROM mesh").fetch_optional(&self.pool).await?;
        row.map(|row| json("mesh", row.get(0))).transpose()
    }

    /// Writes what the first start has made.
    ///
    /// # Errors
    /// The database cannot be written, or there was a first start before.
    pub async fn first_start(&self, first: FirstStart<'_>, now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO mesh VALUES (1, ?, 1)").bind(text("mesh", first.mesh)?).execute(&mut *tx).await?;
        for (kind, authority) in [("root", first.root), ("issuing", first.issuing)] {
            sqlx::query("INSERT INTO authority VALUES (?, ?, ?)")
                .bind(kind)
                .bind(authority.certificate)
                .bind(authority.key)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("INSERT INTO admin_tokens VALUES (?, 'first', ?)")
            .bind(first.admin_hash)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        let (name, policy) = first.policy;
        sqlx::query("INSERT INTO policies VALUES (?, '{}', ?, 1)")
            .bind(name.as_str())
            .bind(text("policy", policy)?)
            .execute(&mut *tx)
            .await?;
        audit(&mut tx, "controller", "first-start", first.mesh.trust_domain.as_str()).await?;
        Ok(tx.commit().await?)
    }

    /// Returns an authority, `root` or `issuing`.
    ///
    /// # Errors
    /// There is none before the first start.
    pub async fn authority(&self, kind: &str) -> Result<SealedAuthority> {
        let row = sqlx::query("SELECT certificate, key FROM authority WHERE kind = ?")
            .bind(kind)
            .fetch_one(&self.pool)
            .await?;
        Ok(SealedAuthority { certificate: row.get(0), key: row.get(1) })
    }

    /// Puts the next issuing authority in the place of the one before.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn replace_issuing(&self, next: SealedAuthority) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE authority SET certificate = ?, key = ? WHERE kind = 'issuing'")
            .bind(next.certificate)
            .bind(next.key)
            .execute(&mut *tx)
            .await?;
        audit(&mut tx, "controller", "roll-issuing-authority", "issuing").await?;
        Ok(tx.commit().await?)
    }

    /// Tells whether a token with this SHA-256 is an administrator's.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn is_admin(&self, hash: &[u8]) -> Result<bool> {
        let row =
            sqlx::query("SELECT 1 FROM admin_tokens WHERE hash = ?").bind(hash).fetch_optional(&self.pool).await?;
        Ok(row.is_some())
    }
}
