//! Whether an audit log is whole: a chain of hashes is followed row by row. Hashing is the caller's, as is reading.

use kenny_proto::Sha256Digest;
use kenny_proto::audit::{AuditAnchor, AuditRow};

/// What is wrong with a log. The first thing that is: whatever follows it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditProblem {
    /// A place in the chain has no row.
    #[error("row {missing} is missing: after it comes row {found}")]
    Missing {
        /// The place.
        missing: u64,
        /// What stands there.
        found: u64,
    },
    /// A row stands behind one that came after it, or twice.
    #[error("row {found} stands where row {expected} belongs: rows were reordered or repeated")]
    Reordered {
        /// The place.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// A row's bytes have another hash than it says.
    #[error("row {0} was changed: its content has another hash than the one written with it")]
    Changed(u64),
    /// A row does not follow the one before it.
    #[error("row {0} does not follow the row before it: one of the two was replaced")]
    Unlinked(u64),
    /// The log ends before a place that it had once.
    #[error("the log ends with row {end}, and it had {} once: its end was cut off", .known.sequence)]
    CutOff {
        /// The last row.
        end: u64,
        /// The place that was known.
        known: AuditAnchor,
    },
    /// The chain is sound in itself and is not the one that was known.
    #[error("row {} has another hash than it had once: the log was rewritten from there or before", .0.sequence)]
    Rewritten(AuditAnchor),
    /// The log goes on behind the head that was kept apart from it.
    #[error("the log goes on to row {end} behind its head, row {}: rows were added past the server", .head.sequence)]
    PastItsHead {
        /// The last row.
        end: u64,
        /// The head.
        head: AuditAnchor,
    },
}

/// Follows a chain.
#[derive(Debug)]
pub struct AuditChain {
    hash: fn(&[u8]) -> Sha256Digest,
    end: AuditAnchor,
    /// What the chain must come by.
    known: Vec<AuditAnchor>,
}

impl AuditChain {
    /// A chain before its first row. `hash` is SHA-256; `known` are places that it must come by.
    pub fn new(hash: fn(&[u8]) -> Sha256Digest, known: Vec<AuditAnchor>) -> Self {
        Self { hash, end: AuditAnchor::START, known }
    }

    /// Where it stands.
    pub const fn end(&self) -> AuditAnchor {
        self.end
    }

    /// The next row.
    pub fn follow(&mut self, row: &AuditRow) -> Result<(), AuditProblem> {
        let expected = self.end.sequence + 1;
        if row.sequence > expected {
            return Err(AuditProblem::Missing { missing: expected, found: row.sequence });
        }
        if row.sequence < expected {
            return Err(AuditProblem::Reordered { expected, found: row.sequence });
        }
        if (self.hash)(&row.hashed_bytes()) != row.hash {
            return Err(AuditProblem::Changed(row.sequence));
        }
        if row.previous != self.end.hash {
            return Err(AuditProblem::Unlinked(row.sequence));
        }
        self.end = row.anchor();
        match self.known.iter().find(|known| known.sequence == row.sequence) {
            Some(known) if *known != self.end => Err(AuditProblem::Rewritten(*known)),
            Some(_) | None => Ok(()),
        }
    }

    /// The log ends here. `head` is its end as it was kept apart from the rows.
    pub fn finish(self, head: AuditAnchor) -> Result<AuditAnchor, AuditProblem> {
        let end = self.end;
        if let Some(known) = self.known.iter().find(|known| known.sequence > end.sequence) {
            return Err(AuditProblem::CutOff { end: end.sequence, known: *known });
        }
        match head.sequence.cmp(&end.sequence) {
            std::cmp::Ordering::Greater => {
                Err(AuditProblem::CutOff { end: end.sequence, known: head })
            }
            std::cmp::Ordering::Less => Err(AuditProblem::PastItsHead { end: end.sequence, head }),
            std::cmp::Ordering::Equal if head != end => Err(AuditProblem::Rewritten(head)),
            std::cmp::Ordering::Equal => Ok(end),
        }
    }
}

/// Checks a whole log.
pub fn check<'a>(
    hash: fn(&[u8]) -> Sha256Digest,
    rows: impl IntoIterator<Item = &'a AuditRow>,
    head: AuditAnchor,
    known: Vec<AuditAnchor>,
) -> Result<AuditAnchor, AuditProblem> {
    let mut chain = AuditChain::new(hash, known);
    for row in rows {
        chain.follow(row)?;
    }
    chain.finish(head)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    use jiff::Timestamp;
    use kenny_proto::audit::{AuditOutcome, GENESIS};

    use super::*;

    /// Stands for SHA-256 here: the chain does not care which hash it is.
    fn hash(bytes: &[u8]) -> Sha256Digest {
        let mut digest = [0; 32];
        for (salt, part) in (0_u8..).zip(digest.chunks_exact_mut(8)) {
            let mut hasher = DefaultHasher::new();
            (salt, bytes).hash(&mut hasher);
            part.copy_from_slice(&hasher.finish().to_be_bytes());
        }
        Sha256Digest(digest)
    }

    fn seal(row: &mut AuditRow, previous: Sha256Digest) {
        row.previous = previous;
        row.hash = hash(&row.hashed_bytes());
    }

    fn log(length: u64) -> Vec<AuditRow> {
        let mut previous = GENESIS;
        (1..=length)
            .map(|sequence| {
                let mut row = AuditRow {
                    sequence,
                    at: Timestamp::from_second(1_800_000_000).unwrap(),
                    account: Some("anna".to_owned()),
                    role: None,
                    face: "rest".to_owned(),
                    from: None,
                    action: format!("action.{sequence}"),
                    agent_id: None,
                    subject: None,
                    outcome: AuditOutcome::Done,
                    call: None,
                    facts: BTreeMap::new(),
                    previous: GENESIS,
                    hash: GENESIS,
                };
                seal(&mut row, previous);
                previous = row.hash;
                row
            })
            .collect()
    }

    fn judge(rows: &[AuditRow], head: AuditAnchor, known: &[AuditAnchor]) -> Option<AuditProblem> {
        check(hash, rows, head, known.to_vec()).err()
    }

    #[test]
    fn a_log_that_nobody_touched_is_whole() {
        assert_eq!(judge(&[], AuditAnchor::START, &[]), None);
        let rows = log(5);
        let anchors: Vec<AuditAnchor> = rows.iter().map(AuditRow::anchor).collect();
        assert_eq!(judge(&rows, anchors[4], &anchors), None);
    }

    #[test]
    fn every_row_that_is_changed_missing_or_elsewhere_is_found_wherever_it_is() {
        let rows = log(6);
        let head = rows[5].anchor();
        for place in 0..rows.len() {
            let sequence = place as u64 + 1;
            let mut changed = rows.clone();
            changed[place].account = Some("otto".to_owned());
            assert_eq!(judge(&changed, head, &[]), Some(AuditProblem::Changed(sequence)));

            // With its own hash made anew it no longer holds what follows, or the head.
            let previous = changed[place].previous;
            seal(&mut changed[place], previous);
            let expected = match rows.get(place + 1) {
                Some(next) => AuditProblem::Unlinked(next.sequence),
                None => AuditProblem::Rewritten(head),
            };
            assert_eq!(judge(&changed, head, &[]), Some(expected));

            let mut missing = rows.clone();
            missing.remove(place);
            let expected = match rows.get(place + 1) {
                Some(next) => AuditProblem::Missing { missing: sequence, found: next.sequence },
                None => AuditProblem::CutOff { end: sequence - 1, known: head },
            };
            assert_eq!(judge(&missing, head, &[]), Some(expected));

            for other in place + 1..rows.len() {
                let mut reordered = rows.clone();
                reordered.swap(place, other);
                assert!(judge(&reordered, head, &[]).is_some());
                // With their numbers exchanged as well.
                reordered[place].sequence = sequence;
                reordered[other].sequence = other as u64 + 1;
                assert_eq!(judge(&reordered, head, &[]), Some(AuditProblem::Changed(sequence)));
            }
            let mut twice = rows.clone();
            twice.insert(place, rows[place].clone());
            let expected = AuditProblem::Reordered { expected: sequence + 1, found: sequence };
            assert_eq!(judge(&twice, head, &[]), Some(expected));
        }
    }

    #[test]
    fn a_cut_off_end_is_found_by_the_head_and_a_head_moved_along_by_an_anchor() {
        let rows = log(6);
        let (head, cut) = (rows[5].anchor(), &rows[..4]);
        assert_eq!(judge(cut, head, &[]), Some(AuditProblem::CutOff { end: 4, known: head }));
        assert_eq!(judge(cut, cut[3].anchor(), &[]), None, "the head alone can be moved along");
        let expected = AuditProblem::CutOff { end: 4, known: head };
        assert_eq!(judge(cut, cut[3].anchor(), &[head]), Some(expected));
        let behind = rows[3].anchor();
        let expected = AuditProblem::PastItsHead { end: 6, head: behind };
        assert_eq!(judge(&rows, behind, &[]), Some(expected));
    }

    #[test]
    fn a_log_that_was_written_anew_throughout_is_found_by_an_anchor_alone() {
        let rows = log(6);
        let mut forged = rows.clone();
        forged[2].account = Some("otto".to_owned());
        let mut previous = forged[1].hash;
        for row in &mut forged[2..] {
            seal(row, previous);
            previous = row.hash;
        }
        let head = forged[5].anchor();
        assert_eq!(judge(&forged, head, &[]), None);
        assert_eq!(judge(&forged, head, &[rows[1].anchor()]), None, "before the change");
        for known in &rows[2..] {
            let known = known.anchor();
            assert_eq!(judge(&forged, head, &[known]), Some(AuditProblem::Rewritten(known)));
        }
    }
}
