//! Both lists as files, newest first, in pieces: however long they are, a piece of them is in memory.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use kenny_proto::api::Event;
use kenny_proto::audit::AuditRow;
use serde::Serialize;

use super::Wish;
use crate::app::App;
use crate::ops::{self, OpsError};
use crate::web::error::WebError;
use crate::web::session::SignedIn;

/// Entries that are read at a time.
const PIECE: u32 = 1000;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Events,
    Audit,
}

/// What a file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Lines,
}

/// A list in a format: what a file's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct File {
    list: List,
    format: Format,
}

impl File {
    fn named(name: &str) -> Option<Self> {
        let (list, format) = match name {
            "events.csv" => (List::Events, Format::Csv),
            "events.jsonl" => (List::Events, Format::Lines),
            "audit.csv" => (List::Audit, Format::Csv),
            "audit.jsonl" => (List::Audit, Format::Lines),
            _ => return None,
        };
        Some(Self { list, format })
    }

    const fn content_type(self) -> &'static str {
        match self.format {
            Format::Csv => "text/csv; charset=utf-8",
            Format::Lines => "application/jsonl",
        }
    }

    /// What stands above the entries.
    fn head(self) -> String {
        match (self.format, self.list) {
            (Format::Lines, _) => String::new(),
            (Format::Csv, List::Events) => csv(&["id", "at", "kind", "agent", "summary"]),
            (Format::Csv, List::Audit) => csv(&[
                "sequence", "at", "account", "role", "face", "from", "action", "agent", "subject",
                "outcome", "call", "facts", "hash",
            ]),
        }
    }
}

/// A piece of a file, and before which entry the next one begins.
struct Piece {
    text: String,
    next: Option<i64>,
}

/// `GET /activity/export/FILE`.
pub async fn file(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let file = File::named(&name).ok_or(WebError::NotFound)?;
    let wish = Wish { before: None, ..Wish::read(query) };
    // The first piece comes before the answer begins: who may not see it is told so.
    let mut first = piece(&app, &who, file, &wish).await?;
    first.text.insert_str(0, &file.head());
    let rest = Rest { app, who, file, wish, piece: Some(first) };
    // A piece that cannot be read ends the answer early, which a browser tells from its end.
    let pieces = stream::try_unfold(rest, Rest::next);
    let headers = [
        (CONTENT_TYPE, file.content_type().to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"kenny-{name}\"")),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// What is still to come.
struct Rest {
    app: Arc<App>,
    who: SignedIn,
    file: File,
    wish: Wish,
    piece: Option<Piece>,
}

impl Rest {
    async fn next(mut self) -> Result<Option<(String, Self)>, OpsError> {
        let Some(piece_now) = self.piece.take() else { return Ok(None) };
        if let Some(before) = piece_now.next {
            self.wish.before = Some(before);
            self.piece = Some(piece(&self.app, &self.who, self.file, &self.wish).await?);
        }
        Ok(Some((piece_now.text, self)))
    }
}

async fn piece(app: &App, who: &SignedIn, file: File, wish: &Wish) -> Result<Piece, OpsError> {
    match file.list {
        List::Events => {
            let events = ops::events::past(app, &who.operator, wish.past(PIECE)).await?;
            let next = events.last().map(|event| event.id);
            let text = events.iter().map(|event| event_line(file.format, event)).collect();
            Ok(Piece { text, next: next.filter(|_| events.len() == PIECE as usize) })
        }
        List::Audit => {
            let rows = ops::audit::read(app, &who.operator, wish.filter(PIECE)).await?.rows;
            let next = rows.last().and_then(|row| i64::try_from(row.sequence).ok());
            let text = rows.iter().map(|row| audit_line(file.format, row)).collect();
            Ok(Piece { text, next: next.filter(|_| rows.len() == PIECE as usize) })
        }
    }
}

fn event_line(format: Format, event: &Event) -> String {
    match format {
        Format::Lines => json(event),
        Format::Csv => {
            let agent =
                event.agent_id.as_ref().map(kenny_proto::AgentId::as_str).unwrap_or_default();
            csv(&[&event.id.to_string(), &event.at.to_string(), &event.kind, agent, &event.summary])
        }
    }
}

fn audit_line(format: Format, row: &AuditRow) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match format {
        Format::Lines => json(row),
        Format::Csv => csv(&[
            &row.sequence.to_string(),
            &row.at.to_string(),
            &text(&row.account),
            row.role.map(kenny_proto::Role::as_str).unwrap_or_default(),
            &row.face,
            &text(&row.from),
            &row.action,
            &text(&row.agent_id),
            &text(&row.subject),
            row.outcome.as_str(),
            &text(&row.call),
            &serde_json::to_string(&row.facts).expect("a map of texts serialises"),
            &row.hash.to_string(),
        ]),
    }
}

fn json(entry: &impl Serialize) -> String {
    let mut line = serde_json::to_string(entry).expect("our types have string keys");
    line.push('\n');
    line
}

/// A line of RFC 4180. What a spreadsheet would take for a formula gets an apostrophe before it: cells carry what PCs and
/// strangers say.
fn csv(cells: &[&str]) -> String {
    let mut line = String::new();
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        if cell.contains(['"', ',', '\n', '\r']) {
            line.push('"');
            line.push_str(guard);
            line.push_str(&cell.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(guard);
            line.push_str(cell);
        }
    }
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formula_gets_through() {
        assert_eq!(csv(&["a", "b \"c\", d", ""]), "a,\"b \"\"c\"\", d\",\r\n");
        assert_eq!(csv(&["=1+1", "-x", "@a,b", "1-2"]), "'=1+1,'-x,\"'@a,b\",1-2\r\n");
    }

    #[test]
    fn a_files_name_says_what_it_is() {
        let file = File::named("audit.csv").unwrap();
        assert_eq!((file.list, file.format), (List::Audit, Format::Csv));
        assert!(File::named("audit.exe").is_none());
    }
}
