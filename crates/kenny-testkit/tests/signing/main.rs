//! Signed releases from the operator's side: the real command line with key files, against the real server.
#![cfg(target_os = "linux")]

mod operator;

use anyhow::Result;
use kenny_testkit::Server;
use kenny_testkit::places::{folder, program};
use serde_json::Value;

use self::operator::{Operator, openssl};

const PASSPHRASE: &str = "four unrelated words here";

async fn server(name: &str) -> Result<(Server, Operator)> {
    let folder = folder(name)?;
    let server = Server::start(&program("kenny-server")?, &folder.join("server")).await?;
    let operator = Operator::new(&folder.join("repository"), server.client(), PASSPHRASE)?;
    Ok((server, operator))
}

/// Each role with its version.
fn roles(trust: &Value) -> Vec<(&str, u64)> {
    fn of(role: &Value) -> Option<(&str, u64)> {
        Some((role["role"].as_str()?, role["version"].as_u64()?))
    }
    trust["roles"].as_array().into_iter().flatten().filter_map(of).collect()
}

#[tokio::test]
async fn a_release_goes_from_key_files_to_the_server() -> Result<()> {
    let (_server, anna) = server("signing-whole").await?;
    let agent = program("kenny-agent")?.display().to_string();
    let status = anna.says("status").await?;
    assert!(status.contains("whoever has the server has the PCs"), "{status}");

    anna.says("keys init DIR").await?;
    for name in ["root-1", "root-2", "root-3", "targets-1"] {
        openssl(&anna.path(&format!("keys/{name}.pem")), PASSPHRASE).await?;
    }
    let show = anna.json("keys show DIR").await?;
    assert_eq!(show["complete"], true, "{show}");
    assert_eq!(show["root"]["signatures"][0]["threshold"], 2);
    assert_eq!(show["root"]["keys"].as_array().unwrap().len(), 3);

    anna.says(&format!("release sign {agent} --from >=0.2.0")).await?;
    let published = anna.json("release publish").await?;
    assert_eq!(published["targets_version"], 2, "{published}");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(published["added"][0]["version"], version);
    let again = anna.json("release publish").await?;
    assert_eq!(again["added"].as_array().unwrap().len(), 0);
    let list = anna.says("release list").await?;
    assert!(list.contains(version), "{list}");

    let status = anna.json("status").await?;
    assert_eq!(status["trust"]["mode"], "signed");
    assert_eq!(status["trust"]["targets"][0]["from"], ">=0.2.0");
    let status = anna.says("status").await?;
    assert!(status.contains("expires") && status.contains("2 of 3 keys"), "{status}");

    // What is signed cannot be signed as something else, and what is no agent not at all.
    let refused = anna.refused("release sign /bin/true", 1).await?;
    assert!(refused.contains("is not a kenny-agent"), "{refused}");
    let refused = anna.refused("release sign --withdraw 9.9.9", 2).await?;
    assert!(refused.contains("no target of version 9.9.9"), "{refused}");
    anna.says(&format!("release sign --withdraw {version}")).await?;
    anna.says("release publish").await?;
    assert_eq!(anna.json("status").await?["trust"]["targets"], serde_json::json!([]));
    let warned = anna.run(&format!("release add {agent}")).await?;
    assert!(warned.1.contains("was withdrawn") && warned.1.contains("sign it again"), "{warned:?}");
    Ok(())
}

#[tokio::test]
async fn two_of_three_holders_sign_on_machines_of_their_own() -> Result<()> {
    let (_server, anna) = server("signing-holders").await?;
    let holders = ["anna", "ben", "cleo"];
    let mut ids = Vec::new();
    for holder in holders {
        ids.push(anna.says(&format!("keys new DIR/{holder}.pem")).await?.trim().to_owned());
    }
    let add = holders.map(|holder| format!("--add-root DIR/{holder}.pub")).join(" ");
    let trust = anna.json("status").await?["trust"].clone();
    let online = trust["online_key"]["public"].as_str().unwrap();
    anna.says(&format!("keys init DIR --root-keys 0 {add} --online-key {online}")).await?;
    let show = anna.json("keys show DIR").await?;
    assert_eq!(show["complete"], false);
    let refused = anna.refused("release publish", 2).await?;
    assert!(refused.contains("lacks signatures"), "{refused}");

    anna.says("release sign --add-signature --yes --key DIR/anna.pem").await?;
    assert_eq!(anna.json("keys show DIR").await?["complete"], false);
    let twice = anna.refused("release sign --add-signature --yes --key DIR/anna.pem", 2).await?;
    assert!(twice.contains("can add a signature"), "{twice}");

    // Ben gets what is public, signs without a server, and gives it back.
    let ben = anna.copy_without_keys("ben", PASSPHRASE)?;
    fs_err::copy(anna.path("ben.pem"), ben.path("ben.pem"))?;
    let offline = ben.offline("release sign --add-signature --yes --key DIR/ben.pem").await?;
    assert!(offline.contains("2 of 2"), "{offline}");
    fs_err::copy(ben.path("metadata/1.root.json"), anna.path("metadata/1.root.json"))?;
    anna.says("release publish").await?;

    // Cleo's key is lost: the other two replace it, and replace Anna's targets key too.
    let show = anna.json("keys show DIR").await?;
    let old_targets = show["targets"]["keys"][0].as_str().unwrap();
    let cleo = &ids[2];
    anna.says("keys new DIR/dora.pem").await?;
    let rotate = format!(
        "keys rotate DIR --remove {cleo} --add-root DIR/dora.pub --remove {old_targets} --new-targets-keys 1"
    );
    anna.says(&format!("{rotate} --key DIR/anna.pem")).await?;
    let refused = anna.refused("release publish", 2).await?;
    assert!(refused.contains("root metadata lacks signatures"), "{refused}");
    anna.says("release sign --add-signature --yes --key DIR/ben.pem").await?;
    let published = anna.json("release publish").await?;
    assert_eq!((&published["root_version"], &published["targets_version"]), (&2.into(), &2.into()));

    // Whoever lost the folder gets it back from the server, as far as it is public.
    let eve = Operator::at(&anna, "eve", PASSPHRASE)?;
    eve.says("release fetch").await?;
    assert_eq!(eve.json("keys show DIR").await?["root"], anna.json("keys show DIR").await?["root"]);
    // She has no key, and what she makes up is not taken.
    let refused = eve.refused("release sign --renew", 2).await?;
    assert!(refused.contains("none of the keys"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn the_servers_key_is_replaced_and_a_new_server_takes_over() -> Result<()> {
    let (_server, anna) = server("signing-online").await?;
    anna.says("keys init DIR").await?;
    anna.says("release publish").await?;
    let before = anna.json("status").await?["trust"].clone();
    anna.says("keys rotate DIR --new-online-key").await?;
    anna.says("release publish").await?;
    let after = anna.json("status").await?["trust"].clone();
    assert_ne!(before["online_key"], after["online_key"]);
    assert_eq!(roles(&after)[0], ("root", 2));
    assert_eq!(roles(&after)[1], ("targets", 1), "the targets stay as they are");
    let (was, is) = (roles(&before)[3].1, roles(&after)[3].1);
    assert!(was < is, "the timestamp goes on: {was}, {is}");

    // A server that is set up anew has a key of its own; the next root names it.
    let (_other, moved) = server("signing-moved").await?;
    moved.take_folder_of(&anna)?;
    let refused = moved.refused("release publish", 1).await?;
    assert!(refused.contains("does not name a key of this server"), "{refused}");
    let trust = moved.json("status").await?["trust"].clone();
    let online = trust["online_key"]["public"].as_str().unwrap();
    moved.says(&format!("keys rotate DIR --online-key {online}")).await?;
    let published = moved.json("release publish").await?;
    assert_eq!(published["root_version"], 3, "the whole chain came along");

    // Somebody else's repository does not take this server over.
    let mallory = Operator::at(&moved, "mallory", PASSPHRASE)?;
    mallory.says("keys init DIR").await?;
    let refused = mallory.refused("release publish", 1).await?;
    assert!(refused.contains("version 1"), "{refused}");
    let refused = mallory.refused("release fetch", 1).await?;
    assert!(refused.contains("one of them is not yours"), "{refused}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs python-tuf: `cargo xtask interop` installs it and runs this"]
async fn a_client_that_others_wrote_takes_a_target_from_the_server() -> Result<()> {
    let (_server, anna) = server("signing-python").await?;
    anna.says("keys init DIR").await?;
    anna.says(&format!("release sign {}", program("kenny-agent")?.display())).await?;
    anna.says("release publish").await?;
    let arch = std::env::consts::ARCH;
    let target = format!("kenny-agent/{}/linux-{arch}/kenny-agent", env!("CARGO_PKG_VERSION"));
    let got = anna.python_client(&target).await?;
    assert_eq!(fs_err::read(got)?, fs_err::read(program("kenny-agent")?)?);
    anna.says("keys rotate DIR --new-online-key --new-root-keys 1").await?;
    anna.says("release publish").await?;
    anna.python_client(&target).await?;
    Ok(())
}
