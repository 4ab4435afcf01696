//! What holds of the parser of frames, whatever the bytes are.

use std::collections::BTreeMap;
use std::fmt::Debug;

use kenny_proto::{AgentFrame, FrameError, Parsed, ServerFrame};
use serde::de::IgnoredAny;

/// Panics where it does not hold. True where the bytes were a frame.
pub fn check(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let from_agent = check_direction(text, AgentFrame::parse, AgentFrame::to_json);
    let from_server = check_direction(text, ServerFrame::parse, ServerFrame::to_json);
    from_agent || from_server
}

fn check_direction<F: Debug + PartialEq>(
    text: &str,
    parse: fn(&str) -> Result<Parsed<F>, FrameError>,
    write: fn(&F) -> String,
) -> bool {
    match parse(text) {
        Ok(Parsed::Frame(frame)) => {
            assert_is_an_object_with_a_type(text);
            let written = write(&frame);
            assert_is_an_object_with_a_type(&written);
            match parse(&written) {
                Ok(Parsed::Frame(again)) => assert_eq!(again, frame, "written as {written}"),
                other => panic!("{frame:?} is written as {written}, which is read as {other:?}"),
            }
            true
        }
        Ok(Parsed::Unknown(_)) => {
            assert_is_an_object_with_a_type(text);
            false
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The contract's words for a frame. What an ignored field holds need not fit any type of ours.
fn assert_is_an_object_with_a_type(text: &str) {
    #[expect(clippy::zero_sized_map_values, reason = "serde takes no set for an object")]
    let object: BTreeMap<String, IgnoredAny> =
        serde_json::from_str(text).expect("what was taken for a frame is a JSON object");
    assert!(object.contains_key("type"), "a frame without a type: {text}");
}
