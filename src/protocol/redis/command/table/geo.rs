//! Positions on the earth, stored in sorted sets.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Geo;
    ("GEOADD", -5, FIRST, Forward, WRITE | DENYOOM, "3.2.0",
        "key [NX|XX] [CH] longitude latitude member [longitude latitude member ...]", "Adds members with positions")
    ("GEODIST", -4, FIRST, Forward, READ, "3.2.0",
        "key member1 member2 [M|KM|FT|MI]", "Returns the distance between two members")
    ("GEOHASH", -2, FIRST, Forward, READ, "3.2.0",
        "key member [member ...]", "Returns members as geohashes")
    ("GEOPOS", -2, FIRST, Forward, READ, "3.2.0",
        "key member [member ...]", "Returns the positions of members")
    ("GEORADIUS", -6, radius(6), Forward, WRITE | DENYOOM, "3.2.0",
        "key longitude latitude radius <M|KM|FT|MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT \
         count [ANY]] [ASC|DESC] [STORE key] [STOREDIST key]",
        "Finds or stores members around a position")
    ("GEORADIUSBYMEMBER", -5, radius(5), Forward, WRITE | DENYOOM, "3.2.0",
        "key member radius <M|KM|FT|MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
         [ASC|DESC] [STORE key] [STOREDIST key]",
        "Finds or stores members around a member")
    ("GEORADIUSBYMEMBER_RO", -5, FIRST, Forward, READ, "3.2.10",
        "key member radius <M|KM|FT|MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
         [ASC|DESC]",
        "Finds members around a member")
    ("GEORADIUS_RO", -6, FIRST, Forward, READ, "3.2.10",
        "key longitude latitude radius <M|KM|FT|MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT \
         count [ANY]] [ASC|DESC]",
        "Finds members around a position")
    ("GEOSEARCH", -7, FIRST, Forward, READ, "6.2.0",
        "key <FROMMEMBER member|FROMLONLAT longitude latitude> <BYRADIUS radius \
         <M|KM|FT|MI>|BYBOX width height <M|KM|FT|MI>> [ASC|DESC] [COUNT count [ANY]] [WITHCOORD] \
         [WITHDIST] [WITHHASH]",
        "Finds members in a circle or a box")
    ("GEOSEARCHSTORE", -8, range(1, 2, 1), Forward, WRITE | DENYOOM, "6.2.0",
        "destination source <FROMMEMBER member|FROMLONLAT longitude latitude> <BYRADIUS radius \
         <M|KM|FT|MI>|BYBOX width height <M|KM|FT|MI>> [ASC|DESC] [COUNT count [ANY]] [STOREDIST]",
        "Stores the members found in a circle or a box")
}
