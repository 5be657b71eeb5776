//! Requests of every kind whose replies depend only on the requests before them.
//!
//! Excluded: requests that depend on the clock, valid cas uniques (each server draws its own), and requests whose error
//! texts differ from memcached's.

/// `$` and a letter stands for something drawn: k a key, n a key of a number, K a list of keys with misses and doubles,
/// b a key in base64, f flags, u a small number, d a data block (its length here, the block behind the line), i a block
/// of digits, w one of words. Only `words` is ever a wrong number: memcached reads beyond the end of an empty value to
/// find one.
const CLASSIC: &str = "
    set $k $f 0 $d; set $k $f 1000 $d; set $k $f 0 $d noreply; add $k $f 0 $d; add $k $f 0 $d noreply
    replace $k $f 0 $d; replace $k $f 0 $d noreply; append $k $f 0 $d; append $k 0 0 $d noreply; prepend $k 0 0 $d
    prepend $k 0 0 $d noreply; cas $k $f 0 $d 9999999999; cas $k $f 0 $d 9999999999 noreply; set $n 0 0 $i
    set $n $f 0 $i noreply; incr $n $u; decr $n $u; incr $n $u noreply; decr $n $u noreply; set words 0 0 $w; incr words $u
    delete $k; delete $n; delete $k noreply; touch $k 1000; touch $k 0; touch $n 1000 noreply
    get $k; get $k; get $n; get $K; get $K; get $K; gets $k; gets $K
";
/// Requests that nutcracker does not know.
const MODERN: &str = "
    incr $n nonsense; touch $k nonsense; set $k $f -1 $d; delete $k 0; gat 1000 $k; gat 1000 $K; gat 0 $K; gats 1000 $k; gats 0 $K; get  $k  $k
    mg $k; mg $k v; mg $k s v t f c k O$u; mg $k v q; mg $k k v q; mg $k k q O$u; mg $k h t; mg $k v N100; mg $k v T1000 t
    mg $k E5 N100 v; mg $k v R5000; mg $b b k v; mg $b b k f v q; mg $k s c O$u q; mg $n v; mg $n v q; mg nonsense b v
    ms $k $d; ms $k $d q; ms $k $d F$u T1000; ms $k $d MA; ms $k $d MA q; ms $k $d ME; ms $k $d ME q; ms $k $d MP
    ms $k $d MR; ms $k $d MR q; ms $k $d MS k O$u; ms $k $d c; ms $b $d b; ms $b $d b k q; ms $k $d C9999999999
    ms $k $d C9999999999 q; ms $n $i; ms $n $i q; ms $n $i MA N0
    md $k; md $k q; md $k k O$u; md $k I T100; md $k I q; md $k C9999999999; md $b b k; md $k C9999999999 q O$u
    ma $n; ma $n v; ma $n v N0 J5; ma $n q; ma $n MD D3 v; ma $n MI D2 v k O$u; ma $n v q; ma $n N0 q O$u; ma $n v q N0 J3; ma words v
    mn; mn
";

/// Keys that a careless parser misreads.
const ODD_KEYS: [&str; 8] = ["END", "VALUE", "0", "a:b", "{x}", "q", "tab\tkey", "\u{fc}"];

/// A generator of random requests.
#[derive(Debug)]
pub(super) struct Generator {
    random: fastrand::Rng,
    templates: Vec<&'static str>,
}

impl Generator {
    /// All requests.
    pub(super) fn whole(seed: u64) -> Self {
        Self::of(seed, &[CLASSIC, MODERN])
    }

    /// Requests that nutcracker supports.
    pub(super) fn classic(seed: u64) -> Self {
        Self::of(seed, &[CLASSIC])
    }

    fn of(seed: u64, tables: &[&'static str]) -> Self {
        let templates = tables.iter().flat_map(|table| table.split([';', '\n']));
        Self {
            random: fastrand::Rng::with_seed(seed),
            templates: templates
                .map(str::trim)
                .filter(|template| !template.is_empty())
                .collect(),
        }
    }

    /// The bytes of one more request.
    pub(super) fn request(&mut self) -> Vec<u8> {
        let template = self.templates[self.random.usize(..self.templates.len())];
        let mut line = Vec::new();
        let mut block = None;
        for (nth, word) in template.split(' ').enumerate() {
            if nth > 0 {
                line.push(b' ');
            }
            let Some(at) = word.find('$') else {
                line.extend_from_slice(word.as_bytes());
                continue;
            };
            line.extend_from_slice(&word.as_bytes()[..at]);
            match &word[at + 1..] {
                "d" => {
                    let data = self.data();
                    line.extend_from_slice(data.len().to_string().as_bytes());
                    block = Some(data);
                }
                "i" => {
                    let data = self.random.u64(..1 << 40).to_string().into_bytes();
                    line.extend_from_slice(data.len().to_string().as_bytes());
                    block = Some(data);
                }
                "w" => {
                    line.push(b'5');
                    block = Some(b"words".to_vec());
                }
                what => {
                    let drawn = self.draw(what);
                    line.extend_from_slice(drawn.as_bytes());
                }
            }
        }
        line.extend_from_slice(b"\r\n");
        if let Some(data) = block {
            line.extend_from_slice(&data);
            line.extend_from_slice(b"\r\n");
        }
        line
    }

    fn draw(&mut self, what: &str) -> String {
        match what {
            "k" => self.key(),
            "n" => format!("number-{}", self.random.usize(..4)),
            "b" => base64(format!("key-{}", self.random.usize(..12)).as_bytes()),
            "f" => [0, 1, 77, u32::MAX][self.random.usize(..4)].to_string(),
            "u" => self.random.usize(..40).to_string(),
            "K" => {
                let count = self.random.usize(2..=12);
                let keys: Vec<String> = (0..count).map(|_| self.key()).collect();
                keys.join(" ")
            }
            _ => unreachable!("no ${what}"),
        }
    }

    fn key(&mut self) -> String {
        match self.random.usize(..12) {
            0 => ODD_KEYS[self.random.usize(..ODD_KEYS.len())].to_owned(),
            1 => "long".repeat(62) + "er",
            _ => format!("key-{}", self.random.usize(..12)),
        }
    }

    fn data(&mut self) -> Vec<u8> {
        let longest = [0, 3, 10, 10, 100, 2000, 20_000][self.random.usize(..7)];
        let len = self.random.usize(..=longest);
        let alphabet: &[u8] = if self.random.bool() {
            b"ab"
        } else {
            b"\0\r\nEND \xff"
        };
        (0..len)
            .map(|_| alphabet[self.random.usize(..alphabet.len())])
            .collect()
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |nth: usize| u32::from(three.get(nth).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for nth in 0..4 {
            if nth <= three.len() {
                let digit = bits >> (18 - 6 * nth) & 63;
                text.push(char::from(DIGITS[usize::try_from(digit).unwrap()]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[test]
fn base64_encoding_matches_standard_vectors() {
    assert_eq!(base64(b"key-1"), "a2V5LTE=");
    assert_eq!(base64(b"ab"), "YWI=");
    assert_eq!(base64(b"abc"), "YWJj");
}
