//! Reads JSON objects field by field and notes what is wrong with each, by path.
//!
//! Not the rules themselves (`read`, `parts`). Invariants: all faults of a document are found in one go, `null` is the same
//! as absent, and what is not asked for is ignored, as Marathon does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value};

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// `/healthChecks(0)/protocol`
    pub path: String,
    /// A sentence each.
    pub errors: Vec<String>,
}

/// Why a document was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no JSON.
    #[error("Invalid JSON")]
    Json {
        /// In the parser's words.
        reason: String,
    },
    /// Fields are wrong.
    #[error("Object is not valid")]
    Invalid(Vec<Fault>),
}

impl Refusal {
    /// One fault of one field.
    pub fn of(path: &str, error: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault {
            path: path.to_owned(),
            errors: vec![error.into()],
        }])
    }

    /// As Marathon answers it: its status and its body.
    pub fn answer(&self) -> (u16, String) {
        let (status, details) = match self {
            Self::Json { reason } => (400, serde_json::json!(reason)),
            Self::Invalid(faults) => (422, serde_json::json!(faults)),
        };
        let body = serde_json::json!({"message": self.to_string(), "details": details});
        (status, body.to_string())
    }
}

/// Faults as they are found.
#[derive(Debug, Default)]
pub(super) struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    pub(super) fn note(&self, path: &str, error: impl Into<String>) {
        let mut faults = self.0.borrow_mut();
        match faults.iter_mut().find(|fault| fault.path == path) {
            Some(fault) => fault.errors.push(error.into()),
            None => faults.push(Fault {
                path: path.to_owned(),
                errors: vec![error.into()],
            }),
        }
    }

    /// What was read, if nothing is wrong with it.
    pub(super) fn unless_any<T>(self, read: T) -> Result<T, Refusal> {
        let faults = self.0.into_inner();
        match faults.is_empty() {
            true => Ok(read),
            false => Err(Refusal::Invalid(faults)),
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
    pub(super) faults: &'a Faults,
}

/// An object and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
    faults: &'a Faults,
}

impl<'a> Node<'a> {
    pub(super) fn fault(&self, error: impl Into<String>) {
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        self.faults.note(path, error);
    }

    fn expected<T>(&self, kind: &str) -> Option<T> {
        self.fault(format!("error.expected.js{kind}"));
        None
    }

    pub(super) fn object(&self) -> Option<Object<'a>> {
        let Some(map) = self.value.as_object() else {
            return self.expected("object");
        };
        Some(Object {
            map,
            path: self.path.clone(),
            faults: self.faults,
        })
    }

    pub(super) fn text(&self) -> Option<String> {
        let text = self.value.as_str().map(str::to_owned);
        text.or_else(|| self.expected("string"))
    }

    pub(super) fn items(&self) -> Vec<Node<'a>> {
        let Some(items) = self.value.as_array() else {
            return self.expected("array").unwrap_or_default();
        };
        let node = |(index, value)| Node {
            value,
            path: format!("{}({index})", self.path),
            faults: self.faults,
        };
        items.iter().enumerate().map(node).collect()
    }

    fn number(&self, range: &RangeInclusive<f64>) -> Option<f64> {
        let number = self
            .value
            .as_f64()
            .or_else(|| self.expected::<f64>("number"))?;
        if range.contains(&number) {
            return Some(number);
        }
        let (from, to) = (range.start(), range.end());
        match to.is_finite() {
            true => self.fault(format!("must be from {from} to {to}, it is {number}")),
            false => self.fault(format!("must be {from} or more, it is {number}")),
        }
        None
    }

    fn whole(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        let number = self.value.as_number().map(|number| {
            // Some clients write whole numbers with a point.
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0);
            number.as_u64().or_else(|| whole.map(|n| n as u64))
        });
        let number = number.or_else(|| self.expected("number"))?;
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            self.fault(format!(
                "must be a whole number from {} to {}, it is {}",
                range.start(),
                range.end(),
                self.value
            ));
        }
        found
    }
}

impl<'a> Object<'a> {
    /// The value of this name; none if it is absent or `null`.
    pub(super) fn get(&self, name: &str) -> Option<Node<'a>> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        Some(Node {
            value,
            path: format!("{}/{name}", self.path),
            faults: self.faults,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn fault(&self, name: &str, error: impl Into<String>) {
        self.faults.note(&format!("{}/{name}", self.path), error);
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.text()
    }

    pub(super) fn needed_text(&self, name: &str) -> Option<String> {
        let text = self.get(name);
        if text.is_none() {
            self.fault(name, "error.path.missing");
        }
        let text = text?.text()?;
        if text.is_empty() {
            self.fault(name, "must not be empty");
        }
        Some(text)
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let node = self.get(name)?;
        node.value.as_bool().or_else(|| node.expected("boolean"))
    }

    /// Within a range, or the default.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<f64>, default: f64) -> f64 {
        let node = self.get(name);
        node.and_then(|node| node.number(&range)).unwrap_or(default)
    }

    pub(super) fn whole(&self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.get(name)?.whole(&range)
    }

    pub(super) fn port(&self, name: &str) -> Option<u16> {
        self.whole(name, 0..=65_535)
            .and_then(|port| u16::try_from(port).ok())
    }

    pub(super) fn object(&self, name: &str) -> Option<Object<'a>> {
        self.get(name)?.object()
    }

    /// Each item that `read` takes; none if the list is absent.
    pub(super) fn list<T>(
        &self,
        name: &str,
        read: impl FnMut(Node<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        Some(
            self.get(name)?
                .items()
                .into_iter()
                .filter_map(read)
                .collect(),
        )
    }

    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        self.list(name, |node| node.text())
    }

    /// One of these words.
    pub(super) fn word(&self, name: &str, words: &[&'static str]) -> Option<&'static str> {
        let node = self.get(name)?;
        let text = node.text()?;
        let word = words.iter().find(|word| **word == text);
        if word.is_none() {
            node.fault(format!("must be one of {}", words.join(", ")));
        }
        word.copied()
    }

    /// Names and texts.
    pub(super) fn map(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let object = self.object(name)?;
        let names = object.map.keys();
        let pairs = names.filter_map(|name| Some((name.clone(), object.text(name)?)));
        Some(pairs.collect())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a String> {
        self.map.keys()
    }
}

/// Reads a whole document.
pub(super) fn parse(text: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(text).map_err(|error| Refusal::Json {
        reason: error.to_string(),
    })
}
