//! The SQL of invitations. Called on the database's thread only.

use jiff::{SignedDuration, Timestamp};
use kenny_proto::api::OpenInvitation;
use kenny_proto::{AgentId, PublicKey, Sha256Digest};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{parsed, parsed_option};

/// How long an invitation that is over is kept, so that whoever comes with it is told what became of it.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);

/// A new invitation. Its code is known to whoever was given it.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// SHA-256 of the code.
    pub code_hash: Sha256Digest,
    /// Whom it is for.
    pub agent_id: AgentId,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// How an invitation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Whom it is for.
    pub agent_id: AgentId,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// A PC enrolled with it.
    pub is_redeemed: bool,
}

/// Looks an invitation up by the hash of its code; that changes nothing.
pub fn look(connection: &Connection, code_hash: Sha256Digest) -> rusqlite::Result<Option<Kept>> {
    connection
        .prepare_cached(
            "SELECT agent_id, expires_at, redeemed_at IS NOT NULL FROM invitations WHERE code_hash = ?1",
        )?
        .query_row([code_hash.to_string()], |row| {
            Ok(Kept {
                agent_id: parsed(row, 0)?,
                expires_at: parsed(row, 1)?,
                is_redeemed: row.get(2)?,
            })
        })
        .optional()
}

/// What came of an attempt to redeem a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redemption {
    /// The key is the agent's from now on.
    Enrolled,
    /// It was already, by this very code: its answer was lost.
    Repeated,
    /// There is no such code, or it was withdrawn.
    Unknown,
    /// It is of another agent.
    OtherAgent,
    /// Its time was over.
    Expired(Timestamp),
    /// Another key came first.
    Used(Timestamp),
}

/// Keeps an invitation, and makes its agent where there is none; true when it did. The agent's open invitation, if there
/// was one, is withdrawn.
pub fn invite(connection: &Connection, invitation: &NewInvitation) -> rusqlite::Result<bool> {
    let id = invitation.agent_id.as_str();
    let created_at = invitation.created_at.to_string();
    let made = connection.execute(
        "INSERT OR IGNORE INTO agents (id, token_hash, created_at) VALUES (?1, '', ?2)",
        [id, &created_at],
    )?;
    withdraw(connection, &invitation.agent_id)?;
    let over = invitation.created_at.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    forget_before(connection, over)?;
    connection.execute(
        "INSERT INTO invitations (code_hash, agent_id, created_at, created_by, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            invitation.code_hash.to_string(),
            id,
            created_at,
            invitation.created_by,
            invitation.expires_at.to_string()
        ],
    )?;
    Ok(made == 1)
}

/// Times are compared here and not by the database: their texts have fractions of any length.
fn forget_before(connection: &Connection, over: Timestamp) -> rusqlite::Result<()> {
    let all: Vec<(String, Timestamp)> = connection
        .prepare_cached("SELECT code_hash, expires_at FROM invitations")?
        .query_map([], |row| Ok((row.get(0)?, parsed(row, 1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (code_hash, _) in all.iter().filter(|(_, expires_at)| *expires_at < over) {
        connection.execute("DELETE FROM invitations WHERE code_hash = ?1", [code_hash])?;
    }
    Ok(())
}

/// Withdraws an agent's open invitation; true when there was one.
pub fn withdraw(connection: &Connection, agent: &AgentId) -> rusqlite::Result<bool> {
    let gone = connection.execute(
        "DELETE FROM invitations WHERE agent_id = ?1 AND redeemed_at IS NULL",
        [agent.as_str()],
    )?;
    Ok(gone > 0)
}

/// The invitations that can be redeemed at `now`, the one that ends first at the top.
pub fn open(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<OpenInvitation>> {
    let mut open: Vec<OpenInvitation> = connection
        .prepare(
            "SELECT agent_id, created_at, created_by, expires_at FROM invitations WHERE redeemed_at IS NULL",
        )?
        .query_map([], |row| {
            Ok(OpenInvitation {
                agent_id: parsed(row, 0)?,
                created_at: parsed(row, 1)?,
                created_by: row.get(2)?,
                expires_at: parsed(row, 3)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    open.retain(|invitation| invitation.expires_at > now);
    open.sort_by_key(|invitation| invitation.expires_at);
    Ok(open)
}

/// Redeems a code for a key: the code is used up, the agent has this key, and its token is worth nothing.
pub fn redeem(
    connection: &Connection,
    code_hash: Sha256Digest,
    agent: &AgentId,
    key: PublicKey,
    now: Timestamp,
) -> rusqlite::Result<Redemption> {
    type Kept = (AgentId, Timestamp, Option<Timestamp>, Option<PublicKey>, Option<PublicKey>);
    let kept: Option<Kept> = connection
        .query_row(
            "SELECT agent_id, expires_at, redeemed_at, redeemed_key, public_key
             FROM invitations JOIN agents ON agents.id = agent_id WHERE code_hash = ?1",
            [code_hash.to_string()],
            |row| {
                Ok((
                    parsed(row, 0)?,
                    parsed(row, 1)?,
                    parsed_option(row, 2)?,
                    parsed_option(row, 3)?,
                    parsed_option(row, 4)?,
                ))
            },
        )
        .optional()?;
    let Some((whose, expires_at, redeemed_at, redeemed_key, current_key)) = kept else {
        return Ok(Redemption::Unknown);
    };
    if whose != *agent {
        return Ok(Redemption::OtherAgent);
    }
    if let Some(redeemed_at) = redeemed_at {
        // A later invitation may have given the agent another key: this code does not bring the older one back.
        let is_the_same = redeemed_key == Some(key) && current_key == Some(key);
        return Ok(match (is_the_same, now < expires_at) {
            (true, true) => Redemption::Repeated,
            (true, false) => Redemption::Expired(expires_at),
            (false, _) => Redemption::Used(redeemed_at),
        });
    }
    if now >= expires_at {
        return Ok(Redemption::Expired(expires_at));
    }
    connection.execute(
        "UPDATE invitations SET redeemed_at = ?2, redeemed_key = ?3 WHERE code_hash = ?1",
        params![code_hash.to_string(), now.to_string(), key.to_string()],
    )?;
    connection.execute(
        "UPDATE agents SET public_key = ?2, enrolled_at = ?3, legacy = 0, token_hash = '' WHERE id = ?1",
        params![agent.as_str(), key.to_string(), now.to_string()],
    )?;
    Ok(Redemption::Enrolled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows;
    use crate::store::schema::prepare;

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        prepare(&mut connection).unwrap();
        connection
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn invitation(code: u8, agent: &str, created: i64, expires: i64) -> NewInvitation {
        NewInvitation {
            code_hash: Sha256Digest([code; 32]),
            agent_id: agent.parse().unwrap(),
            created_at: at(created),
            created_by: "owner".to_owned(),
            expires_at: at(expires),
        }
    }

    fn redeem_at(
        connection: &Connection,
        code: u8,
        agent: &str,
        key: u8,
        second: i64,
    ) -> Redemption {
        let agent = agent.parse().unwrap();
        redeem(connection, Sha256Digest([code; 32]), &agent, PublicKey([key; 32]), at(second))
            .unwrap()
    }

    #[test]
    fn a_code_is_good_once_for_one_key_and_may_be_repeated_by_it() {
        let connection = database();
        assert!(invite(&connection, &invitation(1, "pc", 0, 100)).unwrap());
        assert_eq!(redeem_at(&connection, 9, "pc", 1, 10), Redemption::Unknown);
        assert_eq!(redeem_at(&connection, 1, "other", 1, 10), Redemption::OtherAgent);
        assert_eq!(open(&connection, at(10)).unwrap().len(), 1, "nothing of that used it up");
        assert_eq!(redeem_at(&connection, 1, "pc", 1, 10), Redemption::Enrolled);
        assert_eq!(open(&connection, at(10)).unwrap(), []);
        assert_eq!(redeem_at(&connection, 1, "pc", 1, 99), Redemption::Repeated);
        assert_eq!(redeem_at(&connection, 1, "pc", 2, 11), Redemption::Used(at(10)));
        assert_eq!(redeem_at(&connection, 1, "pc", 1, 100), Redemption::Expired(at(100)));
        let agent = rows::agents(&connection).unwrap().remove(0);
        assert_eq!(agent.identity, crate::fleet::Identity::Key(PublicKey([1; 32])));
    }

    #[test]
    fn a_code_ends_at_its_time_and_with_its_agent_and_with_the_next_one() {
        let connection = database();
        assert!(invite(&connection, &invitation(1, "pc", 0, 100)).unwrap());
        assert_eq!(redeem_at(&connection, 1, "pc", 1, 100), Redemption::Expired(at(100)));
        assert!(!invite(&connection, &invitation(2, "pc", 100, 200)).unwrap());
        assert_eq!(redeem_at(&connection, 1, "pc", 1, 101), Redemption::Unknown, "withdrawn");
        rows::delete_agent(&connection, &"pc".parse().unwrap()).unwrap();
        assert_eq!(redeem_at(&connection, 2, "pc", 1, 101), Redemption::Unknown);
    }

    #[test]
    fn an_older_code_does_not_bring_its_key_back() {
        let connection = database();
        invite(&connection, &invitation(1, "pc", 0, 1000)).unwrap();
        assert_eq!(redeem_at(&connection, 1, "pc", 1, 10), Redemption::Enrolled);
        invite(&connection, &invitation(2, "pc", 20, 1000)).unwrap();
        assert_eq!(redeem_at(&connection, 1, "pc", 1, 21), Redemption::Repeated, "still its key");
        assert_eq!(redeem_at(&connection, 2, "pc", 2, 22), Redemption::Enrolled);
        assert_eq!(redeem_at(&connection, 1, "pc", 1, 23), Redemption::Used(at(10)));
        let agent = rows::agents(&connection).unwrap().remove(0);
        assert_eq!(agent.identity, crate::fleet::Identity::Key(PublicKey([2; 32])));
    }

    #[test]
    fn what_is_long_over_is_forgotten() {
        let connection = database();
        invite(&connection, &invitation(1, "pc", 0, 100)).unwrap();
        redeem_at(&connection, 1, "pc", 1, 10);
        let later = 100 + KEPT.as_secs();
        invite(&connection, &invitation(2, "other", later, later + 100)).unwrap();
        assert_eq!(redeem_at(&connection, 1, "pc", 2, later), Redemption::Used(at(10)));
        invite(&connection, &invitation(3, "other", later + 1, later + 100)).unwrap();
        assert_eq!(redeem_at(&connection, 1, "pc", 2, later), Redemption::Unknown);
    }
}
