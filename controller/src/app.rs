//! What every part of the controller shares: the store, the authority, and the world as it was last read.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use espalier_model::document::mesh::MeshSpec;
use espalier_model::document::policy::PolicySpec;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::fleet::Fleet;
use crate::keyring::{Kek, KeyringError};
use crate::pki::{Authority, AuthorityParts, PkiError, PlanSigner};
use crate::planner::World;
use crate::store::{FirstStart, SealedAuthority, Store, StoreError};

/// The controller's state.
pub struct App {
    /// What lasts.
    pub store: Store,
    /// What nodes report.
    pub fleet: Fleet,
    kek: Kek,
    signing: RwLock<Arc<Signing>>,
    world: watch::Sender<Arc<World>>,
}

/// What signs.
pub struct Signing {
    /// Certificates.
    pub authority: Authority,
    /// Plans.
    pub plans: PlanSigner,
}

/// Why the controller's state cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The authority refuses.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The key-encryption key does not serve.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The default policy is not a policy.
    #[error("the mesh in the configuration cannot serve: {0}")]
    Mesh(String),
}

/// Nobody has to tell that something has changed: it is seen by itself after this.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl App {
    /// Reads the state; where there is none yet, makes it.
    ///
    /// # Errors
    /// The database, the key or the configuration cannot serve.
    pub async fn open(store: Store, kek: Kek, mesh: &MeshSpec, admin_token: &str) -> Result<Arc<Self>, AppError> {
        let now = OffsetDateTime::now_utc();
        if store.mesh().await?.is_none() {
            first_start(&store, &kek, mesh, admin_token, now).await?;
        }
        let signing = signing(&store, &kek, now).await?;
        let world = watch::Sender::new(Arc::new(store.world().await?));
        let signing = RwLock::new(Arc::new(signing));
        Ok(Arc::new(Self { store, fleet: Fleet::default(), kek, signing, world }))
    }

    /// Returns what signs now.
    #[must_use]
    pub fn signing(&self) -> Arc<Signing> {
        Arc::clone(&self.signing.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the world as it was last read.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.borrow())
    }

    /// Returns a receiver that wakes with each change of the world.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<World>> {
        self.world.subscribe()
    }

    /// Reads the world again, and wakes those who wait where it is new.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn refresh(&self) -> Result<(), AppError> {
        if self.store.version().await? == self.world().version {
            return Ok(());
        }
        let world = Arc::new(self.store.world().await?);
        self.world.send_if_modified(|current| {
            let newer = world.version > current.version;
            if newer {
                *current = world;
            }
            newer
        });
        Ok(())
    }

    /// Ends every stream: the controller stops.
    pub fn stop(&self) {
        self.world().nodes.iter().for_each(|node| self.fleet.end(node.name.as_str()));
    }

    /// Rolls the issuing authority where half of its life has passed: leaves are then signed by the next.
    ///
    /// # Errors
    /// The database or the key cannot serve; the authority before stays.
    pub async fn roll(&self, now: OffsetDateTime) -> Result<(), AppError> {
        if !self.signing().authority.is_due(now) {
            return Ok(());
        }
        let root = parts(&self.store, &self.kek, "root").await?;
        let issuing = Authority::next_issuing(self.signing().authority.trust_domain(), &root, now)?;
        self.store.replace_issuing(sealed(&self.kek, "issuing", &issuing)?).await?;
        let next = Arc::new(signing(&self.store, &self.kek, now).await?);
        *self.signing.write().unwrap_or_else(PoisonError::into_inner) = next;
        tracing::info!("issuing authority rolled");
        Ok(())
    }
}

/// Returns what is stored of a token.
#[must_use]
pub fn token_hash(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

async fn first_start(
    store: &Store,
    kek: &Kek,
    mesh: &MeshSpec,
    admin_token: &str,
    now: OffsetDateTime,
) -> Result<(), AppError> {
    let (_, made) = Authority::create(&mesh.trust_domain, now)?;
    let everything = r#"{"from": "any", "to": "any", "traffic": "any", "action": "protect"}"#;
    let policy: PolicySpec = serde_json::from_str(everything).map_err(|e| AppError::Mesh(e.to_string()))?;
    let first = FirstStart {
        mesh,
        root: sealed(kek, "root", &made.root)?,
        issuing: sealed(kek, "issuing", &made.issuing)?,
        admin_hash: &token_hash(admin_token),
        policy: (&espalier_model::plan::default_profile(), &policy),
    };
    store.first_start(first, now.unix_timestamp()).await?;
    tracing::info!(trust_domain = %mesh.trust_domain, "first start: the mesh has its authority");
    Ok(())
}

async fn signing(store: &Store, kek: &Kek, now: OffsetDateTime) -> Result<Signing, AppError> {
    let mesh = store.mesh_document().await?.0;
    let root = store.authority("root").await?.certificate;
    let issuing = parts(store, kek, "issuing").await?;
    let authority = Authority::from_parts(&mesh.trust_domain, root, &issuing)?;
    let plans = PlanSigner::new(&authority, now)?;
    Ok(Signing { authority, plans })
}

async fn parts(store: &Store, kek: &Kek, kind: &str) -> Result<AuthorityParts, AppError> {
    let stored = store.authority(kind).await?;
    Ok(AuthorityParts { certificate: stored.certificate, key: kek.open(kind, &stored.key)? })
}

fn sealed(kek: &Kek, kind: &str, parts: &AuthorityParts) -> Result<SealedAuthority, KeyringError> {
    Ok(SealedAuthority { certificate: parts.certificate.clone(), key: kek.seal(kind, &parts.key)? })
}
