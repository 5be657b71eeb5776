//! What one process tells another of a client that it hands over.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::protocol::ChannelKind;

/// The state of a client between two requests. What is missing is as for a client that has just connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientRecord {
    /// Its ID, as other clients see it; 0 without one.
    pub id: u64,
    /// Its address, if that is not what its connection says: a balancer has told it.
    pub peer: Text,
    /// The time since it connected.
    pub age_ms: u64,
    /// Its name.
    pub name: Text,
    /// The name of its library.
    pub library: Text,
    /// The version of that.
    pub library_version: Text,
    /// Its database, unless it is that in which clients start.
    pub db: Option<u32>,
    /// The version of its protocol, unless it is the first.
    pub resp: Option<u8>,
    /// It has authenticated, or needs not.
    pub is_authenticated: bool,
    /// Its user, unless that is the default one.
    pub user: Option<Text>,
    /// The replies that it suppresses.
    pub suppresses: Suppressed,
    /// Its subscriptions, in their order within each kind.
    pub subscriptions: Vec<SubscriptionRecord>,
}

/// The replies that a client suppresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suppressed {
    /// None.
    #[default]
    None,
    /// That to its next request.
    Next,
    /// All.
    All,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRecord {
    /// Its kind.
    pub kind: ChannelKind,
    /// The name of the channel.
    pub name: Text,
}

/// Bytes, in JSON as characters of Latin-1: most are text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub Box<[u8]>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(|byte| char::from(*byte)).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes: Result<_, _> = text.chars().map(u8::try_from).collect();
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn record_survives_its_json() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let record = ClientRecord {
            id: 7,
            age_ms: 1500,
            name: Text::from(&every_byte[..]),
            db: Some(3),
            resp: Some(3),
            is_authenticated: true,
            user: Some(Text::from(&b"worker"[..])),
            suppresses: Suppressed::Next,
            subscriptions: vec![SubscriptionRecord {
                kind: ChannelKind::Pattern,
                name: Text::from(&b"news.*"[..]),
            }],
            ..ClientRecord::default()
        };
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<ClientRecord>(&json).unwrap(), record);
    }

    #[test]
    fn record_of_another_version_is_read() {
        let json = json!({"id": 7, "name": "worker", "suppresses": "all", "new": {"x": 1}});
        let record: ClientRecord = serde_json::from_value(json).unwrap();
        let expected = ClientRecord {
            id: 7,
            name: Text::from(&b"worker"[..]),
            suppresses: Suppressed::All,
            ..ClientRecord::default()
        };
        assert_eq!(record, expected);
        let json = json!({"name": "\u{100}"});
        assert!(serde_json::from_value::<ClientRecord>(json).is_err());
    }
}
