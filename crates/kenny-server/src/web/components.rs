//! Pieces that pages are made of.

use jiff::{SignedDuration, Timestamp};
use kenny_proto::frames::Status;
use maud::{Markup, html};

use super::csrf::{self, CsrfToken};

/// The hidden field without which no form is accepted.
pub fn csrf_field(token: &CsrfToken) -> Markup {
    html! { input type="hidden" name=(csrf::FIELD) value=(token.as_str()); }
}

/// A text whose commands stand between backticks.
pub fn prose(words: &str) -> Markup {
    html! {
        @for (at, part) in words.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Something that went wrong, read out at once by what reads pages aloud.
pub fn problem(words: &str) -> Markup {
    html! { p.notice.bad role="alert" { (prose(words)) } }
}

/// Something to take care of.
pub fn caution(content: &Markup) -> Markup {
    html! { div.notice.caution { (content) } }
}

/// A button that does one thing to one entry of a list. `label` names the entry for who does not see the list.
pub fn row_action(token: &CsrfToken, action: &str, id: &str, words: &str, label: &str) -> Markup {
    html! {
        form method="post" action=(action) {
            (csrf_field(token))
            input type="hidden" name="id" value=(id);
            button.danger type="submit" aria-label=(label) { (words) }
        }
    }
}

/// A time, to the minute, in UTC.
pub fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at.to_string()) { (utc(at)) } }
}

/// A time as the distance to now, with the time itself where the mouse rests; after a month the day.
pub fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at.to_string()) title=(utc(at)) { (ago_words(at, now)) } }
}

/// A time for people, to the minute.
pub fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn ago_words(at: Timestamp, now: Timestamp) -> String {
    let past = now.duration_since(at);
    let (distance, ahead) = if past.is_negative() { (-past, true) } else { (past, false) };
    let words = match distance.as_secs() {
        ..60 => return if ahead { "in a moment".to_owned() } else { "just now".to_owned() },
        60..7200 => format!("{} min", distance.as_mins()),
        7200..172_800 => format!("{} h", distance.as_hours()),
        172_800..2_678_400 => format!("{} days", distance.as_hours() / 24),
        _ => return at.strftime("%Y-%m-%d").to_string(),
    };
    if ahead { format!("in {words}") } else { format!("{words} ago") }
}

/// How long something took: `4.2 s`, `3 min 5 s`.
pub fn took(time: SignedDuration) -> String {
    let millis = time.as_millis().max(0);
    match millis {
        ..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1000),
        _ => format!("{} h {} min", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

/// A number of bytes: `7.6 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    match tenths {
        ..1000 => format!("{}.{} {unit}", tenths / 10, tenths % 10),
        _ => format!("{} {unit}", tenths / 10),
    }
}

/// `1 PC`, `1,204 PCs`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A number with its thousands apart.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A dot and a word. Colour alone says nothing.
pub fn badge(class: &str, words: &str) -> Markup {
    html! { span.badge.(class) { (words) } }
}

/// How well something is.
pub fn status_badge(status: Status) -> Markup {
    match status {
        Status::Ok => badge("good", "OK"),
        Status::Warn => badge("warn", "Warning"),
        Status::Crit => badge("crit", "Critical"),
    }
}

/// A bar that is full to so many per mille, such as a disk. It is a picture: the words stand beside it.
pub fn bar(per_mille: u64, status: Status) -> Markup {
    let class = match status {
        Status::Ok => "fill",
        Status::Warn => "fill warn",
        Status::Crit => "fill crit",
    };
    html! {
        svg.meter viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.track width="1000" height="8" {}
            rect class=(class) width=(per_mille.min(1000)) height="8" {}
        }
    }
}

/// What is shown where there is nothing yet.
pub fn empty(title: &str, content: &Markup) -> Markup {
    html! { div.empty { h2 { (title) } (content) } }
}

/// Links to the pages before and after. Addresses by `page_path`; pages count from 1.
pub fn pager(page: usize, pages: usize, page_path: impl Fn(usize) -> String) -> Markup {
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages" {
                @if page > 1 { a.button rel="prev" href=(page_path(page - 1)) { "Previous" } }
                span { "Page " (grouped(page)) " of " (grouped(pages)) }
                @if page < pages { a.button rel="next" href=(page_path(page + 1)) { "Next" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_distances_until_they_are_days() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for (seconds, words) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 min ago"),
            (7199, "119 min ago"),
            (7200, "2 h ago"),
            (172_800, "2 days ago"),
            (2_678_400, "2026-12-15"),
            (-30, "in a moment"),
            (-600, "in 10 min"),
        ] {
            let at = now - SignedDuration::from_secs(seconds);
            assert_eq!(ago_words(at, now), words, "{seconds}");
        }
    }

    #[test]
    fn commands_in_a_text_are_set_apart_and_nothing_gets_out() {
        let text = prose("say `kenny <x>`, or not").into_string();
        assert_eq!(text, "say <code>kenny &lt;x&gt;</code>, or not");
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(8_000_000), "7.6 MiB");
        assert_eq!(size(500 * 1024 * 1024 * 1024), "500 GiB");
        assert_eq!(count(1, "PC", "PCs"), "1 PC");
        assert_eq!(count(1_234_567, "PC", "PCs"), "1,234,567 PCs");
        assert_eq!(took(SignedDuration::from_millis(4250)), "4.2 s");
        assert_eq!(took(SignedDuration::from_secs(185)), "3 min 5 s");
        assert_eq!(took(SignedDuration::from_millis(-5)), "0 ms");
    }
}
