//! By whose keys releases are authorised, and until when.

use kenny_proto::trust::{Expiry, TrustMode, TrustRole, TrustStatus};
use maud::{Markup, html};

use crate::web::components::{badge, count, time};

/// How trust stands.
pub fn section(trust: &TrustStatus, is_owner: bool) -> Markup {
    html! {
        section aria-labelledby="keys" {
            h2 #keys { "Keys of releases" }
            @match trust.mode {
                TrustMode::HashOnly => {
                    p {
                        "Releases are not signed: PCs run what this server says. With keys that the server does not have, whoever takes the server cannot choose what runs on the PCs."
                    }
                    @if is_owner {
                        p.hint { "On your own machine, " code { "kenny keys init FOLDER" } " makes the keys, and " code { "kenny release publish" } " sends what they signed." }
                    }
                }
                TrustMode::Signed => {
                    div.scroll tabindex="0" role="group" aria-labelledby="keys" {
                        table.data.roles {
                            thead { tr {
                                th scope="col" { "Role" } th scope="col" { "Version" } th scope="col" { "Good until" } th scope="col" { "Keys" }
                            } }
                            tbody { @for role in &trust.roles { (line(role)) } }
                        }
                    }
                    p.hint { (count(trust.targets.len(), "executable is", "executables are")) " signed. Root and targets are signed by keys that the server does not have; it renews the other two by itself." }
                }
            }
            details {
                summary { "The server's own key" }
                p { "It signs snapshot and timestamp, once a root names it: " code.breaks { (trust.online_key.key_id) } }
                @if let Some(next) = &trust.next_online_key {
                    p { "The next one, which waits for a root that names it: " code.breaks { (next.key_id) } }
                }
            }
        }
    }
}

fn line(role: &TrustRole) -> Markup {
    let state = match role.expiry {
        Expiry::Far => badge("good", "Good"),
        Expiry::Near => badge("warn", "Sign anew soon"),
        Expiry::Past => badge("crit", "Over: PCs refuse updates"),
    };
    html! {
        tr {
            th scope="row" { (role.role) }
            td { (role.version) }
            td { (time(role.expires)) " " (state) }
            td { (role.threshold) " of " (role.key_ids.len()) }
        }
    }
}
