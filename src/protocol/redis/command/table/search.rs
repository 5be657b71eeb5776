//! Indexes over documents, of the module Search; part of Redis 8.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Search;
    ("FT.AGGREGATE", -3, NONE, Refuse(Refusal::Search), READ, "1.1.0",
        "index query [option ...]", "Groups and aggregates the results of a query")
    ("FT.ALIASADD", 3, NONE, Refuse(Refusal::Search), WRITE | DENYOOM, "1.0.0",
        "alias index", "Adds an alias to an index")
    ("FT.ALIASDEL", 2, NONE, Refuse(Refusal::Search), WRITE, "1.0.0",
        "alias", "Removes an alias from an index")
    ("FT.ALIASUPDATE", 3, NONE, Refuse(Refusal::Search), WRITE | DENYOOM, "1.0.0",
        "alias index", "Points an alias to another index")
    ("FT.ALTER", -6, NONE, Refuse(Refusal::Search), WRITE | DENYOOM, "1.0.0",
        "index [SKIPINITIALSCAN] SCHEMA ADD field options [field options ...]",
        "Adds fields to an index")
    ("FT.CONFIG", -2, NONE, Refuse(Refusal::Search), NOFLAGS, "1.0.0",
        "<GET option|SET option value|HELP option>", "Reads or changes settings of the module")
    ("FT.CREATE", -5, NONE, Refuse(Refusal::Search), WRITE | DENYOOM, "1.0.0",
        "index [ON <HASH|JSON>] [PREFIX count prefix [prefix ...]] [option ...] SCHEMA field \
         type [option ...]",
        "Creates an index")
    ("FT.CURSOR", -4, NONE, Refuse(Refusal::Search), READ, "1.1.0",
        "<READ|DEL> index cursor_id [COUNT read_size]", "Reads more results of FT.AGGREGATE")
    ("FT.DICTADD", -3, NONE, Refuse(Refusal::Search), WRITE | DENYOOM, "1.4.0",
        "dict term [term ...]", "Adds terms to a dictionary")
    ("FT.DICTDEL", -3, NONE, Refuse(Refusal::Search), WRITE, "1.4.0",
        "dict term [term ...]", "Deletes terms from a dictionary")
    ("FT.DICTDUMP", 2, NONE, Refuse(Refusal::Search), READ, "1.4.0",
        "dict", "Lists the terms of a dictionary")
    ("FT.DROPINDEX", -2, NONE, Refuse(Refusal::Search), WRITE, "2.0.0",
        "index [DD]", "Deletes an index")
    ("FT.EXPLAIN", -3, NONE, Refuse(Refusal::Search), READ, "1.0.0",
        "index query [DIALECT dialect]", "Shows the plan of a query")
    ("FT.EXPLAINCLI", -3, NONE, Refuse(Refusal::Search), READ, "1.0.0",
        "index query [DIALECT dialect]", "Shows the plan of a query, formatted")
    ("FT.HYBRID", -4, NONE, Refuse(Refusal::Search), READ, "8.4.0",
        "index SEARCH query VSIM field vector [option ...]", "Searches by text and by vector")
    ("FT.INFO", 2, NONE, Refuse(Refusal::Search), READ, "1.0.0", "index", "Describes an index")
    ("FT.PROFILE", -5, NONE, Refuse(Refusal::Search), READ, "2.2.0",
        "index <SEARCH|AGGREGATE|HYBRID> [LIMITED] QUERY query",
        "Profiles a query")
    ("FT.SEARCH", -3, NONE, Refuse(Refusal::Search), READ, "1.0.0",
        "index query [option ...]", "Finds documents by a query")
    ("FT.SPELLCHECK", -3, NONE, Refuse(Refusal::Search), READ, "1.4.0",
        "index query [DISTANCE distance] [TERMS <INCLUDE|EXCLUDE> dictionary [term ...]] \
         [DIALECT dialect]",
        "Suggests spelling corrections for a query")
    ("FT.SUGADD", -4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key string score [INCR] [PAYLOAD payload]", "Adds a suggestion")
    ("FT.SUGDEL", 3, FIRST, Forward, WRITE, "1.0.0", "key string", "Deletes a suggestion")
    ("FT.SUGGET", -3, FIRST, Forward, READ, "1.0.0",
        "key prefix [FUZZY] [WITHSCORES] [WITHPAYLOADS] [MAX max]", "Completes a prefix")
    ("FT.SUGLEN", 2, FIRST, Forward, READ, "1.0.0", "key", "Counts the suggestions")
    ("FT.SYNDUMP", 2, NONE, Refuse(Refusal::Search), READ, "1.2.0",
        "index", "Lists the synonyms of an index")
    ("FT.SYNUPDATE", -4, NONE, Refuse(Refusal::Search), WRITE | DENYOOM, "1.2.0",
        "index synonym_group_id [SKIPINITIALSCAN] term [term ...]", "Adds synonyms to an index")
    ("FT.TAGVALS", 3, NONE, Refuse(Refusal::Search), READ, "1.0.0",
        "index field", "Lists the values of a tag")
    ("FT._LIST", 1, NONE, Refuse(Refusal::Search), READ, "2.0.0", "", "Lists the indexes")
}
