//! Stub replaced at merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    pub minor_units: i64,
    pub exponent: u8,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency([u8; 3]);
impl Currency {
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
    pub fn from_code(s: &str) -> Option<Self> {
        s.as_bytes().try_into().ok().map(Self)
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Approved,
    Declined,
}
impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined => "declined",
        }
    }
}
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyKey(arrayvec::ArrayString<255>);
impl IdempotencyKey {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}
