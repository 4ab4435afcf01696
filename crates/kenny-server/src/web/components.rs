//! Pieces that pages are made of.

use jiff::Timestamp;
use maud::{Markup, html};

use super::csrf::{self, CsrfToken};

/// The hidden field without which no form is accepted.
pub fn csrf_field(token: &CsrfToken) -> Markup {
    html! { input type="hidden" name=(csrf::FIELD) value=(token.as_str()); }
}

/// Something that went wrong, read out at once by what reads pages aloud.
pub fn problem(words: &str) -> Markup {
    html! { p.notice.bad role="alert" { (words) } }
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
    html! { time datetime=(at.to_string()) { (at.strftime("%Y-%m-%d %H:%M UTC").to_string()) } }
}
