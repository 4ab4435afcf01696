//! What a strategy may be.

use kenny_core::rollout::strategy::{check, of_preset, of_request};
use kenny_proto::rollout::{NewRollout, Preset, Selection, Stage, StageSize, Strategy, Window};

const PRESETS: [Preset; 3] = [Preset::Careful, Preset::Normal, Preset::Now];

fn request() -> NewRollout {
    NewRollout {
        version: "1.4.0".to_owned(),
        selection: Selection { everyone: true, ..Selection::default() },
        preset: None,
        strategy: None,
        allow_downgrade: false,
    }
}

#[test]
fn presets_are_allowed_and_differ() {
    for preset in PRESETS {
        assert_eq!(check(&of_preset(preset)), Ok(()), "{preset:?}");
    }
    assert_ne!(of_preset(Preset::Careful), of_preset(Preset::Normal));
    assert_ne!(of_preset(Preset::Normal), of_preset(Preset::Now));
}

#[test]
fn careful_is_what_its_word_says() {
    let careful = of_preset(Preset::Careful);
    let sizes: Vec<&StageSize> = careful.stages.iter().map(|stage| &stage.to).collect();
    let (tenth, half, all) =
        (StageSize::Percent(10), StageSize::Percent(50), StageSize::Percent(100));
    assert_eq!(sizes, [&StageSize::Count(2), &tenth, &half, &all]);
    assert!(careful.stages.iter().all(|stage| stage.bake_s == 24 * 60 * 60));
    assert_eq!((careful.tolerated.count, careful.tolerated.percent), (0, 0));
    let [night] = careful.windows.as_slice() else { panic!("{:?}", careful.windows) };
    assert_eq!(
        (night.from.to_string(), night.to.to_string()),
        ("01:00:00".into(), "05:00:00".into())
    );
}

#[test]
fn a_request_means_its_strategy_or_its_preset_or_careful() {
    assert_eq!(of_request(&request()), Ok(of_preset(Preset::Careful)));
    let named = NewRollout { preset: Some(Preset::Now), ..request() };
    assert_eq!(of_request(&named), Ok(of_preset(Preset::Now)));
    let own = Strategy { max_in_flight: 3, ..of_preset(Preset::Normal) };
    let detailed = NewRollout { strategy: Some(own.clone()), ..request() };
    assert_eq!(of_request(&detailed), Ok(own.clone()));
    let both = NewRollout { preset: Some(Preset::Now), strategy: Some(own), ..request() };
    assert_eq!(
        of_request(&both).unwrap_err().to_string(),
        "preset is now, but there is a strategy as well: leave one of the two out"
    );
    let wrong = Strategy { max_in_flight: 0, ..of_preset(Preset::Normal) };
    of_request(&NewRollout { strategy: Some(wrong), ..request() }).unwrap_err();
}

fn stage(to: StageSize) -> Stage {
    Stage { to, bake_s: 0 }
}

fn window(from: &str, to: &str) -> Window {
    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
    Window { days: [].into(), from, to }
}

/// Why the `now` preset is refused once it is changed so.
fn refused(change: impl FnOnce(&mut Strategy)) -> String {
    let mut strategy = of_preset(Preset::Now);
    change(&mut strategy);
    check(&strategy).unwrap_err().to_string()
}

#[test]
fn stages_that_cannot_be_meant_are_refused_with_field_value_and_what_is_allowed() {
    use StageSize::{Agents, Count, Percent};
    let with =
        |sizes: Vec<StageSize>| refused(|it| it.stages = sizes.into_iter().map(stage).collect());
    assert_eq!(with(vec![]), "strategy.stages is a list of 0, but there are 1 to 20 stages");
    assert_eq!(
        with((1..=21).map(Count).collect()),
        "strategy.stages is a list of 21, but there are 1 to 20 stages"
    );
    assert_eq!(with(vec![Count(0)]), "strategy.stages[0].to.count is 0, but the least is 1");
    for percent in [0, 101] {
        assert_eq!(
            with(vec![Count(1), Percent(percent)]),
            format!("strategy.stages[1].to.percent is {percent}, but it is from 1 to 100")
        );
    }
    assert_eq!(
        with(vec![Percent(50), Count(3), Percent(50)]),
        "strategy.stages[2].to.percent is 50, but sizes count everybody so far, and an earlier \
         stage comes to 50 already"
    );
    assert_eq!(
        with(vec![Count(4), Count(3)]),
        "strategy.stages[1].to.count is 3, but sizes count everybody so far, and an earlier \
         stage comes to 4 already"
    );
    assert_eq!(
        with(vec![Agents([].into())]),
        "strategy.stages[0].to.agents is an empty list, but a stage by names has at least one"
    );
    assert_eq!(
        refused(|it| it.stages[0].bake_s = 90_000_000),
        "strategy.stages[0].bake_s is 90000000, but it is from 0 to 7776000"
    );
}

#[test]
fn numbers_and_windows_that_cannot_be_meant_are_refused_likewise() {
    assert_eq!(
        refused(|it| it.max_in_flight = 0),
        "strategy.max_in_flight is 0, but it is from 1 to 10000"
    );
    assert_eq!(
        refused(|it| it.per_minute = Some(0)),
        "strategy.per_minute is 0, but it is from 1 to 10000"
    );
    assert_eq!(
        refused(|it| it.jitter_s = 7_776_001),
        "strategy.jitter_s is 7776001, but it is from 0 to 7776000"
    );
    assert_eq!(
        refused(|it| it.tolerated.percent = 101),
        "strategy.tolerated.percent is 101, but it is from 0 to 100"
    );
    assert_eq!(
        refused(|it| it.silent_after_s = 0),
        "strategy.silent_after_s is 0, but it is from 1 to 7776000"
    );
    assert_eq!(
        refused(|it| it.windows = vec![window("01:00", "05:00"), window("03:00", "03:00")]),
        "strategy.windows[1].to is 03:00:00, but that is when the window begins: it would never \
         be open. For any time leave `windows` empty"
    );
    assert_eq!(
        refused(|it| it.windows = vec![window("03:00", "03:00:00.5")]),
        "strategy.windows[0].to is 03:00:00.5, but windows begin and end at whole seconds"
    );
    assert_eq!(
        refused(|it| it.windows = vec![window("01:00", "02:00"); 29]),
        "strategy.windows is a list of 29, but there are at most 28"
    );
}

#[test]
fn a_strategy_reads_as_people_write_it() {
    let text = r#"{
        "stages": [{"to": {"agents": ["anna"]}, "bake_s": 60}, {"to": {"percent": 100}, "bake_s": 0}],
        "max_in_flight": 2, "tolerated": {"count": 1}, "silent_after_s": 600,
        "windows": [{"days": ["fri"], "from": "22:00", "to": "05:00"}]
    }"#;
    let strategy: Strategy = serde_json::from_str(text).unwrap();
    assert_eq!(check(&strategy), Ok(()));
    assert_eq!(strategy.windows[0].from, jiff::civil::time(22, 0, 0, 0));
}
