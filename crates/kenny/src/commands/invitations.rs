//! `kenny agent invite`, `invitations` and `withdraw`.

use jiff::Timestamp;
use kenny_proto::AgentId;
use kenny_proto::api::{AgentIdentity, AgentInvited, NewInvitation, OpenInvitation};

use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Output, Table};
use crate::words;

/// `kenny agent invite`.
pub async fn invite(
    client: &Client,
    output: Output,
    id: &AgentId,
    expires_s: u64,
) -> Result<(), CliError> {
    let wanted = NewInvitation { expires_s: Some(expires_s) };
    let invited = client.invite(id, &wanted).await?;
    if output.json { output::document(&invited) } else { output::text(&welcome(&invited)) }
}

/// `kenny agent invitations`.
pub async fn list(client: &Client, output: Output) -> Result<(), CliError> {
    let list = client.invitations().await?;
    if output.json {
        return output::document(&list);
    }
    if list.invitations.is_empty() {
        output::note("No invitation is open; `kenny agent invite ID` makes one.");
        return Ok(());
    }
    output::text(&table(&list.invitations, Timestamp::now()).render(output.palette))
}

/// `kenny agent withdraw`.
pub async fn withdraw(client: &Client, id: &AgentId) -> Result<(), CliError> {
    client.withdraw_invitation(id).await?;
    output::note(&format!("The invitation of {id} is withdrawn; its code is good for nothing."));
    Ok(())
}

fn table(open: &[OpenInvitation], now: Timestamp) -> Table {
    let mut table = Table::new(&["ID", "EXPIRES", "MADE", "BY"]);
    for invitation in open {
        table.row([
            invitation.agent_id.as_str().into(),
            words::ahead(invitation.expires_at, now).into(),
            words::ago(invitation.created_at, now).into(),
            invitation.created_by.as_str().into(),
        ]);
    }
    table
}

fn welcome(invited: &AgentInvited) -> String {
    let AgentInvited { invitation, link, replaces, powershell, problem, .. } = invited;
    let id = &invitation.agent_id;
    let until = words::moment(invitation.expires_at);
    let holds = match replaces {
        AgentIdentity::None => "",
        AgentIdentity::Legacy | AgentIdentity::Key => {
            " What it is there so far goes on until another PC, or this one anew, has enrolled."
        }
    };
    let problem = problem.as_ref().map(|problem| format!("But {problem}.\n\n")).unwrap_or_default();
    let powershell = powershell
        .as_ref()
        .map(|line| format!("Or on the PC, in PowerShell as administrator:\n\n  {line}\n\n"))
        .unwrap_or_default();
    format!(
        "A PC is invited to be {id}, once, until {until}.{holds} Whoever has the link can be {id}: send it on a way that you \
         trust.\n\n  {link}\n\n{problem}{powershell}Or with a kenny-agent.exe that is on the PC, in a terminal that runs as administrator:\n\n  \
         kenny-agent.exe install --server {server} --agent-id {id} --code {code} --server-key {key}\n",
        server = invitation.server,
        code = invitation.code,
        key = invitation.server_key,
    )
}

#[cfg(test)]
mod tests {
    use kenny_proto::{Invitation, PublicKey};

    use super::*;

    #[test]
    fn an_invitation_comes_with_its_link_and_the_line_for_the_pc() {
        let invitation = Invitation {
            v: 1,
            server: "wss://kenny.example.net/agent/ws".to_owned(),
            agent_id: "annas-pc".parse().unwrap(),
            code: "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV".parse().unwrap(),
            server_key: PublicKey([0; 32]),
            tuf_root: None,
            ca: None,
            expires_at: Timestamp::UNIX_EPOCH,
        };
        let mut invited = AgentInvited {
            invitation,
            link: "https://kenny.example.net/invite/0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV".to_owned(),
            new_agent: true,
            replaces: AgentIdentity::None,
            powershell: None,
            problem: Some("no agent is released".to_owned()),
        };
        let text = welcome(&invited);
        assert!(text.contains("\n  https://kenny.example.net/invite/0123-"), "{text}");
        assert!(text.ends_with(
            "\n  kenny-agent.exe install --server wss://kenny.example.net/agent/ws --agent-id annas-pc --code \
             0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV --server-key AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
        ));
        assert!(!text.contains("goes on"), "{text}");
        assert!(
            text.contains("But no agent is released.") && !text.contains("PowerShell"),
            "{text}"
        );
        invited.powershell = Some("& $f install".to_owned());
        let text = welcome(&invited);
        assert!(text.contains("PowerShell as administrator:\n\n  & $f install\n"), "{text}");
        invited.replaces = AgentIdentity::Legacy;
        assert!(welcome(&invited).contains("goes on until"));
    }
}
