//! A client of the controller's REST interface, inside a namespace.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use espalier_api::MeshStatus;
use espalier_sys::netns::NetNs;
use reqwest::{Certificate, Client, Method, StatusCode};
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

/// The client.
pub struct Rest {
    namespace: NetNs,
    runtime: Runtime,
    client: Client,
    base: String,
    token: String,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The entity tag, if there was one.
    pub etag: Option<String>,
    /// The body.
    pub body: String,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Rest {
    /// Trusts a root and shows a token; `base` ends before `/api`.
    ///
    /// # Errors
    /// The root cannot be read.
    pub fn new(namespace: &NetNs, base: &str, root_pem: &str, token: &str) -> Result<Self> {
        // Only the first call sets it; every later one finds the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let root = Certificate::from_pem(root_pem.as_bytes())?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime
            .block_on(async { Client::builder().tls_certs_only([root]).no_proxy().timeout(PATIENCE).build() })?;
        let namespace = NetNs::open(namespace.name())?;
        Ok(Self { namespace, runtime, client, base: base.to_owned(), token: token.to_owned() })
    }

    /// Sends a request below `/api/v1`.
    ///
    /// # Errors
    /// The controller does not answer.
    pub fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        let url = format!("{}/api/v1{path}", self.base);
        let mut request = self.client.request(method, &url).bearer_auth(&self.token).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // Sockets belong to the namespace of the thread that makes them.
        let exchange = || {
            self.runtime.block_on(async {
                let response = request.send().await?;
                let (status, headers) = (response.status(), response.headers().clone());
                Ok::<_, reqwest::Error>((status, headers, response.text().await?))
            })
        };
        let (status, headers, body) =
            self.namespace.enter(exchange)?.with_context(|| format!("no answer from {url}"))?;
        let etag = headers.get("etag").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer { status, etag, body })
    }

    /// Reads what stands at a path.
    ///
    /// # Errors
    /// The controller does not answer, or not with that.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.send(Method::GET, path, &[], "")?;
        ensure!(answer.status.is_success(), "GET {path}: {} {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Sends a document, and expects that it is accepted.
    ///
    /// # Errors
    /// It is not.
    pub fn accepted(&self, method: Method, path: &str, body: &str) -> Result<Answer> {
        let answer = self.send(method, path, &[], body)?;
        ensure!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.body);
        Ok(answer)
    }

    /// Reads how the mesh stands.
    ///
    /// # Errors
    /// The controller does not answer.
    pub fn status(&self) -> Result<MeshStatus> {
        self.get("/status")
    }
}
