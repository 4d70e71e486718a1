//! Nodes: admission by join token, and what is known of those admitted.

use espalier_model::document::mesh::MeshSpec;
use espalier_model::document::node::NodeSpec;
use espalier_model::identity::Name;
use espalier_model::labels::Labels;
use ipnet::IpNet;
use sqlx::{Row, Sqlite, Transaction};
use std::net::IpAddr;

use super::{Result, Store, StoreError, changed, json, number, text};

/// A node as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: Labels,
    /// Where it is.
    pub spec: NodeSpec,
    /// When it was admitted, in Unix seconds.
    pub created: i64,
    /// Raised by every change.
    pub version: u64,
}

/// Who asks for admission, and with what.
pub struct Admission<'a> {
    /// The name that it wants.
    pub name: &'a Name,
    /// The SHA-256 of the join token.
    pub token_hash: &'a [u8],
    /// The SHA-256 of its public key.
    pub key_hash: &'a [u8],
    /// Its underlay addresses.
    pub endpoints: &'a [IpAddr],
    /// The serial number of its certificate.
    pub serial: &'a str,
    /// When the certificate ends, in Unix seconds.
    pub not_after: i64,
    /// Now, in Unix seconds.
    pub now: i64,
}

impl Store {
    /// Admits a node: takes one use of the token, gives it addresses, notes its certificate. A node that asks again with the key
    /// that it has was admitted before: it keeps its addresses, and takes no further use of a token that has not expired.
    ///
    /// # Errors
    /// The token admits nobody, the name is held by another key, the node's certificate was revoked, or the pools are full.
    /// Nothing has changed then.
    pub async fn admit(&self, admission: &Admission<'_>) -> Result<()> {
        let mut tx = self.begin().await?;
        let name = admission.name.as_str();
        let held = sqlx::query("SELECT key_hash FROM nodes WHERE name = ?").bind(name).fetch_optional(&mut *tx).await?;
        let held = held.map(|row| row.get::<Vec<u8>, _>(0));
        let again = held.as_deref() == Some(admission.key_hash);
        let labels = use_token(&mut tx, admission, again).await?;
        match held {
            Some(_) if !again => return Err(StoreError::OtherKey(name.to_owned())),
            Some(_) => refuse_revoked(&mut tx, name).await?,
            None => insert(&mut tx, admission, &labels).await?,
        }
        sqlx::query("INSERT INTO certificates VALUES (?, ?, ?, NULL)")
            .bind(admission.serial)
            .bind(name)
            .bind(admission.not_after)
            .execute(&mut *tx)
            .await?;
        changed(&mut tx, name, "enrol", name).await?;
        Ok(tx.commit().await?)
    }

    /// Returns nodes in the order of their names, at most `limit`, after a name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn nodes(&self, after: &str, limit: u32) -> Result<Vec<NodeRow>> {
        let rows =
            sqlx::query("SELECT name, labels, spec, created, version FROM nodes WHERE name > ? ORDER BY name LIMIT ?")
                .bind(after)
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(node).collect()
    }

    /// Returns a node.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn node(&self, name: &str) -> Result<NodeRow> {
        let row = sqlx::query("SELECT name, labels, spec, created, version FROM nodes WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map_or_else(|| Err(StoreError::Missing("node", name.to_owned())), node)
    }

    /// Notes where a node is reached now. Returns whether that is new.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn set_endpoints(&self, name: &str, endpoints: &[IpAddr]) -> Result<bool> {
        let before = self.node(name).await?;
        if before.spec.endpoints == endpoints || endpoints.is_empty() {
            return Ok(false);
        }
        let spec = NodeSpec { endpoints: endpoints.to_vec(), ..before.spec };
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE nodes SET spec = ?, version = version + 1 WHERE name = ?")
            .bind(text("node", &spec)?)
            .bind(name)
            .execute(&mut *tx)
            .await?;
        changed(&mut tx, name, "move", name).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Deletes a node: its certificates are revoked with it.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn delete_node(&self, actor: &str, name: &str, now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM nodes WHERE name = ?").bind(name).execute(&mut *tx).await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Missing("node", name.to_owned()));
        }
        sqlx::query("UPDATE certificates SET revoked_at = coalesce(revoked_at, ?) WHERE node = ?")
            .bind(now)
            .bind(name)
            .execute(&mut *tx)
            .await?;
        changed(&mut tx, actor, "delete-node", name).await?;
        Ok(tx.commit().await?)
    }
}

/// Refuses a node whose latest certificate was revoked: somebody may have its key.
async fn refuse_revoked(tx: &mut Transaction<'static, Sqlite>, name: &str) -> Result<()> {
    let latest = "SELECT revoked_at FROM certificates WHERE node = ? ORDER BY not_after DESC, rowid DESC LIMIT 1";
    let row = sqlx::query(latest).bind(name).fetch_optional(&mut **tx).await?;
    let revoked = row.is_some_and(|row| row.get::<Option<i64>, _>(0).is_some());
    if revoked { Err(StoreError::Revoked(name.to_owned())) } else { Ok(()) }
}

/// Takes one use of a token, unless the node was admitted before. A token that admits nobody any more is kept, so that its
/// holder hears why.
async fn use_token(tx: &mut Transaction<'static, Sqlite>, admission: &Admission<'_>, again: bool) -> Result<Labels> {
    let row = sqlx::query("SELECT uses_left, expires, labels FROM join_tokens WHERE hash = ?")
        .bind(admission.token_hash)
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Err(StoreError::Token("unknown")) };
    if row.get::<i64, _>(1) <= admission.now {
        return Err(StoreError::Token("expired"));
    }
    if again {
        return json("join token", row.get(2));
    }
    if row.get::<Option<i64>, _>(0) == Some(0) {
        return Err(StoreError::Token("used up"));
    }
    sqlx::query("UPDATE join_tokens SET uses_left = uses_left - 1 WHERE hash = ?")
        .bind(admission.token_hash)
        .execute(&mut **tx)
        .await?;
    json("join token", row.get(2))
}

async fn insert(tx: &mut Transaction<'static, Sqlite>, admission: &Admission<'_>, labels: &Labels) -> Result<()> {
    let row = sqlx::query("SELECT spec FROM mesh").fetch_one(&mut **tx).await?;
    let mesh: MeshSpec = json("mesh", row.get(0))?;
    // The lowest place that nobody has: 1, or one behind a place whose next is free.
    let row = sqlx::query(
        "SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM nodes WHERE host_index = 1) THEN 1 ELSE \
         (SELECT min(host_index) + 1 FROM nodes AS n WHERE NOT EXISTS \
          (SELECT 1 FROM nodes WHERE host_index = n.host_index + 1)) END",
    )
    .fetch_one(&mut **tx)
    .await?;
    let index: i64 = row.get(0);
    let addresses = mesh.pools.iter().map(|pool| address(pool, number(index)).ok_or(StoreError::Full));
    let spec = NodeSpec { endpoints: admission.endpoints.to_vec(), addresses: addresses.collect::<Result<_>>()? };
    sqlx::query("INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, 1)")
        .bind(admission.name.as_str())
        .bind(text("node", labels)?)
        .bind(text("node", &spec)?)
        .bind(index)
        .bind(admission.key_hash)
        .bind(admission.now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Returns the host of a place in a pool: not the network's own address, not the broadcast address.
fn address(pool: &IpNet, index: u64) -> Option<IpNet> {
    let host = match pool {
        IpNet::V4(net) => {
            let host = u32::from(net.network()).checked_add(u32::try_from(index).ok()?)?;
            (host < u32::from(net.broadcast())).then(|| IpAddr::V4(host.into()))
        }
        IpNet::V6(net) => {
            let host = u128::from(net.network()).checked_add(u128::from(index))?;
            (host <= u128::from(net.broadcast())).then(|| IpAddr::V6(host.into()))
        }
    };
    host.map(IpNet::from)
}

fn node(row: &sqlx::sqlite::SqliteRow) -> Result<NodeRow> {
    let name: String = row.get(0);
    Ok(NodeRow {
        name: name.parse().map_err(|_| StoreError::Missing("node", name))?,
        labels: json("node", row.get(1))?,
        spec: json("node", row.get(2))?,
        created: row.get(3),
        version: number(row.get(4)),
    })
}
