//! Network namespaces, under the names that ip-netns(8) knows.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::netlink::Netlink;

/// A named network namespace. One that was created is deleted with the value, unless it is kept.
#[derive(Debug)]
pub struct NetNs {
    name: String,
    file: File,
    owned: bool,
}

/// Where ip-netns(8) keeps its names.
const FOLDER: &str = "/run/netns";

impl NetNs {
    /// Creates a namespace with its loopback interface up.
    ///
    /// # Errors
    /// The name is taken, or the privilege is missing.
    pub fn create(name: &str) -> Result<Self, Error> {
        let fail = |source| Error::with_capability(format!("create network namespace {name}"), "CAP_SYS_ADMIN", source);
        let path = path_of(name).map_err(fail)?;
        share_folder().map_err(fail)?;
        File::create_new(&path).map_err(fail)?;
        let bound = std::thread::scope(|scope| scope.spawn(|| unshare_and_bind(&path)).join());
        let bound = bound.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Err(source) = bound {
            // The file is ours and nothing is mounted on it; the first error is the one to tell.
            let _ = std::fs::remove_file(&path);
            return Err(fail(source));
        }
        let mut namespace = Self::open(name)?;
        namespace.owned = true;
        namespace.enter(|| {
            let mut netlink = Netlink::open()?;
            let loopback = netlink.link_index("lo")?;
            netlink.set_up(loopback)
        })??;
        Ok(namespace)
    }

    /// Opens a namespace that exists; the value does not delete it.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn open(name: &str) -> Result<Self, Error> {
        let fail = |source| Error::with_capability(format!("open network namespace {name}"), "CAP_SYS_ADMIN", source);
        let file = File::open(path_of(name).map_err(fail)?).map_err(fail)?;
        Ok(Self { name: name.to_owned(), file, owned: false })
    }

    /// Returns its name, as `ip netns exec` takes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the namespace in place when the value goes.
    pub fn keep(&mut self) {
        self.owned = false;
    }

    /// Deletes the name. The namespace itself lives on while a process or socket is in it.
    ///
    /// # Errors
    /// It is gone, or the privilege is missing.
    pub fn delete(mut self) -> Result<(), Error> {
        self.owned = false;
        remove(&self.name).map_err(|source| {
            Error::with_capability(format!("delete network namespace {}", self.name), "CAP_SYS_ADMIN", source)
        })
    }

    /// Runs a function on a thread of its own inside the namespace, and waits for it. Sockets made there stay there.
    ///
    /// # Errors
    /// The privilege is missing; the function has not run then.
    ///
    /// # Panics
    /// As the function does.
    pub fn enter<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let inside = || switch(self.file.as_raw_fd()).map(|()| function());
        let result = std::thread::scope(|scope| scope.spawn(inside).join());
        let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.map_err(|source| {
            Error::with_capability(format!("enter network namespace {}", self.name), "CAP_SYS_ADMIN", source)
        })
    }

    /// Returns a command that will run inside the namespace. The value must live until the command is spawned.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let fd = self.file.as_raw_fd();
        // SAFETY: the closure runs between fork and exec and makes one system call, setns(2), which is async-signal-safe.
        unsafe { command.pre_exec(move || switch(fd)) };
        command
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        if self.owned
            && let Err(error) = remove(&self.name)
        {
            tracing::warn!(namespace = %self.name, %error, "network namespace is left behind");
        }
    }
}

fn path_of(name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a namespace's name is a file name"));
    }
    Ok(Path::new(FOLDER).join(name))
}

fn remove(name: &str) -> io::Result<()> {
    let path = path_of(name)?;
    let raw = c_path(&path)?;
    // SAFETY: umount2(2) reads a string that ends in a zero.
    let unmounted = check(unsafe { libc::umount2(raw.as_ptr(), libc::MNT_DETACH) });
    std::fs::remove_file(&path).and(unmounted)
}

/// Makes the folder a shared mount as ip-netns(8) does, so that deleting a name takes effect in every mount namespace.
fn share_folder() -> io::Result<()> {
    std::fs::create_dir_all(FOLDER)?;
    let shared = libc::MS_SHARED | libc::MS_REC;
    match mount(None, Path::new(FOLDER), shared) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            mount(Some(Path::new(FOLDER)), Path::new(FOLDER), libc::MS_BIND | libc::MS_REC)?;
            mount(None, Path::new(FOLDER), shared)
        }
        result => result,
    }
}

fn unshare_and_bind(path: &Path) -> io::Result<()> {
    // SAFETY: unshare(2) takes no pointers; the thread is ours alone and ends after this.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    mount(Some(Path::new("/proc/thread-self/ns/net")), path, libc::MS_BIND)
}

fn switch(fd: RawFd) -> io::Result<()> {
    // SAFETY: setns(2) takes no pointers.
    check(unsafe { libc::setns(fd, libc::CLONE_NEWNET) })
}

fn mount(source: Option<&Path>, target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let source = c_path(source.unwrap_or_else(|| Path::new("")))?;
    let target = c_path(target)?;
    // SAFETY: mount(2) reads strings that end in a zero and outlive the call; file system and data are not used with these flags.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), c"none".as_ptr(), flags, std::ptr::null()) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
