//! The door: every socket comes through it, before TLS. One that has proved nothing is counted against its address, has a
//! time by which it must, and may send so many bytes until then.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tower::Layer as _;

use super::address::source;
use super::{Limits, SOCKETS_WHEN_FULL};

/// Counts sockets that have proved nothing.
#[derive(Debug)]
pub struct Doorkeeper {
    limits: Limits,
    /// Their sockets carry the requests of many, who are told apart by what they name.
    trusted_proxies: Vec<IpAddr>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of: HashMap<IpAddr, usize>,
    turned_away: u64,
}

/// One socket. Every request on it has this among its extensions.
#[derive(Debug)]
pub struct Slot {
    keeper: Arc<Doorkeeper>,
    /// Whom it counts against; nobody where it is a trusted proxy's.
    source: Option<IpAddr>,
    proven: AtomicBool,
    bytes_left: AtomicI64,
}

impl Doorkeeper {
    /// Nobody has come yet.
    pub fn new(limits: Limits, trusted_proxies: Vec<IpAddr>) -> Arc<Self> {
        Arc::new(Self { limits, trusted_proxies, counts: Mutex::default() })
    }

    /// A socket of this peer, or a request of whom a proxy names, where there is room for it.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<Slot>> {
        let peer = peer.to_canonical();
        let is_proxy = self.trusted_proxies.contains(&peer);
        let source = (!is_proxy).then(|| source(peer));
        if let Some(source) = source {
            let mut counts = self.counts();
            let of_one = counts.of.get(&source).copied().unwrap_or(0);
            let is_full = counts.all >= self.limits.sockets;
            let most = if is_full { SOCKETS_WHEN_FULL } else { self.limits.sockets_of_address };
            if of_one >= most {
                counts.turned_away += 1;
                return None;
            }
            counts.all += 1;
            counts.of.insert(source, of_one + 1);
        }
        Some(Arc::new(Slot {
            keeper: Arc::clone(self),
            source,
            proven: AtomicBool::new(is_proxy),
            bytes_left: AtomicI64::new(self.proof_bytes()),
        }))
    }

    fn proof_bytes(&self) -> i64 {
        i64::try_from(self.limits.proof_bytes).unwrap_or(i64::MAX)
    }

    /// How many sockets have proved nothing, and how many were turned away so far.
    pub fn unproven(&self) -> (usize, u64) {
        let counts = self.counts();
        (counts.all, counts.turned_away)
    }

    fn leave(&self, source: IpAddr) {
        let mut counts = self.counts();
        counts.all -= 1;
        match counts.of.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(counts.of.remove(&source)),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Whoever uses this socket has proved who it is.
    pub fn prove(&self) {
        if !self.proven.swap(true, Ordering::Relaxed)
            && let Some(source) = self.source
        {
            self.keeper.leave(source);
        }
    }

    /// The socket becomes a tunnel, which proves itself by what it sends next; a proxy's sockets, too.
    pub fn watch(&self) {
        if self.source.is_none() {
            self.bytes_left.store(self.keeper.proof_bytes(), Ordering::Relaxed);
            self.proven.store(false, Ordering::Relaxed);
        }
    }

    /// True for a socket of a trusted proxy.
    pub const fn is_proxys(&self) -> bool {
        self.source.is_none()
    }

    fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// So many bytes came. False when there were too many.
    fn received(&self, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.is_proven() || self.bytes_left.fetch_sub(bytes, Ordering::Relaxed) >= bytes
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.prove();
    }
}

/// Lets sockets in to the acceptor behind it.
#[derive(Debug, Clone)]
pub struct Door<A> {
    keeper: Arc<Doorkeeper>,
    inner: A,
}

impl<A> Door<A> {
    /// In front of this acceptor.
    pub const fn new(keeper: Arc<Doorkeeper>, inner: A) -> Self {
        Self { keeper, inner }
    }
}

type Accepting<T, S> =
    Pin<Box<dyn Future<Output = io::Result<(Guarded<T>, AddExtension<S, Arc<Slot>>)>> + Send>>;

impl<A, S> Accept<TcpStream, S> for Door<A>
where
    A: Accept<TcpStream, S>,
    A::Stream: Send + 'static,
    A::Service: Send + 'static,
    A::Future: Send + 'static,
{
    type Stream = Guarded<A::Stream>;
    type Service = AddExtension<A::Service, Arc<Slot>>;
    type Future = Accepting<A::Stream, A::Service>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let slot = stream.peer_addr().map(|peer| self.keeper.admit(peer.ip()));
        let slot = match slot {
            Ok(Some(slot)) => slot,
            Ok(None) => {
                let words = "its address has too many connections that proved nothing";
                let error = io::Error::new(io::ErrorKind::ConnectionRefused, words);
                return Box::pin(std::future::ready(Err(error)));
            }
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let deadline = Box::pin(tokio::time::sleep(self.keeper.limits.proof_time));
        let accepting = self.inner.accept(stream, service);
        Box::pin(async move {
            let (inner, service) = accepting.await?;
            let service = Extension(Arc::clone(&slot)).layer(service);
            Ok((Guarded { inner, slot, deadline: Some(deadline) }, service))
        })
    }
}

/// A socket that has to prove itself in time.
#[derive(Debug)]
pub struct Guarded<T> {
    inner: T,
    slot: Arc<Slot>,
    /// Gone once it has: ten thousand agents idle without it.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> Guarded<T> {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(deadline) = &mut self.deadline else { return Ok(()) };
        if self.slot.is_proven() {
            self.deadline = None;
            return Ok(());
        }
        if deadline.as_mut().poll(context).is_ready() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it proved nothing in time"));
        }
        Ok(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if !self.slot.received(buffer.filled().len() - before) {
            let words = "it sent too much before it proved anything";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(proxies: &[&str]) -> Arc<Doorkeeper> {
        let limits =
            Limits { sockets_of_address: 10, sockets: 25, proof_bytes: 100, ..Limits::default() };
        Doorkeeper::new(limits, proxies.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    fn admit(keeper: &Arc<Doorkeeper>, peer: &str, count: usize) -> Vec<Arc<Slot>> {
        (0..count).filter_map(|_| keeper.admit(peer.parse().unwrap())).collect()
    }

    #[test]
    fn an_address_has_its_share_and_who_has_proved_itself_does_not_count() {
        let keeper = keeper(&[]);
        let office = admit(&keeper, "192.0.2.1", 20);
        assert_eq!(office.len(), 10);
        for slot in &office {
            slot.prove();
            slot.prove();
        }
        assert_eq!(keeper.unproven(), (0, 10));
        let more = admit(&keeper, "192.0.2.1", 20);
        assert_eq!(more.len(), 10, "a hundred PCs come in by tens");
        drop((office, more));
        assert_eq!(keeper.unproven().0, 0);
        assert!(keeper.counts().of.is_empty());
    }

    #[test]
    fn a_full_house_still_has_room_for_newcomers() {
        let keeper = keeper(&[]);
        let crowd: Vec<_> =
            (1..=3).flat_map(|n| admit(&keeper, &format!("192.0.2.{n}"), 10)).collect();
        assert!(crowd.len() >= 25);
        assert_eq!(admit(&keeper, "192.0.2.9", 20).len(), SOCKETS_WHEN_FULL);
        assert_eq!(admit(&keeper, "192.0.2.1", 1).len(), 0);
    }

    #[test]
    fn a_proxys_sockets_are_free_until_they_become_tunnels() {
        let keeper = keeper(&["127.0.0.1"]);
        let slots = admit(&keeper, "127.0.0.1", 50);
        assert_eq!((slots.len(), keeper.unproven().0), (50, 0));
        assert!(slots[0].received(1_000_000));
        slots[0].watch();
        assert!(slots[0].received(100) && !slots[0].received(1));
        slots[1].watch();
        slots[1].prove();
        assert!(slots[1].received(1_000_000));
        drop(slots);
        assert_eq!(keeper.unproven().0, 0);
    }
}
