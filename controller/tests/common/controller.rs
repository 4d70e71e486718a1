//! A controller in this process, on loopback, with a real database.

use std::net::SocketAddr;
use std::sync::Arc;

use espalier_controller::app::{App, token_hash};
use espalier_controller::keyring::Kek;
use espalier_controller::store::{Store, TokenRow};
use tempfile::TempDir;
use time::OffsetDateTime;

/// The administrator's token.
pub(crate) const ADMIN: &str = "admin-token-of-the-tests";

/// The controller's state with the folder it lies in.
pub(crate) struct Controller {
    pub(crate) app: Arc<App>,
    _folder: TempDir,
}

impl Controller {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("controller.db")).await.unwrap();
        let kek = Kek::from_file(&folder.path().join("etc/kek")).unwrap();
        let mesh = r#"{"trustDomain": "mesh.example", "pools": ["10.10.0.0/24"]}"#;
        let app = App::open(store, kek, &serde_json::from_str(mesh).unwrap(), ADMIN).await.unwrap();
        Self { app, _folder: folder }
    }

    /// Adds a join token that is known by its text.
    #[allow(dead_code, reason = "not every test file needs it")]
    pub(crate) async fn token(&self, text: &str, uses_left: Option<u32>, seconds: i64) {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let name = text.parse().unwrap();
        let row = TokenRow { name, uses_left, expires: now + seconds, labels: serde_json::from_str("{}").unwrap() };
        self.app.store.add_token("test", &row, &token_hash(text), now).await.unwrap();
    }
}

/// Returns a loopback address that nobody listens on yet.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
