//! How long a picture takes.
fn main() {}
