//! What an instance of a service, or a run of a job, needs of the agent that it is to run on.
//!
//! Not what is run there: definitions stay with the shell. Made by the shell from definitions, asked by `placing`.

use nesos_wire::resource::Scalar;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Need {
    /// Amounts by name (`cpus`, `mem` in MB, `disk` in MB, `gpus`), each above zero, by name.
    pub scalars: Vec<(String, Scalar)>,
    /// Host ports, in the order of the definition.
    pub ports: Vec<PortNeed>,
    /// What must be true of the agent.
    pub constraints: Vec<Constraint>,
    /// Takes resources that are reserved to the scheduler's role.
    pub takes_reserved: bool,
    /// Takes resources that are not reserved.
    pub takes_unreserved: bool,
}

/// A host port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortNeed {
    /// Whichever is free.
    Any,
    /// This one.
    Fixed(u16),
}

/// A rule about the agent, or about how instances are spread over agents (Marathon's `constraints`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// `hostname`, `@region`, `@zone` or an attribute's name.
    pub field: String,
    /// What must be true of its value.
    pub rule: Rule,
}

/// What must be true of a field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// No other instance has it.
    Unique,
    /// It is this one; none given: all instances have the same.
    Cluster(Option<String>),
    /// Instances are spread evenly over its values, of which there are so many at least; none given: as many as are seen.
    GroupBy(Option<u32>),
    /// No more than so many instances have it.
    MaxPer(u32),
    /// It is this one.
    Is(String),
    /// The whole of it matches this pattern.
    Like(Pattern),
    /// There is none, or the whole of it does not match this pattern.
    Unlike(Pattern),
}

/// A pattern of a whole value.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    compiled: regex_lite::Regex,
}

/// The text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a regular expression: {reason}")]
pub struct PatternError {
    /// As it was given.
    pub text: String,
    /// In the library's words.
    pub reason: String,
}

impl Pattern {
    /// Takes a regular expression.
    ///
    /// # Errors
    /// It is none.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let compiled = regex_lite::Regex::new(&format!("^(?:{text})$"));
        let compiled = compiled.map_err(|reason| PatternError {
            text: text.to_owned(),
            reason: reason.to_string(),
        })?;
        Ok(Self {
            text: text.to_owned(),
            compiled,
        })
    }

    /// Whether a whole value matches.
    pub fn matches(&self, value: &str) -> bool {
        self.compiled.is_match(value)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}
