//! Several sockets on one port, and a program in the kernel that decides by its content which one gets a datagram: what floods one
//! fills no other's buffer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::option::set;

/// What a datagram must have to go to a socket: a word at an offset into it that is this value in the bits of a mask.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Where its four bytes begin.
    pub offset: u32,
    /// Which bits count.
    pub mask: u32,
    /// What they are.
    pub value: u32,
}

/// Attaches a program to the sockets of a port: the datagrams that have all words of the n-th list, and not of one before, go to
/// the n-th socket after the first one. The first socket gets the rest, and what is too short to tell.
pub(super) fn attach(fd: BorrowedFd<'_>, lists: &[&[Word]]) -> io::Result<()> {
    let mut program = compile(lists)?;
    let length = u16::try_from(program.len()).map_err(|_| too_long())?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // The kernel copies the program (socket(7)), which outlives the call.
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, program)
}

/// Lets further sockets share the port of this one.
pub(super) fn share_port(socket: &impl AsFd) -> io::Result<()> {
    set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1_i32)
}

/// Writes the program. A load from beyond a datagram's end makes it return zero, which is the first socket.
fn compile(lists: &[&[Word]]) -> io::Result<Vec<libc::sock_filter>> {
    let mut program = Vec::new();
    for (socket, words) in (1_u32..).zip(lists) {
        let mut left = words.len() * STEPS_PER_WORD;
        for Word { offset, mask, value } in *words {
            left -= STEPS_PER_WORD;
            // Over the words that are left and the return.
            let past = u8::try_from(left + 1).map_err(|_| too_long())?;
            program.push(step(LOAD_WORD, 0, *offset));
            program.push(step(AND, 0, *mask));
            program.push(step(JUMP_IF_EQUAL, past, value & mask));
        }
        program.push(step(RETURN, 0, socket));
    }
    program.push(step(RETURN, 0, 0));
    Ok(program)
}

fn step(code: u32, otherwise: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("codes have 16 bits"), jt: 0, jf: otherwise, k }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "too many words to tell datagrams apart by")
}

const STEPS_PER_WORD: usize = 3;
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
