//! masterd

fn main() {}
