//! Where a request comes from: the peer of its socket, or, where that is a proxy that the operator trusts, whom the proxy
//! names. Nobody else's `X-Forwarded-For` is believed.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address that a request came from. Of what a proxy names, the last one that is no trusted proxy itself counts:
/// whatever stands before it, the client may have written.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let mut client = peer.to_canonical();
    if !trusted.contains(&client) {
        return client;
    }
    let named: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .collect();
    for name in named.into_iter().rev() {
        let Ok(address) = name.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
        if !trusted.contains(&client) {
            break;
        }
    }
    client
}

/// What counts as one source: an address, or in IPv6 the network that one subscriber has.
pub fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn of(peer: &str, forwarded: &[&str], trusted: &[&str]) -> IpAddr {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let trusted: Vec<IpAddr> = trusted.iter().map(|address| ip(address)).collect();
        client(ip(peer), &headers, &trusted)
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(of("192.0.2.1", &["10.0.0.9"], &[]), ip("192.0.2.1"));
        assert_eq!(of("192.0.2.1", &["10.0.0.9"], &["192.0.2.2"]), ip("192.0.2.1"));
        assert_eq!(of("192.0.2.1", &["10.0.0.9"], &["192.0.2.1"]), ip("10.0.0.9"));
        assert_eq!(of("::ffff:192.0.2.1", &["10.0.0.9"], &["192.0.2.1"]), ip("10.0.0.9"));
    }

    #[test]
    fn what_the_client_wrote_itself_is_not_believed() {
        let trusted = ["192.0.2.1", "192.0.2.2"];
        assert_eq!(of("192.0.2.1", &["1.1.1.1, 10.0.0.9"], &trusted), ip("10.0.0.9"));
        assert_eq!(of("192.0.2.1", &["1.1.1.1", "10.0.0.9, 192.0.2.2"], &trusted), ip("10.0.0.9"));
        assert_eq!(of("192.0.2.1", &["10.0.0.9, nonsense"], &trusted), ip("192.0.2.1"));
        assert_eq!(of("192.0.2.1", &[], &trusted), ip("192.0.2.1"));
    }

    #[test]
    fn one_subscriber_is_one_source() {
        assert_eq!(source(ip("2001:db8:1:2:3::4")), source(ip("2001:db8:1:2:ffff::1")));
        assert_ne!(source(ip("2001:db8:1:2::1")), source(ip("2001:db8:1:3::1")));
        assert_ne!(source(ip("192.0.2.1")), source(ip("192.0.2.2")));
    }
}
