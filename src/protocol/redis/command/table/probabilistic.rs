//! Filters and sketches of the module Bloom; part of Redis 8.

use crate::protocol::redis::command::table::prelude::*;

commands! { pub(crate) ROWS in Group::Probabilistic;
    ("BF.ADD", 3, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key item", "Adds an item to a Bloom filter")
    ("BF.CARD", 2, FIRST, Forward, READ | FAST, "2.4.4",
        "key", "Counts the items of a Bloom filter")
    ("BF.EXISTS", 3, FIRST, Forward, READ, "1.0.0", "key item", "Checks whether an item is in a Bloom filter")
    ("BF.INFO", -2, FIRST, Forward, READ | FAST, "1.0.0",
        "key [CAPACITY|SIZE|FILTERS|ITEMS|EXPANSION]", "Describes a Bloom filter")
    ("BF.INSERT", -4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key [CAPACITY capacity] [ERROR error] [EXPANSION expansion] [NOCREATE] [NONSCALING] \
         ITEMS item [item ...]",
        "Adds items to a Bloom filter, creating it with a capacity if needed")
    ("BF.LOADCHUNK", 4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key iterator data", "Restores a part of a Bloom filter")
    ("BF.MADD", -3, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key item [item ...]", "Adds items to a Bloom filter")
    ("BF.MEXISTS", -3, FIRST, Forward, READ, "1.0.0",
        "key item [item ...]", "Checks whether items are in a Bloom filter")
    ("BF.RESERVE", -4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key error_rate capacity [EXPANSION expansion] [NONSCALING]", "Creates a Bloom filter")
    ("BF.SCANDUMP", 3, FIRST, Forward, READ, "1.0.0",
        "key iterator", "Saves a part of a Bloom filter")
    ("CF.ADD", 3, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key item", "Adds an item to a cuckoo filter")
    ("CF.ADDNX", 3, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key item", "Adds an item to a cuckoo filter if it seems absent")
    ("CF.COUNT", 3, FIRST, Forward, READ | FAST, "1.0.0",
        "key item", "Estimates how often an item is in a cuckoo filter")
    ("CF.DEL", 3, FIRST, Forward, WRITE | FAST, "1.0.0",
        "key item", "Removes an item from a cuckoo filter")
    ("CF.EXISTS", 3, FIRST, Forward, READ | FAST, "1.0.0",
        "key item", "Checks whether an item is in a cuckoo filter")
    ("CF.INFO", 2, FIRST, Forward, READ | FAST, "1.0.0", "key", "Describes a cuckoo filter")
    ("CF.INSERT", -4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key [CAPACITY capacity] [NOCREATE] ITEMS item [item ...]",
        "Adds items to a cuckoo filter, creating it with a capacity if needed")
    ("CF.INSERTNX", -4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key [CAPACITY capacity] [NOCREATE] ITEMS item [item ...]",
        "Adds items to a cuckoo filter if they seem absent")
    ("CF.LOADCHUNK", 4, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key iterator data", "Restores a part of a cuckoo filter")
    ("CF.MEXISTS", -3, FIRST, Forward, READ, "1.0.0",
        "key item [item ...]", "Checks whether items are in a cuckoo filter")
    ("CF.RESERVE", -3, FIRST, Forward, WRITE | DENYOOM, "1.0.0",
        "key capacity [BUCKETSIZE bucketsize] [MAXITERATIONS maxiterations] [EXPANSION expansion]",
        "Creates a cuckoo filter")
    ("CF.SCANDUMP", 3, FIRST, Forward, READ, "1.0.0",
        "key iterator", "Saves a part of a cuckoo filter")
    ("CMS.INCRBY", -4, FIRST, Forward, WRITE | DENYOOM, "2.0.0",
        "key item increment [item increment ...]", "Adds to the counts of items in a sketch")
    ("CMS.INFO", 2, FIRST, Forward, READ | FAST, "2.0.0", "key", "Describes a sketch")
    ("CMS.INITBYDIM", 4, FIRST, Forward, WRITE | DENYOOM | FAST, "2.0.0",
        "key width depth", "Creates a sketch of a given size")
    ("CMS.INITBYPROB", 4, FIRST, Forward, WRITE | DENYOOM | FAST, "2.0.0",
        "key error probability", "Creates a sketch of a given precision")
    ("CMS.MERGE", -4, counted_into(2), Forward, WRITE | DENYOOM, "2.0.0",
        "destination numkeys source [source ...] [WEIGHTS weight [weight ...]]",
        "Merges sketches into one")
    ("CMS.QUERY", -3, FIRST, Forward, READ, "2.0.0",
        "key item [item ...]", "Estimates the counts of items")
    ("TDIGEST.ADD", -3, FIRST, Forward, WRITE | DENYOOM, "2.4.0",
        "key value [value ...]", "Adds values to a t-digest")
    ("TDIGEST.BYRANK", -3, FIRST, Forward, READ | FAST, "2.4.0",
        "key rank [rank ...]", "Estimates the values of ranks")
    ("TDIGEST.BYREVRANK", -3, FIRST, Forward, READ | FAST, "2.4.0",
        "key reverse_rank [reverse_rank ...]",
        "Estimates the values of ranks, highest first")
    ("TDIGEST.CDF", -3, FIRST, Forward, READ | FAST, "2.4.0",
        "key value [value ...]", "Estimates the fraction of observations below values")
    ("TDIGEST.CREATE", -2, FIRST, Forward, WRITE | DENYOOM | FAST, "2.4.0",
        "key [COMPRESSION compression]", "Creates a t-digest")
    ("TDIGEST.INFO", 2, FIRST, Forward, READ | FAST, "2.4.0", "key", "Describes a t-digest")
    ("TDIGEST.MAX", 2, FIRST, Forward, READ | FAST, "2.4.0", "key", "Reads the greatest value")
    ("TDIGEST.MERGE", -4, counted_into(2), Forward, WRITE | DENYOOM, "2.4.0",
        "destination numkeys source [source ...] [COMPRESSION compression] [OVERRIDE]",
        "Merges t-digests into one")
    ("TDIGEST.MIN", 2, FIRST, Forward, READ | FAST, "2.4.0", "key", "Reads the least value")
    ("TDIGEST.QUANTILE", -3, FIRST, Forward, READ | FAST, "2.4.0",
        "key quantile [quantile ...]", "Estimates the values of quantiles")
    ("TDIGEST.RANK", -3, FIRST, Forward, READ | FAST, "2.4.0",
        "key value [value ...]", "Estimates the ranks of values")
    ("TDIGEST.RESET", 2, FIRST, Forward, WRITE | DENYOOM | FAST, "2.4.0",
        "key", "Empties a t-digest")
    ("TDIGEST.REVRANK", -3, FIRST, Forward, READ | FAST, "2.4.0",
        "key value [value ...]", "Estimates the ranks of values, highest first")
    ("TDIGEST.TRIMMED_MEAN", 4, FIRST, Forward, READ, "2.4.0",
        "key low_cut_quantile high_cut_quantile", "Estimates a trimmed mean")
    ("TOPK.ADD", -3, FIRST, Forward, WRITE | DENYOOM, "2.0.0",
        "key item [item ...]", "Counts items")
    ("TOPK.COUNT", -3, FIRST, Forward, READ, "2.0.0",
        "key item [item ...]", "Estimates the counts of items")
    ("TOPK.INCRBY", -4, FIRST, Forward, WRITE | DENYOOM, "2.0.0",
        "key item increment [item increment ...]", "Adds to the counts of items")
    ("TOPK.INFO", 2, FIRST, Forward, READ | FAST, "2.0.0", "key", "Describes the list")
    ("TOPK.LIST", -2, FIRST, Forward, READ, "2.0.0",
        "key [WITHCOUNT]", "Lists the most frequent items")
    ("TOPK.QUERY", -3, FIRST, Forward, READ, "2.0.0",
        "key item [item ...]", "Returns which items are among the most frequent")
    ("TOPK.RESERVE", -3, FIRST, Forward, WRITE | DENYOOM | FAST, "2.0.0",
        "key topk [width depth decay]", "Creates a list of the most frequent items")
}
