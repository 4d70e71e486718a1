//! What one TCP connection through a tunnel carries.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::lab::Host;

/// Measures from one host to an address of another, in Mbit/s.
///
/// # Errors
/// There is no connection.
pub fn measure(from: &Host, to: (&Host, IpAddr), time: Duration) -> Result<f64> {
    // Any port: one that was used before may still be held by a process that another test is just starting.
    let listener = to.0.namespace.enter(|| TcpListener::bind((to.1, 0)))??;
    let address = listener.local_addr()?;
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
    let mut stream = from.namespace.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)))??;
    let (chunk, start) = (vec![0; 1 << 17], Instant::now());
    while start.elapsed() < time {
        stream.write_all(&chunk)?;
    }
    drop(stream);
    let (bytes, took) = receiver.join().map_err(|_| anyhow!("the receiver panicked"))??;
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    let bits = bytes as f64 * 8.0;
    Ok(bits / took.as_secs_f64() / 1e6)
}
