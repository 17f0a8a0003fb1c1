//! A JSON text that is put together of parts, some of which were made before.
//!
//! Called on the thread that renders `/state` and its like. Invariant: what is written is JSON if what is handed in is.

use bytes::Bytes;
use serde::Serialize;

/// Smaller texts are copied into the text around them.
const MIN_PART: usize = 4096;

/// A JSON text in parts.
#[derive(Debug)]
pub(super) struct Writer {
    parts: Vec<Bytes>,
    text: Vec<u8>,
    /// The list that is being written has no item yet.
    is_first: bool,
}

/// Appends an item of a list, with a comma in front.
pub(super) fn item(list: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    list.push(b',');
    serde_json::to_writer(list, value)
}

impl Writer {
    /// Begins with an object that has at least one member, and leaves it open.
    pub(super) fn new(head: &impl Serialize) -> serde_json::Result<Self> {
        let mut writer = Self {
            parts: Vec::new(),
            text: Vec::new(),
            is_first: true,
        };
        writer.open(head)?;
        Ok(writer)
    }

    /// The next item of the list, an object that has at least one member; leaves it open.
    pub(super) fn open(&mut self, head: &impl Serialize) -> serde_json::Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.text.push(b',');
        }
        serde_json::to_writer(&mut self.text, head)?;
        self.text.pop();
        Ok(())
    }

    /// A member of the object that is open: a list that is filled next.
    pub(super) fn list(&mut self, name: &str) {
        self.text.extend_from_slice(b",\"");
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":[");
        self.is_first = true;
    }

    /// Items of the list, each with a comma in front.
    fn items(&mut self, items: &Bytes) {
        if items.is_empty() {
            return;
        }
        let from = usize::from(std::mem::take(&mut self.is_first));
        if items.len() < MIN_PART {
            self.text.extend_from_slice(&items[from..]);
            return;
        }
        self.parts.push(std::mem::take(&mut self.text).into());
        self.parts.push(items.slice(from..));
    }

    /// A whole list.
    pub(super) fn whole<'a>(&mut self, name: &str, items: impl IntoIterator<Item = &'a Bytes>) {
        self.list(name);
        items.into_iter().for_each(|items| self.items(items));
        self.end(b']');
    }

    /// Ends a list or an object.
    pub(super) fn end(&mut self, bracket: u8) {
        self.text.push(bracket);
        self.is_first = false;
    }

    /// The text.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        self.parts.push(self.text.into());
        self.parts.retain(|part| !part.is_empty());
        self.parts
    }
}
