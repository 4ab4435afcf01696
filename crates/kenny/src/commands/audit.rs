//! `kenny audit`: who did what. The chain is checked here, so that the server's word is not needed for it.

use std::io::BufRead as _;

use aws_lc_rs::digest;
use kenny_core::audit::AuditChain;
use kenny_proto::Sha256Digest;
use kenny_proto::audit::{AUDIT_PAGE_ROWS, AuditAnchor, AuditRow};

use crate::cli::{AuditListArgs, AuditVerifyArgs};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Cell, Output, Table, Tone};
use crate::words;

/// `kenny audit list`.
pub async fn list(client: &Client, output: Output, args: AuditListArgs) -> Result<(), CliError> {
    let number = |number: u64| number.to_string();
    let wanted = [
        ("agent", args.agent.map(|id| id.to_string())),
        ("account", args.account),
        ("action", args.action),
        ("since", args.since.map(|at| at.to_string())),
        ("until", args.until.map(|at| at.to_string())),
        ("before", args.before.map(number)),
        ("limit", Some(number(args.last.into()))),
    ];
    let page = client.audit(&wanted).await?;
    if output.json {
        return output::document(&page);
    }
    if page.rows.is_empty() {
        output::note("Nothing of that kind was recorded.");
        return Ok(());
    }
    let mut table = Table::new(&["ROW", "AT", "WHO", "FROM", "ACTION", "ABOUT", "OUTCOME", "MORE"]);
    for row in page.rows.iter().rev() {
        table.row(cells(row));
    }
    output::text(&table.render(output.palette))
}

fn cells(row: &AuditRow) -> [Cell; 8] {
    use kenny_proto::audit::AuditOutcome as Outcome;
    let tone = match row.outcome {
        Outcome::Done | Outcome::Ok => Tone::Good,
        Outcome::Sent | Outcome::Unknown => Tone::Pending,
        Outcome::Error | Outcome::Refused | Outcome::Denied => Tone::Bad,
    };
    let about = [&row.agent_id, &row.subject].into_iter().flatten().cloned();
    let more = row.facts.iter().map(|(name, value)| format!("{name}={value}"));
    [
        row.sequence.to_string().into(),
        words::moment(row.at).into(),
        format!("{} ({})", row.account.as_deref().unwrap_or("-"), row.face).into(),
        row.from.as_deref().unwrap_or("-").into(),
        row.action.as_str().into(),
        about.collect::<Vec<String>>().join(" ").into(),
        Cell::new(tone, row.outcome.as_str()),
        more.collect::<Vec<String>>().join(" ").into(),
    ]
}

/// `kenny audit verify`, of the server's log.
pub async fn verify(
    client: &Client,
    output: Output,
    known: Vec<AuditAnchor>,
) -> Result<(), CliError> {
    let mut chain = AuditChain::new(sha256, known);
    let head = follow(client, |row| chain.follow(row).map_err(|problem| broken(&problem))).await?;
    // The server may have gone on since the last page: what matters is that it reaches its own head.
    say(output, chain.finish(head).map_err(|problem| broken(&problem))?)
}

/// `kenny audit verify --file`, of an export.
pub fn verify_file(output: Output, args: AuditVerifyArgs) -> Result<(), CliError> {
    let file = args.file.unwrap_or_default();
    let mut chain = AuditChain::new(sha256, args.anchor);
    let lines = std::io::BufReader::new(fs_err::File::open(&file).map_err(CliError::File)?).lines();
    for (number, line) in lines.enumerate() {
        let line = line.map_err(CliError::File)?;
        let row: AuditRow = serde_json::from_str(&line).map_err(|error| {
            let (file, number) = (file.display(), number + 1);
            CliError::Usage(format!("{file}: line {number} is no row of an audit log: {error}"))
        })?;
        chain.follow(&row).map_err(|problem| broken(&problem))?;
    }
    let end = chain.end();
    say(output, chain.finish(end).map_err(|problem| broken(&problem))?)
}

/// `kenny audit export`.
pub async fn export(client: &Client) -> Result<(), CliError> {
    let head = follow(client, output::record).await?;
    output::note(&format!(
        "The log ends here; keep this apart from it, for `kenny audit verify --anchor`:\n{head}"
    ));
    Ok(())
}

/// Every row in order, as far as the log goes when the last page is read; its head then.
async fn follow(
    client: &Client,
    mut take: impl FnMut(&AuditRow) -> Result<(), CliError>,
) -> Result<AuditAnchor, CliError> {
    let mut after = 0;
    loop {
        let wanted =
            [("after", Some(after.to_string())), ("limit", Some(AUDIT_PAGE_ROWS.to_string()))];
        let page = client.audit(&wanted).await?;
        for row in &page.rows {
            take(row)?;
        }
        match page.rows.last() {
            Some(last) if last.sequence < page.head.sequence => after = last.sequence,
            Some(_) | None => return Ok(page.head),
        }
    }
}

fn say(output: Output, end: AuditAnchor) -> Result<(), CliError> {
    if output.json {
        return output::document(&end);
    }
    output::note(&format!(
        "The audit log is whole: {} rows. Keep this apart from the server, and give it as --anchor next time:",
        end.sequence
    ));
    output::line(&end.to_string())
}

fn broken(problem: &kenny_core::audit::AuditProblem) -> CliError {
    CliError::Failed(format!("the audit log is not whole: {problem}"))
}

fn sha256(bytes: &[u8]) -> Sha256Digest {
    let hash = digest::digest(&digest::SHA256, bytes);
    Sha256Digest(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}
