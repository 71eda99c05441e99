//! Whole-system tests of Candlepool through its public face.
