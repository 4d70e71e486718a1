//! Bytes by TCP and by UDP, each of which is looked at where it arrives.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use espalier_sys::netns::NetNs;

/// Any port: one that was used before may still be held by a process that another test is just starting.
const ANY_PORT: u16 = 0;
/// A transfer that makes no progress for so long has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Datagrams that are under way at once: no buffer is too small for them.
const AT_ONCE: usize = 8;

/// Sends so many bytes by TCP to an address in another namespace, and checks that the same arrive.
///
/// # Errors
/// There is no connection, it stands still, or what arrives is something else.
pub fn stream(from: &NetNs, (to, address): (&NetNs, IpAddr), bytes: usize) -> Result<()> {
    let listener = to.enter(|| TcpListener::bind((address, ANY_PORT)))??;
    let address = listener.local_addr()?;
    let sent = content(bytes, 0);
    let expected = sent.clone();
    let receiver = thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut came = vec![0; expected.len()];
        stream.read_exact(&mut came).with_context(|| format!("{bytes} bytes to {address}"))?;
        ensure!(came == expected, "other bytes arrive at {address} than were sent");
        Ok(())
    });
    let mut stream = from
        .enter(|| TcpStream::connect_timeout(&address, PATIENCE))?
        .with_context(|| format!("no connection to {address}"))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&sent)?;
    receiver.join().map_err(|_| anyhow!("the receiver panicked"))?
}

/// Sends so many datagrams of one length to an address in another namespace, and checks that each arrives as it was.
///
/// # Errors
/// One is lost, or is another one.
pub fn datagrams(from: &NetNs, (to, address): (&NetNs, IpAddr), count: usize, length: usize) -> Result<()> {
    let receiver = to.enter(|| UdpSocket::bind((address, ANY_PORT)))??;
    let address = receiver.local_addr()?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let sender = from.enter(|| UdpSocket::bind(any))??;
    let mut came = vec![0; length + 1];
    for first in (0..count).step_by(AT_ONCE) {
        let numbers = first..count.min(first + AT_ONCE);
        for number in numbers.clone() {
            sender.send_to(&content(length, number), address)?;
        }
        for number in numbers {
            let read = receiver.recv(&mut came).with_context(|| format!("datagram {number} to {address} is lost"))?;
            ensure!(
                came.get(..read) == Some(&content(length, number)),
                "datagram {number} to {address} is another one"
            );
        }
    }
    Ok(())
}

/// Bytes of which no part looks like another.
fn content(length: usize, seed: usize) -> Vec<u8> {
    let mut state = u64::try_from(seed).unwrap_or(0).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}
