//! Whom a selection is for.

use kenny_core::rollout::selection::{channel_of, check, check_label, matches, takes};
use kenny_proto::AgentId;
use kenny_proto::rollout::{AgentSettings, Channel, Selection};

fn anna() -> (AgentId, AgentSettings) {
    let settings = AgentSettings {
        owner: Some("Anna".to_owned()),
        group: Some("family".to_owned()),
        labels: ["laptop".to_owned(), "slow".to_owned()].into(),
        ..AgentSettings::default()
    };
    ("anna".parse().unwrap(), settings)
}

fn is_for_anna(change: impl FnOnce(&mut Selection)) -> bool {
    let (id, settings) = anna();
    let mut selection = Selection::default();
    change(&mut selection);
    assert_eq!(check(&selection), Ok(()));
    matches(&selection, &id, &settings, Some("1.3.0"))
}

fn texts(texts: &[&str]) -> std::collections::BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn each_list_narrows_it_down() {
    assert!(is_for_anna(|it| it.everyone = true));
    assert!(is_for_anna(|it| it.agents = ["anna".parse().unwrap(), "ben".parse().unwrap()].into()));
    assert!(!is_for_anna(|it| it.agents = ["ben".parse().unwrap()].into()));
    assert!(is_for_anna(|it| it.owners = texts(&["Anna", "Ben"])));
    assert!(!is_for_anna(|it| it.owners = texts(&["anna"])));
    assert!(is_for_anna(|it| it.groups = texts(&["family"])));
    assert!(!is_for_anna(|it| it.groups = texts(&["neighbours"])));
    assert!(is_for_anna(|it| it.channels = [Channel::Stable].into()));
    assert!(!is_for_anna(|it| it.channels = [Channel::Beta].into()));
    assert!(is_for_anna(|it| it.versions = texts(&["1.2.0", "1.3.0"])));
    assert!(!is_for_anna(|it| it.versions = texts(&["1.2.0"])));
    assert!(!is_for_anna(|it| {
        it.owners = texts(&["Anna"]);
        it.groups = texts(&["neighbours"]);
    }));
}

#[test]
fn of_labels_each_has_to_be_there() {
    assert!(is_for_anna(|it| it.labels = texts(&["laptop"])));
    assert!(is_for_anna(|it| it.labels = texts(&["laptop", "slow"])));
    assert!(!is_for_anna(|it| it.labels = texts(&["laptop", "fast"])));
}

#[test]
fn who_has_no_owner_is_not_among_owners_and_who_never_came_runs_no_version() {
    let id: AgentId = "new".parse().unwrap();
    let by_owner = Selection { owners: texts(&["Anna"]), ..Selection::default() };
    assert!(!matches(&by_owner, &id, &AgentSettings::default(), None));
    let by_version = Selection { versions: texts(&["1.3.0"]), ..Selection::default() };
    assert!(!matches(&by_version, &id, &AgentSettings::default(), None));
    let everyone = Selection { everyone: true, ..Selection::default() };
    assert!(matches(&everyone, &id, &AgentSettings::default(), None));
}

#[test]
fn an_empty_selection_is_for_nobody_and_refused() {
    let (id, settings) = anna();
    assert!(!matches(&Selection::default(), &id, &settings, Some("1.3.0")));
    assert_eq!(
        check(&Selection::default()).unwrap_err().to_string(),
        "selection is empty, but it has to say who is meant: give a list, or `everyone`"
    );
}

#[test]
fn what_cannot_match_is_refused() {
    let refused = |selection: Selection| check(&selection).unwrap_err().to_string();
    assert_eq!(
        refused(Selection { everyone: true, labels: texts(&["a"]), ..Selection::default() }),
        "selection.everyone is true, but there are lists as well: leave it out, or them"
    );
    assert_eq!(
        refused(Selection { owners: texts(&[" "]), ..Selection::default() }),
        "selection.owners is ` `, but an empty text matches no agent"
    );
    assert_eq!(
        refused(Selection { labels: texts(&["a b"]), ..Selection::default() }),
        "selection.labels is `a b`, but labels are words without spaces and commas"
    );
    let message = refused(Selection { versions: texts(&["1.4"]), ..Selection::default() });
    assert!(
        message.starts_with("selection.versions is `1.4`, but versions are such as 1.4.0"),
        "{message}"
    );
    for wrong in ["", "a,b", "a\tb"] {
        check_label("labels", wrong).unwrap_err();
    }
    assert_eq!(check_label("labels", "living-room"), Ok(()));
}

#[test]
fn a_pre_release_is_for_those_on_beta() {
    let (stable, beta) = ("1.4.0".parse().unwrap(), "1.4.0-beta.1".parse().unwrap());
    assert_eq!((channel_of(&stable), channel_of(&beta)), (Channel::Stable, Channel::Beta));
    assert!(takes(Channel::Stable, &stable) && takes(Channel::Beta, &stable));
    assert!(takes(Channel::Beta, &beta) && !takes(Channel::Stable, &beta));
}
