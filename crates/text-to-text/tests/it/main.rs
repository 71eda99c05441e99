//! Language models through the public face.
