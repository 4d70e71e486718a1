//! The local socket: who connects is told the status as JSON. Only root can.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::time::timeout;

use super::{Asker, Status};

const PATIENCE: Duration = Duration::from_secs(5);

/// Answers on a socket until the agent ends. An old socket that nobody serves is replaced.
///
/// # Errors
/// The socket cannot be made, or another agent serves it.
pub fn serve(path: &Path, asker: Asker) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another agent serves it"));
    }
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                // No descriptor is left: some will be.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Some(status) = asker.status().await else { return };
            tokio::spawn(async move {
                let text = serde_json::to_vec(&*status).unwrap_or_default();
                // Who does not listen misses it.
                let _ = timeout(PATIENCE, stream.write_all(&text)).await;
            });
        }
    });
    Ok(())
}

/// Asks the agent that serves a socket.
///
/// # Errors
/// There is no agent, or this user may not ask.
pub fn ask(path: &Path) -> io::Result<Status> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}
