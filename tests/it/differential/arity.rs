//! Every command of Redis 7 with none to six arguments. If nutcracker answers, Ringroad answers with the same bytes; if
//! nutcracker closes, Ringroad returns an error or a result, and the connection stays open.

use crate::support::{Ended, Pool, Proxy, RedisServer, command, show};

/// Commands that nutcracker supports, except QUIT (it closes) and COMMAND (its order is random).
const SUPPORTED: &str = "
    DECR DUMP GET GETDEL HGETALL HKEYS HLEN HVALS INCR LLEN PERSIST PTTL SCARD SMEMBERS STRLEN TTL TYPE ZCARD
    APPEND DECRBY EXPIRE EXPIREAT GETBIT GETSET HEXISTS HGET HSTRLEN INCRBY INCRBYFLOAT LINDEX PEXPIRE PEXPIREAT RPOPLPUSH
    SETNX SISMEMBER ZRANK ZREVRANK ZSCORE GETRANGE HINCRBY HINCRBYFLOAT HSETNX LRANGE LREM LSET LTRIM PSETEX SETBIT SETEX
    SETRANGE SMOVE ZCOUNT ZINCRBY ZLEXCOUNT ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE LINSERT LMOVE BITCOUNT BITFIELD
    BITPOS COPY EXISTS GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEOSEARCH GEOSEARCHSTORE GETEX HDEL HMGET
    HMSET HRANDFIELD HSCAN HSET LPOP LPOS LPUSH LPUSHX PFADD PFCOUNT PFMERGE RESTORE RPOP RPUSH RPUSHX SADD SDIFF SDIFFSTORE
    SET SINTER SINTERSTORE SMISMEMBER SORT SPOP SRANDMEMBER SREM SSCAN SUNION SUNIONSTORE ZADD ZDIFF ZDIFFSTORE ZINTER
    ZINTERSTORE ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZREM ZREVRANGE
    ZREVRANGEBYLEX ZREVRANGEBYSCORE ZSCAN ZUNION ZUNIONSTORE DEL MGET TOUCH UNLINK MSET EVAL EVALSHA LOLWUT PING AUTH
";

/// Commands on which nutcracker closes whatever the arguments, except those that are answered once per channel.
const UNSUPPORTED: &str = "
    ACL ASKING BGREWRITEAOF BGSAVE BITFIELD_RO BITOP BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN CLIENT
    CLUSTER CONFIG DBSIZE DEBUG DISCARD ECHO EVALSHA_RO EVAL_RO EXEC EXPIRETIME FAILOVER FCALL FCALL_RO FLUSHALL FLUSHDB
    FUNCTION GEORADIUSBYMEMBER_RO GEORADIUS_RO HELLO INFO KEYS LASTSAVE LATENCY LCS LMPOP MEMORY MIGRATE MODULE MONITOR MOVE
    MSETNX MULTI OBJECT PEXPIRETIME PFDEBUG PFSELFTEST PSYNC PUBLISH PUBSUB RANDOMKEY READONLY
    READWRITE RENAME RENAMENX REPLCONF REPLICAOF RESET RESTORE-ASKING ROLE SAVE SCAN SCRIPT SELECT SHUTDOWN SINTERCARD
    SLAVEOF SLOWLOG SORT_RO SPUBLISH STRALGO SUBSTR SWAPDB SYNC TIME UNWATCH
    WAIT WATCH XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP XINFO XLEN XPENDING XRANGE XREAD XREADGROUP XREVRANGE XSETID XTRIM
    ZINTERCARD ZMPOP
";

const MOST_ARGUMENTS: usize = 6;

#[test]
fn every_command_and_arity_is_answered() {
    let [theirs, ours, plain] = RedisServer::several();
    let nutcracker = Proxy::nutcracker(&Pool::of([&theirs]));
    let ringroad = Proxy::ringroad(&Pool::of([&ours]));
    let (mut there, mut here, mut direct) =
        (nutcracker.client(), ringroad.client(), plain.client());
    let mut wrong = Vec::new();
    for (nth, name) in SUPPORTED.split_whitespace().enumerate() {
        for count in 0..=MOST_ARGUMENTS {
            let request = request(name, nth, count);
            there.send(&request);
            let original = there.try_reply();
            here.send(&request);
            let reply = here.try_reply();
            direct.send(&request);
            let of_redis = direct.reply();
            let is_right = match (&original, &reply) {
                // The texts of AUTH are Redis's own.
                (Ok(_), Ok(reply)) if name == "AUTH" => *reply == of_redis,
                (Ok(original), Ok(reply)) => original == reply,
                (Err(Ended::Closed), Ok(reply)) => {
                    *reply == of_redis || refuses(reply, &of_redis, name)
                }
                _ => false,
            };
            if !is_right {
                wrong.push(format!(
                    "{name} with {count} arguments: nutcracker {}, ringroad {}, redis {}",
                    shown(&original),
                    shown(&reply),
                    show(&of_redis)
                ));
            }
            if original.is_err() {
                there = nutcracker.client();
            }
            if reply.is_err() {
                here = ringroad.client();
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn commands_nutcracker_closes_on_keep_the_connection() {
    let server = RedisServer::start();
    let ringroad = Proxy::ringroad(&Pool::of([&server]));
    let mut wrong = Vec::new();
    for (nth, name) in UNSUPPORTED.split_whitespace().enumerate() {
        for count in 0..=MOST_ARGUMENTS {
            let mut client = ringroad.client();
            client.send(&request(name, nth, count));
            let reply = client.try_reply();
            client.send(&command(&["SET", "alive", "1"]));
            let after = client.try_reply();
            // Within MULTI, and of a client of MONITOR.
            let lives_on = [
                &b"+OK\r\n"[..],
                b"+QUEUED\r\n",
                b"-ERR Replica can't interact with the keyspace\r\n",
            ];
            if reply.is_err()
                || !after
                    .as_deref()
                    .is_ok_and(|after| lives_on.contains(&after))
            {
                wrong.push(format!(
                    "{name} with {count} arguments: {}, then {}",
                    shown(&reply),
                    shown(&after)
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A request on a key that no other request uses; the other arguments are `1`.
fn request(name: &str, nth: usize, count: usize) -> Vec<u8> {
    let key = format!("{nth}-{count}");
    let args = [name, &key].into_iter().chain(std::iter::repeat("1"));
    let args: Vec<&str> = args.take(count + 1).collect();
    command(&args)
}

/// Returns true if it is an error where Redis has one, and names the command where the number of arguments is wrong.
fn refuses(reply: &[u8], of_redis: &[u8], name: &str) -> bool {
    let text = String::from_utf8_lossy(reply).to_lowercase();
    let is_about_arguments = of_redis.starts_with(b"-ERR wrong number of arguments");
    let names = text.contains(&name.to_lowercase());
    text.starts_with('-') && of_redis.starts_with(b"-") && (names || !is_about_arguments)
}

fn shown(reply: &Result<Vec<u8>, Ended>) -> String {
    match reply {
        Ok(reply) => show(reply),
        Err(ended) => format!("{ended:?}"),
    }
}
