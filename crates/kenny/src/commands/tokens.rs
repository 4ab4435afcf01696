//! `kenny token ...`: API tokens.

use jiff::Timestamp;
use kenny_proto::accounts::{NewToken, Token};

use crate::cli::TokenCommand;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Cell, Output, Table, Tone};
use crate::words;

/// Does what was typed.
pub async fn run(client: &Client, output: Output, command: TokenCommand) -> Result<(), CliError> {
    match command {
        TokenCommand::Create { name, role, expires } => {
            let expires_at = expires.map(|expires| expires.moment(Timestamp::now()));
            let made = client.create_token(&NewToken { name, role, expires_at }).await?;
            if output.json {
                return output::document(&made);
            }
            let token = &made.token;
            let end = match token.expires_at {
                Some(end) => format!("It ends at {}.", words::moment(end)),
                None => "It does not end by itself.".to_owned(),
            };
            output::note(&format!(
                "Token {} of {} ({}), shown this once. {end} `kenny token revoke {}` ends it.",
                token.id, token.account, token.role, token.id
            ));
            output::line(made.secret.expose())
        }
        TokenCommand::List { account } => {
            let list = client.tokens(account.as_ref()).await?;
            if output.json {
                return output::document(&list);
            }
            if list.tokens.is_empty() {
                output::note("There is no token.");
                return Ok(());
            }
            output::text(&table(&list.tokens, Timestamp::now()).render(output.palette))
        }
        TokenCommand::Revoke { id } => {
            client.revoke_token(id).await?;
            output::note(&format!("Token {id} is revoked."));
            Ok(())
        }
    }
}

fn table(tokens: &[Token], now: Timestamp) -> Table {
    let mut table = Table::new(&["ID", "NAME", "ROLE", "MADE", "LAST USED", "ENDS"]);
    for token in tokens {
        let ends = match token.expires_at {
            Some(end) if end <= now => Cell::new(Tone::Bad, "ended"),
            Some(end) => words::moment(end).into(),
            None => "".into(),
        };
        let used = token.last_used_at.map_or("never".to_owned(), |at| words::ago(at, now));
        table.row([
            token.id.to_string().into(),
            token.name.as_str().into(),
            token.role.as_str().into(),
            words::ago(token.created_at, now).into(),
            used.into(),
            ends,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Palette;

    #[test]
    fn a_list_says_what_each_token_is_for_and_whether_it_still_works() {
        let token = |id: i64, expires_at: Option<&str>| Token {
            id,
            account: "anna".parse().unwrap(),
            name: "laptop\u{1b}[31m".to_owned(),
            role: kenny_proto::Role::Operator,
            created_at: "2026-11-20T10:00:00Z".parse().unwrap(),
            expires_at: expires_at.map(|end| end.parse().unwrap()),
            last_used_at: (id == 1).then(|| "2026-11-20T10:59:00Z".parse().unwrap()),
        };
        let tokens = [
            token(1, None),
            token(2, Some("2026-11-20T11:00:00Z")),
            token(3, Some("2027-01-01T00:00:00Z")),
        ];
        let now = "2026-11-20T11:00:00Z".parse().unwrap();
        let text = table(&tokens, now).render(Palette { coloured: false });
        let lines: Vec<&str> = text.lines().collect();
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(lines[1].ends_with("1 min ago"), "{text}");
        assert!(lines[2].contains("never") && lines[2].ends_with("ended"), "{text}");
        assert!(lines[3].ends_with("2027-01-01 00:00:00Z"), "{text}");
    }
}
