//! What an access list comes to. Pure: what Windows says of a file is an argument.

/// One entry of an access list that allows something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whom, as `S-1-...`.
    pub sid: String,
    /// The rights.
    pub mask: u32,
    /// True where it is only handed on to what is made below.
    pub inherit_only: bool,
}

/// Who owns something and what its access list allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The owner, as `S-1-...`.
    pub owner: String,
    /// What is allowed; absent where there is no list at all, which allows everybody everything.
    pub allowed: Option<Vec<Entry>>,
}

/// What an access list is of, seen from the executable that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The executable.
    File,
    /// Its folder: a library that is put there may be loaded.
    Folder,
    /// A folder above: what counts is who may move or replace what is in it.
    Above,
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Administrators alone may write.
    Safe,
    /// These others may, in words.
    Writable(Vec<String>),
    /// The access lists here are made up on the fly, as Wine's are.
    Unknown,
}

impl Verdict {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Writable(mut some), Self::Writable(more)) => {
                some.extend(more.into_iter().filter(|one| !some.contains(one)).collect::<Vec<_>>());
                Self::Writable(some)
            }
            (Self::Writable(some), Self::Safe | Self::Unknown)
            | (Self::Safe | Self::Unknown, Self::Writable(some)) => Self::Writable(some),
            (Self::Unknown, Self::Safe | Self::Unknown) | (Self::Safe, Self::Unknown) => {
                Self::Unknown
            }
            (Self::Safe, Self::Safe) => Self::Safe,
        }
    }
}

// Rights of files and folders (winnt.h).
const WRITE_DATA: u32 = 0x2;
const APPEND_DATA: u32 = 0x4;
const DELETE_CHILD: u32 = 0x40;
const DELETE: u32 = 0x1_0000;
const WRITE_DAC: u32 = 0x4_0000;
const WRITE_OWNER: u32 = 0x8_0000;
const GENERIC_ALL: u32 = 0x1000_0000;
const GENERIC_WRITE: u32 = 0x4000_0000;

/// With any of these somebody replaces what is in a folder, or gives himself the right to.
const REPLACE: u32 = DELETE_CHILD | DELETE | WRITE_DAC | WRITE_OWNER | GENERIC_ALL;
/// And with any of these he writes to it.
const WRITE: u32 = REPLACE | WRITE_DATA | APPEND_DATA | GENERIC_WRITE;

impl Of {
    const fn dangerous(self) -> u32 {
        match self {
            Self::File | Self::Folder => WRITE,
            Self::Above => REPLACE,
        }
    }
}

/// Judges one access list. Entries that deny something are not counted in favour: what they take from one account another
/// may still have.
pub fn judge(access: &Access, of: Of) -> Verdict {
    if is_made_up(&access.owner) {
        return Verdict::Unknown;
    }
    let Some(allowed) = &access.allowed else {
        return Verdict::Writable(vec![account("S-1-1-0")]);
    };
    let mut writers: Vec<String> = Vec::new();
    // The owner may always give himself every right.
    let owner = (!is_trusted(&access.owner)).then_some(&access.owner);
    let by_entry = allowed
        .iter()
        .filter(|entry| !entry.inherit_only && entry.mask & of.dangerous() != 0)
        .map(|entry| &entry.sid)
        .filter(|sid| !is_trusted(sid));
    for sid in owner.into_iter().chain(by_entry) {
        let words = account(sid);
        if !writers.contains(&words) {
            writers.push(words);
        }
    }
    if writers.is_empty() { Verdict::Safe } else { Verdict::Writable(writers) }
}

/// The service of Windows that installs Windows.
const TRUSTED_INSTALLER: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";

/// True for those who could do anything here anyway: SYSTEM, Administrators, Windows' own installer, and the
/// administrator accounts of this PC and of its domain.
pub fn is_trusted(sid: &str) -> bool {
    const ADMINISTRATOR: &str = "500";
    const DOMAIN_ADMINS: &str = "512";
    const ENTERPRISE_ADMINS: &str = "519";
    if ["S-1-5-18", "S-1-5-32-544", TRUSTED_INSTALLER].contains(&sid) {
        return true;
    }
    let relative = sid.strip_prefix("S-1-5-21-").and_then(|rest| rest.rsplit_once('-'));
    relative
        .is_some_and(|(_, last)| [ADMINISTRATOR, DOMAIN_ADMINS, ENTERPRISE_ADMINS].contains(&last))
}

/// True for the accounts of Wine's domain, which no Windows has. Wine makes an access list up from the bits of a Unix
/// file each time it is asked for.
pub fn is_made_up(sid: &str) -> bool {
    sid.starts_with("S-1-5-21-0-0-0-")
}

/// An account in words.
pub fn account(sid: &str) -> String {
    match sid {
        "S-1-1-0" => "everyone".to_owned(),
        "S-1-5-32-545" => "every user of this PC".to_owned(),
        "S-1-5-11" => "everybody who is signed in".to_owned(),
        "S-1-5-4" => "whoever sits at this PC".to_owned(),
        "S-1-5-7" => "anonymous users".to_owned(),
        "S-1-5-32-546" => "guests".to_owned(),
        other => format!("the account {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "S-1-5-18";
    const ADMINISTRATORS: &str = "S-1-5-32-544";
    const USERS: &str = "S-1-5-32-545";
    const ANNA: &str = "S-1-5-21-1111-2222-3333-1001";
    const ALL: u32 = 0x1f_01ff;
    const READ_AND_RUN: u32 = 0x12_00a9;

    fn entry(sid: &str, mask: u32) -> Entry {
        Entry { sid: sid.to_owned(), mask, inherit_only: false }
    }

    fn access(owner: &str, entries: &[Entry]) -> Access {
        Access { owner: owner.to_owned(), allowed: Some(entries.to_vec()) }
    }

    #[test]
    fn what_install_sets_is_safe() {
        let entries = [entry(SYSTEM, ALL), entry(ADMINISTRATORS, ALL), entry(USERS, READ_AND_RUN)];
        for of in [Of::File, Of::Folder, Of::Above] {
            assert_eq!(judge(&access(ADMINISTRATORS, &entries), of), Verdict::Safe);
        }
    }

    #[test]
    fn each_right_to_write_makes_a_folder_unsafe_whoever_has_it() {
        for right in [
            WRITE_DATA,
            APPEND_DATA,
            DELETE_CHILD,
            DELETE,
            WRITE_DAC,
            WRITE_OWNER,
            GENERIC_ALL,
            GENERIC_WRITE,
        ] {
            for sid in ["S-1-1-0", USERS, "S-1-5-11", "S-1-5-4", "S-1-5-7", "S-1-5-32-546", ANNA] {
                let access = access(SYSTEM, &[entry(sid, READ_AND_RUN | right)]);
                for of in [Of::File, Of::Folder] {
                    let expected = Verdict::Writable(vec![account(sid)]);
                    assert_eq!(judge(&access, of), expected, "{sid} {right:x}");
                }
            }
        }
    }

    #[test]
    fn above_counts_only_who_may_move_what_is_there() {
        // C:\ and C:\ProgramData of every Windows: users may make folders in the one, files in the other.
        for right in [WRITE_DATA, APPEND_DATA] {
            let access = access(TRUSTED_INSTALLER, &[entry(USERS, right)]);
            assert_eq!(judge(&access, Of::Above), Verdict::Safe);
        }
        let access = access(SYSTEM, &[entry(USERS, DELETE_CHILD)]);
        assert_ne!(judge(&access, Of::Above), Verdict::Safe);
    }

    #[test]
    fn an_owner_can_give_himself_every_right() {
        let downloads = access(ANNA, &[entry(SYSTEM, ALL), entry(ADMINISTRATORS, ALL)]);
        let expected = Verdict::Writable(vec![format!("the account {ANNA}")]);
        assert_eq!(judge(&downloads, Of::Folder), expected);
    }

    #[test]
    fn what_is_only_handed_on_counts_where_it_arrives() {
        let handed_on = Entry { inherit_only: true, ..entry("S-1-3-0", ALL) };
        assert_eq!(judge(&access(SYSTEM, &[handed_on]), Of::Folder), Verdict::Safe);
    }

    #[test]
    fn no_list_is_worse_than_an_empty_one() {
        let none = Access { owner: SYSTEM.to_owned(), allowed: None };
        assert_eq!(judge(&none, Of::Above), Verdict::Writable(vec!["everyone".to_owned()]));
        assert_eq!(judge(&access(SYSTEM, &[]), Of::File), Verdict::Safe);
    }

    #[test]
    fn administrators_are_told_from_accounts_that_end_alike() {
        for good in [SYSTEM, ADMINISTRATORS, "S-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-512"] {
            assert!(is_trusted(good), "{good}");
        }
        for bad in [ANNA, "S-1-5-21-1-2-3-1500", "S-1-5-32-500", "S-1-5-80-1-2-3-4-500", "500", ""]
        {
            assert!(!is_trusted(bad), "{bad}");
        }
    }

    #[test]
    fn wine_knows_nothing_and_hides_nothing() {
        let made_up = access("S-1-5-21-0-0-0-1000", &[entry("S-1-1-0", ALL)]);
        assert_eq!(judge(&made_up, Of::Folder), Verdict::Unknown);
        let writable = Verdict::Writable(vec!["everyone".to_owned()]);
        assert_eq!(Verdict::Unknown.and(writable.clone()), writable);
        assert_eq!(Verdict::Safe.and(Verdict::Unknown), Verdict::Unknown);
        assert_eq!(writable.clone().and(writable.clone()), writable);
    }
}
