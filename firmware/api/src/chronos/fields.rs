//! Reads JSON objects field by field; the first thing that is wrong is told, with its path.
//!
//! As lenient as Chronos, which takes `"0.5"` for a number: its own manual writes it so. Called by `job` and `container`.
//! Invariant: `null` is the same as absent.

use serde_json::{Map, Value};

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// It is no JSON.
    #[error("the definition is no JSON: {0}")]
    Json(String),
    /// A field has another type, or a value that it cannot have.
    #[error("{path}: expected {expected}, not {found}")]
    Value {
        /// `container.volumes[0].mode`
        path: String,
        /// What it may be.
        expected: &'static str,
        /// What it is, cut.
        found: String,
    },
    /// A field must be there.
    #[error("{path}: expected {expected}, and there is nothing")]
    Missing {
        /// Which.
        path: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Two fields do not go together, or one asks for what there is not.
    #[error("{path}: {reason}")]
    Refused {
        /// Which.
        path: String,
        /// Why.
        reason: &'static str,
    },
}

/// Longest part of a wrong value that is told, characters.
const MAX_FOUND: usize = 60;

/// An object and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    pub(super) path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        let path = "the definition".to_owned();
        Self { value, path }
    }

    pub(super) fn wrong(&self, expected: &'static str) -> FieldError {
        let found = self.value.to_string();
        FieldError::Value {
            path: self.path.clone(),
            expected,
            found: found.chars().take(MAX_FOUND).collect(),
        }
    }

    pub(super) fn object(&self) -> Result<Object<'a>, FieldError> {
        let map = self
            .value
            .as_object()
            .ok_or_else(|| self.wrong("an object"))?;
        let path = self.path.clone();
        Ok(Object { map, path })
    }

    pub(super) fn text(&self) -> Result<String, FieldError> {
        let text = self.value.as_str().map(str::to_owned);
        text.ok_or_else(|| self.wrong("a text"))
    }

    pub(super) fn items(&self) -> Result<Vec<Node<'a>>, FieldError> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        let node = |(index, value)| Node {
            value,
            path: format!("{}[{index}]", self.path),
        };
        Ok(items.iter().enumerate().map(node).collect())
    }

    fn flag(&self) -> Result<bool, FieldError> {
        let text = || {
            self.value
                .as_str()?
                .trim()
                .to_ascii_lowercase()
                .parse()
                .ok()
        };
        let flag = self.value.as_bool().or_else(text);
        flag.ok_or_else(|| self.wrong("true or false"))
    }

    fn number(&self, most: f64) -> Result<f64, FieldError> {
        let text = || self.value.as_str()?.trim().parse().ok();
        let number = self.value.as_f64().or_else(text);
        let number = number.filter(|number: &f64| (0.0..=most).contains(number));
        number.ok_or_else(|| self.wrong("a number from 0 to a thousand millions"))
    }

    fn whole(&self) -> Result<u64, FieldError> {
        let text = || self.value.as_str()?.trim().parse().ok();
        // Some clients write whole numbers with a point.
        let float = self
            .value
            .as_f64()
            .filter(|n| n.fract() == 0.0 && (0.0..9e15).contains(n));
        let whole = self.value.as_u64().or(float.map(|n| n as u64));
        whole
            .or_else(text)
            .ok_or_else(|| self.wrong("a whole number from 0"))
    }
}

impl<'a> Object<'a> {
    pub(super) fn at(&self, name: &str) -> String {
        match self.path.as_str() {
            "the definition" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// The value of this name; none if it is absent or `null`.
    pub(super) fn get(&self, name: &str) -> Option<Node<'a>> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        let path = self.at(name);
        Some(Node { value, path })
    }

    pub(super) fn refused(&self, name: &str, reason: &'static str) -> FieldError {
        let path = self.at(name);
        FieldError::Refused { path, reason }
    }

    pub(super) fn needed(&self, name: &str, expected: &'static str) -> Result<String, FieldError> {
        let missing = || FieldError::Missing {
            path: self.at(name),
            expected,
        };
        let node = self.get(name).ok_or_else(missing)?;
        let text = node.text()?;
        match text.trim() {
            "" => Err(node.wrong(expected)),
            _ => Ok(text),
        }
    }

    /// The text, or the default.
    pub(super) fn text(&self, name: &str, default: &str) -> Result<String, FieldError> {
        let text = self.get(name).map(|node| node.text()).transpose()?;
        Ok(text.unwrap_or_else(|| default.to_owned()))
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, FieldError> {
        let flag = self.get(name).map(|node| node.flag()).transpose()?;
        Ok(flag.unwrap_or(default))
    }

    /// An amount; nothing and 0 are the default, as in Chronos.
    pub(super) fn amount(&self, name: &str, default: f64) -> Result<f64, FieldError> {
        /// Far more than a cluster has, and exact in thousandths.
        const MOST: f64 = 1e9;
        let amount = self.get(name).map(|node| node.number(MOST)).transpose()?;
        Ok(amount.filter(|amount| *amount != 0.0).unwrap_or(default))
    }

    pub(super) fn whole(&self, name: &str, default: u64) -> Result<u64, FieldError> {
        let whole = self.get(name).map(|node| node.whole()).transpose()?;
        Ok(whole.unwrap_or(default))
    }

    /// Each item; an absent list is empty.
    pub(super) fn list<T>(
        &self,
        name: &str,
        read: impl FnMut(Node<'a>) -> Result<T, FieldError>,
    ) -> Result<Vec<T>, FieldError> {
        let items = self.get(name).map(|node| node.items()).transpose()?;
        items.unwrap_or_default().into_iter().map(read).collect()
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, FieldError> {
        self.list(name, |node| node.text())
    }
}
