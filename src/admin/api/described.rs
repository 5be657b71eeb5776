//! Structs whose fields are described once: for readers of the code, and for `docs/admin-api.md`.

/// The description of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its meaning.
    pub help: &'static str,
}

/// An object with described fields.
pub trait Described {
    /// The fields, in the order in which they are written.
    const FIELDS: &'static [Field];
}

/// Defines structs whose fields are described by their doc comments.
macro_rules! described {
    ($(
        $(#[doc = $text:literal])+
        $(#[serde($($option:tt)*)])?
        pub struct $name:ident {
            $($(#[doc = $help:literal])+ $field:ident: $kind:ty,)*
        }
    )*) => {$(
        $(#[doc = $text])+
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        $(#[serde($($option)*)])?
        pub struct $name {
            $($(#[doc = $help])+ pub $field: $kind,)*
        }

        impl $crate::admin::api::described::Described for $name {
            const FIELDS: &'static [$crate::admin::api::described::Field] =
                &[$($crate::admin::api::described::Field {
                    name: stringify!($field),
                    help: concat!($($help),+).trim_ascii(),
                }),*];
        }
    )*};
}

pub(super) use described;
