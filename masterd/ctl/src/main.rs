//! nesos

fn main() {}
