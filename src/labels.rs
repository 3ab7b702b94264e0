//! Enums whose variants have names that are seen from outside: in metrics, logs, answers, requests and settings.

/// Declares an enum, the list of its variants and their names at once: an array with a place for
/// each of `ALL` can be indexed by a variant.
macro_rules! labels {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$meaning:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$meaning])* $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: [Self; [$($text,)+].len()] = [$(Self::$variant,)+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The one with this name.
            pub fn from_name(text: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|label| label.as_str() == text)
            }
        }
    };
}

pub(crate) use labels;
