//! Which signed target is for which agent.
//!
//! Whether a target was signed is decided before, by the verification of the metadata; this is about what was signed.

use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::trust::{Expiry, TargetCustom, TargetName, TargetNameError};
use kenny_proto::{Arch, Os};
use semver::{Version, VersionReq};
use serde_json::Value;

/// Why a target's name and `custom` object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The name is not one of kenny's.
    #[error(transparent)]
    Name(#[from] TargetNameError),
    /// The `custom` object lacks something, or has it in another shape.
    #[error("the custom object of {name} is not as kenny writes it")]
    Custom {
        /// The target.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Name and `custom` object speak of different things.
    #[error("the target {name} says in its custom object that it is {version} for {os} on {arch}")]
    Mismatch {
        /// The target.
        name: String,
        /// The version of the custom object.
        version: Version,
        /// The operating system of the custom object.
        os: Os,
        /// The architecture of the custom object.
        arch: Arch,
    },
}

/// The name of the target that such a `custom` object belongs to.
pub fn name_of(custom: &TargetCustom) -> TargetName {
    TargetName { version: custom.version.clone(), os: custom.os, arch: custom.arch }
}

/// Reads a target's `custom` object and holds it against the target's name: one that says two things says nothing.
///
/// Fields that are not known here are ignored, as everywhere in the contract.
pub fn read_custom(
    name: &str,
    custom: impl IntoIterator<Item = (String, Value)>,
) -> Result<TargetCustom, TargetError> {
    let named: TargetName = name.parse()?;
    let custom = Value::Object(custom.into_iter().collect());
    let custom: TargetCustom = serde_json::from_value(custom)
        .map_err(|source| TargetError::Custom { name: name.to_owned(), source })?;
    if name_of(&custom) != named {
        let TargetCustom { version, os, arch, .. } = custom;
        return Err(TargetError::Mismatch { name: name.to_owned(), version, os, arch });
    }
    Ok(custom)
}

/// The fields of a `custom` object, by name.
pub fn write_custom(custom: &TargetCustom) -> impl Iterator<Item = (String, Value)> {
    let Ok(Value::Object(fields)) = serde_json::to_value(custom) else {
        unreachable!("a struct of texts and a bool is a JSON object")
    };
    fields.into_iter()
}

/// Why a signed target is not for an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// It is for other PCs.
    #[error("version {version} was signed for {os} on {arch}, this is {own_os} on {own_arch}")]
    Platform {
        /// The target's version.
        version: Version,
        /// The target's operating system.
        os: Os,
        /// The target's architecture.
        arch: Arch,
        /// The agent's operating system.
        own_os: Os,
        /// The agent's architecture.
        own_arch: Arch,
    },
    /// What runs is not among the versions that may go to it.
    #[error(
        "version {version} was signed for agents of version {requirement}, this one is {running}: \
         go there by a version in between"
    )]
    From {
        /// The target's version.
        version: Version,
        /// Which versions may go to it.
        requirement: VersionReq,
        /// What runs.
        running: Version,
    },
    /// It is older than what this agent ran already, and not signed as a way back.
    #[error(
        "version {version} is lower than {floor}, which this agent ran already, and was not signed as a version to go \
         back to (kenny release sign --rollback-to)"
    )]
    Lower {
        /// The target's version.
        version: Version,
        /// The highest version that the agent ran.
        floor: Version,
    },
}

/// Whether a signed target is for an agent on `os` and `arch` that runs `running` and once ran `floor`, its version
/// floor, where it has one. Versions are compared by precedence: build metadata (`+…`) does not count.
pub fn applies(
    custom: &TargetCustom,
    os: Os,
    arch: Arch,
    running: &Version,
    floor: Option<&Version>,
) -> Result<(), WhyNot> {
    let version = &custom.version;
    if (custom.os, custom.arch) != (os, arch) {
        return Err(WhyNot::Platform {
            version: version.clone(),
            os: custom.os,
            arch: custom.arch,
            own_os: os,
            own_arch: arch,
        });
    }
    if let Some(requirement) = &custom.from
        && !meets(running, requirement)
    {
        return Err(WhyNot::From {
            version: version.clone(),
            requirement: requirement.clone(),
            running: running.clone(),
        });
    }
    let floor = match floor {
        Some(floor) if floor.cmp_precedence(running).is_gt() => floor,
        Some(_) | None => running,
    };
    if version.cmp_precedence(floor).is_lt() && !custom.rollback_to {
        return Err(WhyNot::Lower { version: version.clone(), floor: floor.clone() });
    }
    Ok(())
}

/// Whether a version meets a requirement. A pre-release meets what the version meets that it leads to: Cargo's rule,
/// by which `>=0.3.0` leaves out `0.4.0-rc.1`, keeps pre-releases from those who did not ask for them, and here it
/// would strand an agent that runs one.
fn meets(version: &Version, requirement: &VersionReq) -> bool {
    requirement.matches(version)
        || requirement.matches(&Version::new(version.major, version.minor, version.patch))
}

/// When the operator is to sign anew: a month leaves time to get to a key that lies in another house.
pub const OFFLINE_NEAR: Duration = Duration::from_hours(30 * 24);

/// How far away the end of some metadata is. From `near` before it on, somebody should do something about it.
pub fn expiry(expires: Timestamp, near: Duration, now: Timestamp) -> Expiry {
    if expires <= now {
        Expiry::Past
    } else if expires.duration_since(now).unsigned_abs() <= near {
        Expiry::Near
    } else {
        Expiry::Far
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_past_near_or_far() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let near = Duration::from_secs(100);
        let look = |now| expiry(at(1000), near, at(now));
        assert_eq!((look(899), look(900)), (Expiry::Far, Expiry::Near));
        assert_eq!((look(999), look(1000)), (Expiry::Near, Expiry::Past));
    }

    fn custom(text: &str) -> TargetCustom {
        serde_json::from_str(text).unwrap()
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn on_windows(target: &TargetCustom, running: &str, floor: Option<&str>) -> Result<(), WhyNot> {
        let floor = floor.map(version);
        applies(target, Os::Windows, Arch::X86_64, &version(running), floor.as_ref())
    }

    const PLAIN: &str = r#"{"version":"1.4.0","os":"windows","arch":"x86_64"}"#;
    const NAME: &str = "kenny-agent/1.4.0/windows-x86_64/kenny-agent.exe";

    #[test]
    fn another_platform_is_refused() {
        let target = custom(PLAIN);
        assert_eq!(on_windows(&target, "1.3.0", None), Ok(()));
        for (os, arch) in [(Os::Linux, Arch::X86_64), (Os::Windows, Arch::Aarch64)] {
            let refused = applies(&target, os, arch, &version("1.3.0"), None);
            assert!(matches!(refused, Err(WhyNot::Platform { .. })), "{os} {arch}");
        }
    }

    #[test]
    fn the_requirement_is_for_what_runs() {
        let mut target = custom(PLAIN);
        target.from = Some(">=0.3.0, <1.4.0".parse().unwrap());
        for good in ["0.3.0", "1.3.9", "0.3.0-rc.1", "1.0.0-beta+build"] {
            assert_eq!(on_windows(&target, good, None), Ok(()), "{good}");
        }
        for bad in ["0.2.9", "1.4.0"] {
            let refused = on_windows(&target, bad, None);
            assert!(matches!(refused, Err(WhyNot::From { .. })), "{bad}: {refused:?}");
        }
        target.from = Some("=1.0.0-rc.1".parse().unwrap());
        assert_eq!(on_windows(&target, "1.0.0-rc.1", None), Ok(()));
        assert!(on_windows(&target, "1.0.0-rc.2", None).is_err());
    }

    #[test]
    fn down_goes_only_what_was_signed_for_it() {
        let mut target = custom(PLAIN);
        let lower =
            |floor: &str| Err(WhyNot::Lower { version: version("1.4.0"), floor: version(floor) });
        assert_eq!(on_windows(&target, "1.5.0", None), lower("1.5.0"));
        assert_eq!(on_windows(&target, "1.3.0", Some("1.5.0")), lower("1.5.0"));
        assert_eq!(on_windows(&target, "1.6.0", Some("1.5.0")), lower("1.6.0"));
        assert_eq!(on_windows(&target, "1.4.1-rc.1", None), lower("1.4.1-rc.1"));
        assert_eq!(on_windows(&target, "1.4.0+other", Some("1.4.0")), Ok(()));
        assert_eq!(on_windows(&target, "1.4.0-rc.1", Some("1.4.0-rc.1")), Ok(()));
        target.rollback_to = true;
        assert_eq!(on_windows(&target, "1.5.0", Some("2.0.0")), Ok(()));
    }

    #[test]
    fn a_custom_object_belongs_to_its_name() {
        let target = custom(PLAIN);
        assert_eq!(name_of(&target).to_string(), NAME);
        let read = read_custom(NAME, write_custom(&target)).unwrap();
        assert_eq!(read, target);

        let other = NAME.replace("1.4.0", "1.5.0");
        assert!(matches!(
            read_custom(&other, write_custom(&target)),
            Err(TargetError::Mismatch { .. })
        ));
        assert!(matches!(read_custom("x", write_custom(&target)), Err(TargetError::Name(_))));
        let without_os = write_custom(&target).filter(|(key, _)| key != "os");
        assert!(matches!(read_custom(NAME, without_os), Err(TargetError::Custom { .. })));
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let more = [("wave".to_owned(), Value::from(3))];
        let read = read_custom(NAME, write_custom(&custom(PLAIN)).chain(more)).unwrap();
        assert_eq!(read, custom(PLAIN));
    }
}
