//! What a program may be allowed to do: the two lower roles. What an owner decides is never decided by a program.

use std::fmt;
use std::str::FromStr;

use kenny_proto::Role;

/// What a program is allowed to do with an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Looks, and changes nothing.
    Viewer,
    /// Acts on agents and releases; looks, too.
    Operator,
}

/// None of the scopes that were asked for exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such scope; there are `viewer` and `operator`")]
pub struct UnknownScope;

impl Scope {
    /// Each, from less to more.
    pub const ALL: [Self; 2] = [Self::Viewer, Self::Operator];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }

    /// The widest of a list as OAuth writes it. `None` when nothing was asked for; words of others (`offline_access`,
    /// `openid`) are passed over, as RFC 6749, section 3.3 allows.
    pub fn widest(list: Option<&str>) -> Result<Option<Self>, UnknownScope> {
        let words: Vec<&str> = list.unwrap_or_default().split_ascii_whitespace().collect();
        let widest = words.iter().filter_map(|word| word.parse().ok()).max();
        if widest.is_none() && !words.is_empty() { Err(UnknownScope) } else { Ok(widest) }
    }

    /// As OAuth writes it: the wider one includes the narrower, and says so.
    pub const fn list(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "viewer operator",
        }
    }

    /// The role that a program acts in for an account of this role.
    pub fn role(self, account: Role) -> Role {
        match self {
            Self::Viewer => Role::Viewer,
            Self::Operator => account.min(Role::Operator),
        }
    }

    /// True when an account of this role can give it away.
    pub fn is_within(self, account: Role) -> bool {
        self.role(Role::Owner) <= account
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word).ok_or(UnknownScope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_scope_of_a_list_counts() {
        assert_eq!(Scope::widest(None), Ok(None));
        assert_eq!(Scope::widest(Some(" ")), Ok(None));
        assert_eq!(Scope::widest(Some("viewer")), Ok(Some(Scope::Viewer)));
        assert_eq!(
            Scope::widest(Some("operator viewer offline_access")),
            Ok(Some(Scope::Operator))
        );
        assert_eq!(Scope::widest(Some("openid")), Err(UnknownScope));
        assert_eq!(Scope::widest(Some("owner")), Err(UnknownScope));
    }

    #[test]
    fn a_program_is_never_more_than_the_account_or_its_scope() {
        for account in [Role::Viewer, Role::Operator, Role::Owner] {
            assert_eq!(Scope::Viewer.role(account), Role::Viewer);
            assert!(Scope::Operator.role(account) <= account);
            assert!(Scope::Operator.role(account) < Role::Owner);
        }
        assert!(Scope::Viewer.is_within(Role::Viewer));
        assert!(!Scope::Operator.is_within(Role::Viewer));
        assert!(Scope::Operator.is_within(Role::Operator));
    }
}
