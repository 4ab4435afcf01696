//! How long a plan takes: `cargo test --release -p kenny-core --test rollouts measure -- --ignored --nocapture`.

use kenny_core::rollout::plan::plan;
use kenny_core::rollout::stages;
use kenny_core::rollout::strategy::of_preset;
use kenny_proto::rollout::{MemberState, Preset};

use super::world::{World, agent, course, monday, seconds};

#[test]
#[ignore = "it measures; nothing can fail"]
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it is time that is measured")]
fn measure_ten_thousand_members() {
    let members = (0..10_000).map(|number| agent(&format!("pc-{number}"))).collect();
    let mut world = World { course: course(of_preset(Preset::Careful)), members, now: monday() };
    world.start();
    for (index, member) in world.members.iter_mut().enumerate() {
        member.utc_offset_s = Some(i32::try_from(index % 24).unwrap() * 3600 - 11 * 3600);
        if index % 3 == 0 {
            (member.state, member.stage) = (MemberState::Succeeded, 0);
        }
    }
    world.course.stage = 3;
    let time = |name: &str, work: &mut dyn FnMut()| {
        let mut times: Vec<_> = (0..50)
            .map(|_| {
                let start = std::time::Instant::now();
                work();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!(
            "{name}: shortest {:?}, median {:?}, longest {:?}",
            times[0], times[25], times[49]
        );
    };
    let now = monday() + seconds(90_000);
    time("plan of 10,000 members", &mut || {
        std::hint::black_box(plan(&world.course, &world.members, now));
    });
    let mut members = world.members.clone();
    time("cut of 10,000 members", &mut || stages::cut(&world.course, &mut members));
}
