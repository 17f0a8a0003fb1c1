//! Who the board is: an id from its silicon, and the names derived from it. Pure; `boot` reads the sources.
//!
//! Invariant: the same board gives the same id on every boot and after every re-flash; nothing is stored.

/// Digits of the id that go into a default name.
const NAME_DIGITS: usize = 6;
/// Longest host name label that DNS allows.
const LABEL_MAX: usize = 63;

/// The board's node id: 16 hex digits from the serial number in the device tree, or else from the hardware
/// address of the first ethernet interface. `None` if the board has neither.
pub(crate) fn node_id(serial: Option<&str>, mac: Option<[u8; 6]>) -> Option<String> {
    // Some firmware leaves the serial number out by filling it with zeros.
    let serial = serial
        .map(|s| s.trim_matches(['\0', '\n', ' ']))
        .filter(|s| s.bytes().any(|b| b != b'0'));
    match (serial, mac) {
        (Some(serial), _) => Some(hex_hash(b"serial:", serial.as_bytes())),
        (None, Some(mac)) => Some(hex_hash(b"mac:", &mac)),
        (None, None) => None,
    }
}

/// The name of a node that was given none.
pub(crate) fn default_name(node_id: &str) -> String {
    format!("node-{}", node_id.get(..NAME_DIGITS).unwrap_or(node_id))
}

/// The host name `<cluster>-<node>`: one label of letters, digits and hyphens.
pub(crate) fn host_name(cluster: &str, node: &str) -> String {
    let mut label: String = format!("{cluster}-{node}")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(LABEL_MAX)
        .collect();
    label.truncate(label.trim_end_matches('-').len());
    label.trim_start_matches('-').to_owned()
}

/// FNV-1a with murmur's finaliser: not secret, only spread, so that the first digits differ between neighbours.
fn hex_hash(kind: &[u8], data: &[u8]) -> String {
    let mut hash = kind
        .iter()
        .chain(data)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    format!("{:016x}", hash ^ (hash >> 33))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_number_comes_first_and_zeros_are_none() {
        let mac = Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let by_serial = node_id(Some("00000000a1b2c3d4\0"), mac);
        assert_eq!(by_serial, node_id(Some("00000000a1b2c3d4"), None));
        assert_ne!(by_serial, node_id(None, mac));
        assert_eq!(node_id(Some("0000000000000000\0"), mac), node_id(None, mac));
        assert_eq!(node_id(None, None), None);
    }

    #[test]
    fn the_id_of_a_board_never_changes_between_versions() {
        // Changing this value gives every board in the field a new identity.
        assert_eq!(
            node_id(None, Some([0x52, 0x54, 0, 0x12, 0x34, 0x56])).as_deref(),
            Some("cdf88dee2fa22567")
        );
    }

    #[test]
    fn neighbours_get_different_names() {
        let names: std::collections::BTreeSet<String> = (0..=255u8)
            .filter_map(|last| node_id(None, Some([0xb8, 0x27, 0xeb, 1, 2, last])))
            .map(|id| default_name(&id))
            .collect();
        assert_eq!(names.len(), 256);
    }

    #[test]
    fn host_names_are_one_valid_label() {
        assert_eq!(host_name("home", "node-1a2b3c"), "home-node-1a2b3c");
        assert_eq!(host_name("My Lab", "Rack.1"), "my-lab-rack-1");
        assert!(host_name(&"x".repeat(80), "n").len() <= LABEL_MAX);
    }
}
