//! Requests of every type whose replies depend only on the requests before them.
//!
//! Excluded: random replies (SPOP, SRANDMEMBER, HRANDFIELD, ZRANDMEMBER), replies that depend on the clock (TTL), and
//! commands that the improvements change. Sets hold only small integers and hashes only short values, because larger
//! ones are listed in a random order by every redis-server.

use crate::support::command;

/// `$` and a letter stands for something drawn: a key of a type (s string, c counter, l list, h hash, t set, z sorted
/// set, p `PFADD`, g geo, x of any type), or v value, w short value, n small integer, m member, f field. All keys of
/// one request share a hash tag. `$K` is a list of keys of any tag, `$P` a list of such keys with values, `$L` a
/// library of functions, `$0` nothing; `\\s` stands for a space.
const REQUESTS: &str = "
    SET $s $v; set $s $v; SET $s $v; SET $s $v NX; SET $s $v XX GET; SET $s $v EX 1000; SET $s; GET $s; GeT $s; GET $x
    GETSET $s $v; GETDEL $s; GETEX $s PERSIST; GETRANGE $s $n $n; SETRANGE $s $n $w; SETEX $s 1000 $v; PSETEX $s 999999 $v
    SETNX $s $v; STRLEN $x; APPEND $s $w; APPEND $x $w; SETEX $s -1 $v; SET $s $v EX nonsense; GETBIT $s $n
    SETBIT $c $n 1; SETBIT $c $n 2; BITCOUNT $s; BITCOUNT $c 0 1; BITPOS $c 1; BITFIELD $c INCRBY u8 0 $n GET u4 0
    INCR $c; DECR $c; INCRBY $c $n; DECRBY $c $n; INCRBYFLOAT $c 1.5; INCR $x; INCRBY $c nonsense
    LPUSH $l $v $w; RPUSH $l $w $w $w; LPUSHX $l $v; RPUSHX $l $v; LPOP $l; RPOP $l; LPOP $l 2; RPOP $l 2; LLEN $x
    LINDEX $l $n; LRANGE $l 0 -1; LRANGE $l $n $n; LRANGE $x 0 -1; LSET $l $n $w; LTRIM $l 0 20; LREM $l 1 $w
    LINSERT $l BEFORE $w $w; LPOS $l $w; RPOPLPUSH $l $l; LMOVE $l $l LEFT RIGHT; LMOVE $l $l UP DOWN
    HSET $h $f $w; HSET $h $f $w $f $w; HMSET $h $f $w; HSETNX $h $f $w; HGET $h $f; HMGET $h $f $f $f; HGETALL $h
    HDEL $h $f $f; HLEN $x; HKEYS $h; HVALS $h; HEXISTS $h $f; HSTRLEN $h $f; HINCRBY $h n $n; HINCRBYFLOAT $h n 0.5
    HSCAN $h 0; HGETALL $x; HSET $h $f
    SADD $t $n $n $n; SREM $t $n; SCARD $x; SISMEMBER $t $n; SMISMEMBER $t $n $n; SMEMBERS $t; SMOVE $t $t $n
    SUNION $t $t; SINTER $t $t; SDIFF $t $t $t; SUNIONSTORE $t $t $t; SINTERSTORE $t $t $t; SDIFFSTORE $t $t $t; SSCAN $t 0
    ZADD $z $n $m; ZADD $z $n $m $n $m; ZADD $z NX $n $m; ZADD $z INCR $n $m; ZADD $z nonsense $m; ZREM $z $m; ZCARD $x
    ZSCORE $z $m; ZMSCORE $z $m $m; ZINCRBY $z $n $m; ZRANK $z $m; ZREVRANK $z $m; ZCOUNT $z 2 (8; ZLEXCOUNT $z - +
    ZRANGE $z 0 -1 WITHSCORES; ZREVRANGE $z 0 3; ZRANGEBYSCORE $z -inf +inf LIMIT 1 2; ZREVRANGEBYSCORE $z 9 2
    ZRANGEBYLEX $z - +; ZREVRANGEBYLEX $z + -; ZREMRANGEBYRANK $z 5 9; ZREMRANGEBYSCORE $z 90 99; ZREMRANGEBYLEX $z [y [z
    ZPOPMIN $z; ZPOPMAX $z 2; ZUNIONSTORE $z 2 $z $z WEIGHTS 1 2; ZINTERSTORE $z 2 $z $z AGGREGATE MAX
    ZDIFFSTORE $z 2 $z $z; ZRANGESTORE $z $z 0 5; ZSCAN $z 0
    PFADD $p $v $w; PFCOUNT $p; PFCOUNT $p $p; PFMERGE $p $p
    GEOADD $g 13.36 38.11 $m 15.08 37.5 $m; GEOPOS $g $m $m; GEODIST $g $m $m km; GEOHASH $g $m
    GEOSEARCH $g FROMLONLAT 15 37 BYRADIUS 200 km ASC; GEORADIUS $g 15 37 200 km ASC; GEOSEARCHSTORE $g $g FROMMEMBER $m BYRADIUS 9 km
    SORT $l ALPHA; SORT $t DESC; SORT $l ALPHA STORE $l; TYPE $x; TYPE $x; PERSIST $x; EXPIRE $x 5000; PEXPIRE $s 9000000
    EXPIREAT $s 99999999999; PEXPIREAT $x 99999999999999; DUMP $s; RESTORE $s 0 $w; COPY $s $s; COPY $s $s REPLACE
    EVAL return{KEYS[1],ARGV[1]} 1 $s $v; EVAL return(redis.call('get',KEYS[1])) 1 $x; EVAL nonsense( 1 $s
    EVALSHA 0123456789012345678901234567890123456789 1 $s; LOLWUT
    MGET $K; MGET $K; mget $K; MGET $K; MSET $P; MSET $P; DEL $K; UNLINK $K; TOUCH $K; EXISTS $x; PING
";

const LIBRARY: &[u8] = b"#!lua name=lib
redis.register_function{function_name='echo', callback=function(keys, args) return {keys[1], args[1]} end, \
flags={'no-writes'}}
redis.register_function('write', function(keys, args) return redis.call('set', keys[1], args[1]) end)";
const TAGS: usize = 12;
/// Keys that seem to have a tag and have none, and others that a careless parser misreads.
const ODD_KEYS: [&[u8]; 9] = [
    b"",
    b"{}",
    b"{}x",
    b"{{a}}",
    b"}{",
    b"a{b",
    b"\r\n",
    b"\0\xff\x80",
    b"*1\r\n$4\r\nPING\r\n",
];

/// A generator of random requests.
#[derive(Debug)]
pub(super) struct Generator {
    random: fastrand::Rng,
    templates: Vec<&'static str>,
}

impl Generator {
    pub(super) fn new(random: fastrand::Rng) -> Self {
        let templates = REQUESTS.split([';', '\n']).map(str::trim);
        let templates = templates.filter(|template| !template.is_empty()).collect();
        Self { random, templates }
    }

    /// The encoding of one more request.
    pub(super) fn request(&mut self) -> Vec<u8> {
        let template = self.templates[self.random.usize(..self.templates.len())];
        let tag = self.tag();
        self.fill(template, tag)
    }

    /// A number for [`Self::fill`].
    pub(super) fn tag(&mut self) -> usize {
        self.random.usize(..TAGS)
    }

    /// The encoding of a request in the syntax of [`REQUESTS`]; `tag` becomes the hash tag of its keys.
    pub(super) fn fill(&mut self, template: &str, tag: usize) -> Vec<u8> {
        let mut args = Vec::new();
        for word in template.split_whitespace() {
            match word.strip_prefix('$') {
                None | Some("") => args.push(word.replace("\\s", " ").into_bytes()),
                Some("K") => {
                    for _ in 0..self.random.usize(1..=12) {
                        args.push(self.any_key());
                    }
                }
                Some("P") => {
                    for _ in 0..self.random.usize(1..=8) {
                        args.extend([self.any_key(), self.value(300)]);
                    }
                }
                Some("0") => args.push(Vec::new()),
                Some("L") => args.push(LIBRARY.to_vec()),
                Some(what) => {
                    let (what, rest) = what.split_at(1);
                    let drawn = self.draw(what, tag);
                    let rest = rest.replace("$n", &self.random.usize(1..12).to_string());
                    args.push([&drawn, rest.as_bytes()].concat());
                }
            }
        }
        command(&args)
    }

    fn draw(&mut self, what: &str, tag: usize) -> Vec<u8> {
        match what {
            "v" => {
                let longest = [10, 10, 100, 2000, 40_000][self.random.usize(..5)];
                self.value(longest)
            }
            "w" => self.value(12),
            "n" => self.random.usize(..12).to_string().into_bytes(),
            "m" => vec![b'a' + self.random.u8(..26)],
            "f" => format!("field{}", self.random.usize(..16)).into_bytes(),
            "x" => {
                let kind = ["s", "c", "l", "h", "t", "z", "p", "g"][self.random.usize(..8)];
                self.draw(kind, tag)
            }
            kind => format!("{kind}:{{{tag}}}{}", self.random.usize(..3)).into_bytes(),
        }
    }

    /// A key of strings, of any tag, or an odd one.
    fn any_key(&mut self) -> Vec<u8> {
        if self.random.usize(..6) == 0 {
            return ODD_KEYS[self.random.usize(..ODD_KEYS.len())].to_vec();
        }
        let tag = self.random.usize(..TAGS);
        self.draw("s", tag)
    }

    fn value(&mut self, longest: usize) -> Vec<u8> {
        let len = self.random.usize(..=longest);
        let alphabet: &[u8] = if self.random.bool() {
            b"ab"
        } else {
            b"\0\r\n$*\xff:x"
        };
        (0..len)
            .map(|_| alphabet[self.random.usize(..alphabet.len())])
            .collect()
    }
}
