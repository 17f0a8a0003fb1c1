//! Damaged and random bytes through every decoder: the short form of `tests/fuzz`, in every test run.
//!
//! Deterministic: the same bytes on every machine. Invariant: no decoder panics, whatever it is given.

use nesos_wire_compat::decoders::{TARGETS, Target};
use nesos_wire_compat::samples;

/// How many damaged inputs each decoder gets: about a second in a debug build.
const INPUTS: u64 = 4000;

const CONFIG: &str = "name = \"pi3-7\"\nrole = \"agent\"\n[cluster]\nname = \"home\"\nmaster = \"10.0.0.1:5050\"\n\
    [network]\naddress = \"10.0.0.7/24\"\ngateway = \"10.0.0.1\"\ndns = \"10.0.0.1\"\nntp = [\"a.b\"]\nproxy = \"http://p:1\"\n[api]\naccess = \"local\"\n\
    [wifi]\nssid = \"x\"\npsk = \"12345678\"\n[ssh]\nkeys = []\n\
    [agent]\nattributes = \"rack:a\"\nresources = \"cpus:1\"\nreserved_memory = 64\n[agent.labels]\na = \"b\"\n";
const PRESEED: &str = "[system]\nhostname = \"a\"\n[ssh]\nauthorized_keys = [\"ssh-rsa AAAA\"]\n[wlan]\nssid = \"b\"\npassword = \"12345678\"\n";
const SCRIPT: &str =
    "/usr/x/imager_custom set_hostname a\n/usr/x/imager_custom set_wlan -h 'b' \"12345678\" 'DE'\n";
const CLOUD: &str = "hostname: a\nuser:\n  ssh_authorized_keys:\n    - \"x\"\nnetwork:\n  wifis:\n    wlan0:\n      access-points:\n        \"b\\x41\":\n          password: \"12345678\"\n";
const CALL: &str = r#"{"framework_id":{"value":"f"},"type":"ACCEPT","accept":{"offer_ids":[{"value":"o"}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[{"name":"t","task_id":{"value":"t"},"agent_id":{"value":"a"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}}],"command":{"value":"true"},"limits":{"cpus":{"value":"Infinity"}},"data":"AAEC"}]}}],"filters":{"refuse_seconds":"5"}}}"#;

const OFFER: &str = r#"{"id":{"value":"o"},"framework_id":{"value":"f"},"agent_id":{"value":"a"},"hostname":"h","resources":[{"name":"disk","type":"SCALAR","scalar":{"value":64},"reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b","principal":"p","labels":{"labels":[{"key":"k","value":"v"}]}}],"disk":{"persistence":{"id":"v","principal":"p"},"volume":{"container_path":"d","mode":"RW"},"source":{"type":"PATH","path":{"root":"/d"}}},"shared":{}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":5}]},"role":"web","reservation":{"principal":"p"}}]}"#;

const QUOTA: &str = r#"{"type":"UPDATE_QUOTA","update_quota":{"force":true,"quota_configs":[{"role":"a","guarantees":{"cpus":{"value":1}},"limits":{"cpus":{"value":2.5},"mem":{"value":"64"}}}]},"set_quota":{"quota_request":{"role":"a","guarantee":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]}},"update_weights":{"weight_infos":[{"role":"a","weight":2}]}}"#;

const UPDATE: &str = r#"{"executor_id":{"value":"e"},"framework_id":{"value":"f"},"type":"UPDATE","update":{"status":{"task_id":{"value":"t"},"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR","uuid":"AAECAwQFBgcICQoLDA0ODw==","labels":{"labels":[{"key":"k","value":"v"}]},"check_status":{"type":"COMMAND","command":{"exit_code":0}},"timestamp":1.5}},"subscribe":{"unacknowledged_tasks":[{"name":"t","task_id":{"value":"t"},"agent_id":{"value":"a"}}]}}"#;

const APP: &str = r#"{"id":"/shop/web","cmd":"serve $PORT0","cpus":0.5,"mem":64,"instances":3,"env":{"A":"b"},"constraints":[["hostname","UNIQUE"],["rack","LIKE","a|b"]],"portDefinitions":[{"port":0,"name":"http","labels":{"k":"v"}}],"healthChecks":[{"protocol":"HTTP","path":"/","portIndex":0,"gracePeriodSeconds":5}],"upgradeStrategy":{"minimumHealthCapacity":0.5,"maximumOverCapacity":0.2},"container":{"type":"MESOS","docker":{"image":"x"},"volumes":[{"containerPath":"d","hostPath":"/d","mode":"RO"}]},"fetch":[{"uri":"http://h/f","cache":true}],"unreachableStrategy":{"inactiveAfterSeconds":5,"expungeAfterSeconds":9}}"#;

const JOB: &str = r#"{"name":"b","command":"true","schedule":"R3/2026-01-31T12:00:00Z/P1M","epsilon":"PT15M","cpus":0.5,"retries":1,"constraints":[["rack","EQUALS","a"]],"environmentVariables":[{"name":"A","value":"b"}],"fetch":[{"uri":"http://h/f"}],"container":{"type":"DOCKER","image":"x","volumes":[{"containerPath":"/d","hostPath":"/d","mode":"RO"}]}}"#;

/// Inputs that the decoder accepts.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let call = nesos_api::scheduler::Call::from_json(CALL.as_bytes()).expect("valid");
    let quota = nesos_api::operator::master::Call::from_json(QUOTA.as_bytes()).expect("valid");
    match target {
        "json_call" => vec![CALL.into(), QUOTA.into()],
        "protobuf_call" => vec![call.to_protobuf(), quota.to_protobuf()],
        "executor_call" => {
            let call = nesos_api::executor::Call::from_json(UPDATE.as_bytes()).expect("valid");
            vec![UPDATE.into(), call.to_protobuf()]
        }
        "recordio" => vec![
            [
                nesos_api::recordio::encode(b"first"),
                nesos_api::recordio::encode(b"second one"),
            ]
            .concat(),
        ],
        "resources" => vec![OFFER.into()],
        "preset" => vec![PRESEED.into(), SCRIPT.into(), CLOUD.into()],
        "definition" => vec![APP.into(), JOB.into()],
        "wire_frame" => samples().into_iter().map(|sample| sample.bytes).collect(),
        _ => vec![CONFIG.into(), Vec::new()],
    }
}

/// xorshift: enough to vary inputs, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Changes, cuts, inserts or repeats a few bytes.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            2 => bytes.extend_from_within(at..),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 if !bytes.is_empty() => bytes[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
            _ if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
}

fn torture(name: &str, target: Target) {
    let seeds = seeds(name);
    for seed in &seeds {
        assert!(target(seed), "{name} accepts its own seed");
        for cut in 0..seed.len() {
            target(&seed[..cut]);
        }
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..INPUTS {
        let mut bytes = match round % 8 {
            0 => (0..random.below(64)).map(|_| random.next() as u8).collect(),
            _ => seeds[random.below(seeds.len())].clone(),
        };
        damage(&mut bytes, &mut random);
        target(&bytes);
    }
}

#[test]
fn decoders_survive_damaged_bytes() {
    for (name, target) in TARGETS {
        torture(name, target);
    }
}
