//! What one TCP connection through a tunnel carries.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use espalier_api::MeshStatus;
use espalier_e2e::mesh::{Mesh, address};

const TIME: Duration = Duration::from_secs(2);

/// Measures for two seconds between the first two nodes, in Mbit/s.
pub(super) fn measure(mesh: &Mesh, status: &MeshStatus) -> Result<f64> {
    let [one, two, ..] = &mesh.lab.hosts[..] else { return Ok(0.0) };
    let to = SocketAddr::new(address(status, two, true)?, 5201);
    let listener = two.namespace.enter(|| TcpListener::bind(to))??;
    let receiver = thread::spawn(move || -> std::io::Result<(u64, Duration)> {
        let (mut stream, _) = listener.accept()?;
        let (mut buffer, mut bytes, start) = (vec![0; 1 << 20], 0, Instant::now());
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok((bytes, start.elapsed())),
                read => bytes += u64::try_from(read).unwrap_or_default(),
            }
        }
    });
    let mut stream = one.namespace.enter(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)))??;
    let (chunk, start) = (vec![0; 1 << 17], Instant::now());
    while start.elapsed() < TIME {
        stream.write_all(&chunk)?;
    }
    drop(stream);
    let (bytes, took) = receiver.join().map_err(|_| anyhow!("the receiver panicked"))??;
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    let bits = bytes as f64 * 8.0;
    Ok(bits / took.as_secs_f64() / 1e6)
}
