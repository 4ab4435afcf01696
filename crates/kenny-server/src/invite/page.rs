//! The page of an invitation: for somebody who never installed anything by hand. One button, what happens after it, and
//! whom to ask. No script, nothing from elsewhere.

use jiff::{SignedDuration, Timestamp};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// What the page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    /// The server's host, as its operator knows it.
    pub host: &'a str,
    /// How the invitation stands.
    pub state: State<'a>,
}

/// How an invitation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State<'a> {
    /// It can be used.
    Open {
        /// The name that the PC gets.
        agent_id: &'a str,
        /// Until when.
        expires_at: Timestamp,
        /// What the button downloads; none where the operator has not released an agent yet.
        download: Option<Download<'a>>,
    },
    /// Somebody used it.
    Used {
        /// The name that the PC has.
        agent_id: &'a str,
    },
    /// Its time is over, or another one took its place.
    Over {
        /// The name that the PC was to get.
        agent_id: &'a str,
    },
    /// There is none with this code.
    Unknown,
}

/// What the button downloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download<'a> {
    /// Its address, relative to the page's.
    pub href: String,
    /// The file's name.
    pub file_name: &'a str,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Who signed it, where somebody did.
    pub signer: Option<&'a str>,
}

/// The page's style; the only thing besides text that its policy allows.
pub const STYLE: &str = "body{font:1.15rem/1.5 system-ui,sans-serif;max-width:36rem;margin:2rem auto;padding:0 1rem;color:#1d2330;background:#fff}\
h1{font-size:1.6rem}a.go{display:block;margin:1.5rem 0;padding:1rem;border-radius:.5rem;background:#1b5e9b;color:#fff;text-align:center;\
text-decoration:none;font-size:1.3rem}a.go:focus{outline:.25rem solid #f0a500}small{color:#566}li{margin:.5rem 0}";

/// Renders it as of now.
pub fn render(page: &Page<'_>, now: Timestamp) -> Markup {
    let body = match &page.state {
        State::Open { agent_id, expires_at, download } => {
            open(page.host, agent_id, *expires_at, download.as_ref(), now)
        }
        State::Used { agent_id } => html! {
            h1 { "This invitation was used" }
            p { "The PC " strong { (agent_id) } " is set up. You need not do anything." }
            p { "If you did not set it up yourself, tell the person who sent you this link." }
        },
        State::Over { agent_id } => html! {
            h1 { "This invitation is no longer valid" }
            p { "It was for the PC " strong { (agent_id) } ". Ask the person who sent you this link for a new one." }
        },
        State::Unknown => html! {
            h1 { "There is no such invitation" }
            p { "Perhaps a part of the link is missing: open it once more from the message in which you got it." }
            p { "If that does not help, ask the person who sent it to you for a new one." }
        },
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { "Kenny: your invitation" }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
}

fn open(
    host: &str,
    agent_id: &str,
    expires_at: Timestamp,
    download: Option<&Download<'_>>,
    now: Timestamp,
) -> Markup {
    html! {
        h1 { "Let somebody look after this PC" }
        p {
            "You are invited to connect one PC, as " strong { (agent_id) } ", to " strong { (host) }
            ". The person who sent you this link can then see how the PC is, keep it up to date, and put things right."
        }
        @if let Some(download) = download {
            p { "Open this page on that PC. Then:" }
            a.go href=(download.href) download=(download.file_name) { "Download for Windows" }
            p { small { (download.file_name) ", " (size(download.size_bytes)) } }
            (steps(download))
            p { "It takes a minute, and you can remove it at any time in Settings, under Installed apps." }
            p {
                strong { "Only go on if you know who sent you this link." }
                " It works once, and for another " (left(expires_at, now)) "."
            }
        } @else {
            p {
                "There is nothing to download yet. Tell the person who sent you this link that an agent for Windows has to be "
                "released first. The invitation is good for another " (left(expires_at, now)) "."
            }
        }
    }
}

fn steps(download: &Download<'_>) -> Markup {
    html! {
        ol {
            li { "Press the button. If the browser doubts the file, choose " strong { "Keep" } "." }
            li {
                "Open the file. If a blue window says that " strong { "Windows protected your PC" } ", press "
                strong { "More info" } " and then " strong { "Run anyway" } "."
            }
            li { "A small window tells you what will happen. Press " strong { "OK" } "." }
            li {
                "Windows asks whether this app may make changes to your device. "
                @match download.signer {
                    Some(signer) => { "It names the publisher " strong { (signer) } ". " }
                    None => { "It says that the publisher is unknown. " }
                }
                "Press " strong { "Yes" } "."
            }
            li { "Wait until a window says " strong { "Done" } "." }
        }
    }
}

fn size(bytes: u64) -> String {
    const MEGABYTE: u64 = 1_000_000;
    format!("{} MB", bytes.div_ceil(MEGABYTE))
}

/// How long it is still good, rounded down: nobody shall come too late.
fn left(expires_at: Timestamp, now: Timestamp) -> String {
    let left = expires_at.duration_since(now).max(SignedDuration::ZERO);
    let plural = |count: i64, unit: &str| match count {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    };
    match (left.as_hours(), left.as_mins()) {
        (hours, _) if hours >= 48 => plural(hours / 24, "day"),
        (hours, _) if hours >= 1 => plural(hours, "hour"),
        (_, minutes) => plural(minutes, "minute"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn page(state: State<'_>) -> String {
        render(&Page { host: "kenny.example", state }, NOW).into_string()
    }

    fn open_page(download: Option<Download<'_>>) -> String {
        page(State::Open {
            agent_id: "annas-pc",
            expires_at: NOW + SignedDuration::from_hours(23),
            download,
        })
    }

    fn download(signer: Option<&str>) -> Download<'_> {
        Download {
            href: "CODE/kenny-agent-setup-annas-pc.exe".to_owned(),
            file_name: "kenny-agent-setup-annas-pc.exe",
            size_bytes: 8_000_001,
            signer,
        }
    }

    #[test]
    fn an_open_invitation_has_one_button_and_the_words_that_windows_will_say() {
        let text = open_page(Some(download(None)));
        assert_eq!(text.matches("<a ").count(), 1);
        for part in [
            "annas-pc",
            "kenny.example",
            "Run anyway",
            "publisher is unknown",
            "another 23 hours",
            "9 MB",
            "href=\"CODE/kenny-agent-setup-annas-pc.exe\"",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let text = open_page(Some(download(Some("Anna <Ltd>"))));
        assert!(text.contains("Anna &lt;Ltd&gt;") && !text.contains("unknown"), "{text}");
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_runs() {
        for text in [
            open_page(Some(download(None))),
            open_page(None),
            page(State::Used { agent_id: "annas-pc" }),
            page(State::Over { agent_id: "annas-pc" }),
            page(State::Unknown),
        ] {
            for part in ["<script", "src=", "http:", "https:", "url(", "onclick", "<form"] {
                assert!(!text.contains(part), "{part} is in {text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_used_says_so_and_offers_nothing() {
        for (state, words) in [
            (State::Used { agent_id: "annas-pc" }, "was used"),
            (State::Over { agent_id: "annas-pc" }, "no longer valid"),
            (State::Unknown, "no such invitation"),
        ] {
            let text = page(state);
            assert!(text.contains(words) && !text.contains("<a "), "{text}");
        }
        let text = open_page(None);
        assert!(text.contains("nothing to download yet") && !text.contains("<a "), "{text}");
    }

    #[test]
    fn the_time_left_is_rounded_down() {
        let left = |seconds| left(NOW + SignedDuration::from_secs(seconds), NOW);
        assert_eq!(left(-5), "0 minutes");
        assert_eq!(left(119), "1 minute");
        assert_eq!(left(2 * 3600 - 1), "1 hour");
        assert_eq!(left(48 * 3600), "2 days");
    }
}
