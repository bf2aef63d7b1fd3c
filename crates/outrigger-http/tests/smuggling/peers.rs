//! Second opinions.
