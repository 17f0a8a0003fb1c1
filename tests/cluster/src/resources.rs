//! Resources of one role as JSON, reserved in either of Mesos's two formats.
//!
//! Called by the tests. Not the API's types: tests say what a framework without any library of ours would.

use serde_json::{Value, json};

/// For whom is reserved.
pub const ROLE: &str = "db";
/// By whom.
pub const PRINCIPAL: &str = "p";

/// How reservations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `role` and `reservation`: before reservations could be refined.
    Single,
    /// `reservations`: frameworks with RESERVATION_REFINEMENT.
    Stack,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Single, Self::Stack];

    /// Of a framework that speaks so.
    #[must_use]
    pub fn capabilities(self) -> Value {
        match self {
            Self::Single => json!([{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}]),
            Self::Stack => {
                json!([{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}, {"type": "RESERVATION_REFINEMENT"}])
            }
        }
    }

    /// So much of this, reserved.
    #[must_use]
    pub fn reserved(self, name: &str, value: f64) -> Value {
        let mut resource = amount(name, value);
        match self {
            Self::Single => {
                resource["role"] = json!(ROLE);
                resource["reservation"] = json!({ "principal": PRINCIPAL });
            }
            Self::Stack => {
                resource["reservations"] =
                    json!([{"type": "DYNAMIC", "role": ROLE, "principal": PRINCIPAL}]);
            }
        }
        resource
    }

    /// A persistent volume that is found at `data`.
    #[must_use]
    pub fn volume(self, id: &str, size: f64) -> Value {
        let mut volume = self.reserved("disk", size);
        volume["disk"] = json!({
            "persistence": {"id": id, "principal": PRINCIPAL},
            "volume": {"container_path": "data", "mode": "RW"},
        });
        volume
    }

    /// Whether nobody has reserved it, and it is written in this format.
    #[must_use]
    pub fn is_unreserved(self, resource: &Value) -> bool {
        match self {
            Self::Single => resource["role"] == "*" && resource["reservation"].is_null(),
            Self::Stack => resource["role"].is_null() && resource["reservations"].is_null(),
        }
    }

    /// What is said of its reservation in this format.
    #[must_use]
    pub fn reservation(self, resource: &Value) -> Value {
        match self {
            Self::Single => {
                json!([resource["role"], resource["reservation"]["principal"]])
            }
            Self::Stack => resource["reservations"].clone(),
        }
    }
}

/// So much of this, of everybody's.
#[must_use]
pub fn amount(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

/// How much of it there is.
///
/// # Panics
/// It is no scalar.
#[must_use]
pub fn scalar(resource: &Value) -> f64 {
    resource["scalar"]["value"].as_f64().expect("a scalar")
}

/// The sum of those that are meant.
#[must_use]
pub fn sum(resources: &Value, is_meant: impl Fn(&Value) -> bool) -> f64 {
    let all = resources.as_array().into_iter().flatten();
    all.filter(|resource| is_meant(resource)).map(scalar).sum()
}

/// The persistent volume with this id.
#[must_use]
pub fn of<'a>(resources: &'a Value, id: &str) -> Option<&'a Value> {
    let mut all = resources.as_array().into_iter().flatten();
    all.find(|resource| id_of(resource) == id)
}

/// The id of a persistent volume; empty: it is none.
#[must_use]
pub fn id_of(resource: &Value) -> &str {
    let id = &resource["disk"]["persistence"]["id"];
    id.as_str().unwrap_or_default()
}
